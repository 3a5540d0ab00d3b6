// Reverse mode: gradients as ordinary nodes.
//
// The gradient of a scan is a scan that runs the other way over stacked
// residuals (BPTT: Werbos 1990). The forward scan is replaced by one that also
// returns the residuals.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/builder.h"

namespace treadle {

struct Seed {
  Value value;
  Value cotangent;  // of the same type
};

// Adds to b's graph the gradients of sum_i <seeds[i].value, cotangent> with
// respect to `wrt` and returns them; an invalid Value is a gradient that is
// zero for every input. When it meets a scan it adds a second forward scan that
// returns residuals and records the pair in `replaced`; call merge_scans when
// done.
struct ScanReplacement {
  NodeId original;
  NodeId augmented;
};
std::vector<Value> gradients(Builder& b, std::span<const Seed> seeds, std::span<const Value> wrt,
                             std::vector<ScanReplacement>& replaced);

// The graph with each original scan replaced, in its place, by the augmented
// one; dead nodes go. `moved`, when given, receives where each node of `graph`
// went (UINT32_MAX: gone).
Graph merge_scans(const Graph& graph, std::span<const ScanReplacement> replaced,
                  std::vector<NodeId>* moved = nullptr);

struct DifferentiateOptions {
  std::string output = "loss";   // a scalar
  std::vector<std::string> wrt;  // inputs or parameters; empty: every parameter
  std::string prefix = "grad:";  // of the new outputs' names
};

// The graph with outputs "grad:NAME" for each of `wrt`, in that order (zeros
// when the loss does not depend on it). Accepts any stage before optimised;
// batched graphs become differentiated.
Graph differentiate(const Graph& graph, const DifferentiateOptions& options = {});

// The gradient's value times a fixed direction, for derivatives of second
// order: adds an input "direction:NAME" for each wrt and returns the graph with
// the scalar output "slope" = sum <grad NAME, direction NAME>.
Graph directional_slope(const Graph& graph, const DifferentiateOptions& options = {});

// Truncated BPTT (Williams and Peng 1990): in every scan the gradient of the
// carried values stops at steps K, 2K, ... from the start. Values are
// unchanged.
Graph truncate_bptt(const Graph& graph, std::int64_t window);

}  // namespace treadle
