// One example -> many.
//
//   %0 = parameter {name = "W"} : f32[8, 4]        %0 = parameter {name = "W"} : f32[8, 4]
//   %1 = input {name = "x"} : f32[8]          =>   %1 = input {name = "x"} : f32[B, 8]
//   %2 = matmul(%1, %0) ... : f32[4]               %2 = matmul(%1, %0) ... : f32[B, 4]
#pragma once
#include <string>
#include <vector>

#include "ir/builder.h"

namespace treadle {

struct BatchOptions {
  Dim size = Dim::symbol("B");
};

// `input` nodes get a leading batch dimension unless their attribute `shared`
// is true; parameters are shared. An output that depends on no batched value
// stays as it is. Around a scan, sequences turn time-major ([T, B, ...]) and
// its outputs turn back. Accepts the stages one-example and differentiated.
// Ragged dimensions: see batch_ragged.h.
Graph batch(const Graph& graph, const BatchOptions& options = {});
// The graph with these symbols ragged: ~T for T.
Graph mark_ragged(const Graph& graph, const std::vector<std::string>& symbols);

// The nodes of a region with some arguments batched: what `batch` does to a
// scan's body, and what hoisting does to what leaves the loop.
struct BatchedRegion {
  Graph graph;
  std::vector<bool> outputs_batched;
};
// Outputs i with force_output[i] come out batched in any case.
BatchedRegion batch_region(const Graph& region, const std::vector<bool>& arguments_batched,
                           const std::vector<bool>& force_output, const Dim& size);

// One node on operands of which some are batched; returns its outputs, all of
// them batched when any operand is.
std::vector<Value> batch_node(Builder& b, const Graph& graph, const Node& node,
                              const std::vector<Value>& operands, const std::vector<bool>& batched,
                              const Dim& size);

}  // namespace treadle
