// Transposes move behind pointwise work.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Pointwise nodes whose operands are transposed alike (beside what is broadcast or
// the same everywhere) work on what was transposed, where everyone who reads them
// is such a node, a reduction, which takes other axes then, or a transpose, with
// which it becomes one. Rows of a batch that were stacked by time and read by
// example are then read as they lie, in regions too.
//
//   %1 = transpose(%0) {permutation = [1, 0, 2]}
//   %2 = square(%1)
//   %3 = reduce_sum(%2) {axes = [1, 2]}
// becomes
//   %1 = square(%0)
//   %2 = reduce_sum(%1) {axes = [0, 2]}
Graph sink_transposes(const Graph& graph);

}  // namespace treadle
