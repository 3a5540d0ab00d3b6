// Recomputation instead of storage: `scan ... remat(budget: 64 MiB)`.
//
//   %h = scan(%W, %h0, %x) {length = <T>, remat = 67108864} { step }
// becomes, with chunks of K = 40 steps,
//   %h1 = scan(%W, %h0, %x[0 : 40*(T/40)]) {length = <T/40>, recompute = true} {
//     ^(%0 W, %1 h, %2 rows: 40 of x)
//     scan(%0, %1, %2) {length = <40>} { step }
//   }
//   %h = scan(%W, %h1, the other rows of %x) {length = <T - 40*(T/40)>} { step }
//
// The gradient of a scan with `recompute` keeps the values carried into each of
// its steps alone, and computes the rest of a step again where the backward loop
// needs it [Chen et al. 2016; Griewank and Walther 2000]. Values are the same,
// bit by bit; gradients by constants add up in another order. A scan of one step
// without carries and rows is a part under remat(EXPRESSION, budget: SIZE): it is
// computed again as a whole, or kept.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// How a scan with a budget is cut, for known sizes.
struct RecomputeChoice {
  std::int64_t chunk = 0;    // steps; 0: everything fits, nothing is computed again
  std::int64_t steps = 0;    // of the scan
  std::int64_t chunked = 0;  // steps that stand in chunks; what the others need is kept
  double whole = 0;          // bytes that the scan and its gradient take without a budget
  double kept = 0;           // bytes that they take now
  SourceRange location;
};

std::string size_text(double bytes);  // "20.5 MiB", "3.2 KiB"

// Bytes of working memory that a graph takes with those sizes. Gradients add up as
// the cut says, so that it must not depend on the number of threads.
using WorkingMemory = std::function<double(const Graph&, const DimEnv&)>;

// Rewrites the scans that have a budget. `sizes` gives the extents of symbols
// (the batch, the lengths); where one is missing chunks have 64 steps. Takes
// graphs before `differentiate`, batched or not; what reads the graph for values
// alone need not call it. Throws UserError T0377 for a budget that no cut meets.
// `choices`, when given, receives what was chosen. Without `memory` it is estimated:
// results of loops and products that are alive at once, nothing written over others.
Graph recompute(const Graph& graph, const DimEnv& sizes,
                std::vector<RecomputeChoice>* choices = nullptr, const WorkingMemory& memory = {});

}  // namespace treadle
