// Gradients held against finite differences.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

struct GradcheckOptions {
  int order = 1;                    // 2: the second derivatives too
  std::int64_t coordinates = 2000;  // up to so many elements each is checked;
  int directions = 32;              // above, so many random directions
  double tolerance = 1e-6;          // of the gradient's largest entry
  std::uint64_t seed = 1;
  // The gradient's graph too after `batch` (a batch of one) and then after each
  // pass of the pipeline that training runs, after `unroll`, and compiled.
  bool after_each_pass = false;
};

// One tensor's result. `error` is the largest |analytic - numeric|, `largest`
// the largest |numeric| (along directions: of the directional derivative).
struct GradcheckRow {
  std::string name;
  int order = 1;
  std::string after;  // the pass; empty: the gradient as it was derived
  double error = 0;
  double largest = 0;
  bool passed = false;
};

// The graph with one scalar output "loss": its float outputs summed under
// weights that no symmetry leaves unchanged (cos(0.731 i + 0.2) + 1.1 at
// element i, shifted for each output), so that swapped gradients show.
Graph asymmetric_loss(const Graph& graph);

// Checks d loss / d input for every float input and parameter of the graph.
// All float tensors are f64; `inputs` in the graph's order.
//   numeric: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h, of fourth order.
std::vector<GradcheckRow> gradcheck(const Graph& loss_graph, const std::vector<Tensor>& inputs,
                                    const GradcheckOptions& options = {});

}  // namespace treadle
