// Smaller graphs that mean the same.
//
//   %2 = transpose(%1) {permutation = [1, 0]}      (gone)
//   %3 = transpose(%2) {permutation = [1, 0]}  =>
//   %4 = add(%3, %zeros)                           uses of %4 read %1
//
// Constant folding, common subexpressions (regions included), dead code,
// algebra and shape algebra; scans lose what nobody reads. Repeated until
// nothing changes, so simplify(simplify(g)) is simplify(g). Values stay the
// same up to the sign of zeros: x * 0 is kept (x may be infinite), sums are
// not reordered. Sources stay, whatever they reach.
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph simplify(const Graph& graph);

}  // namespace treadle
