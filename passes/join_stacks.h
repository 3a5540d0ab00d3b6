// Values side by side enter and leave a time loop as one.
#pragma once
#include "ir/graph.h"

namespace treadle {

// A cell that declares each gate on its own has one product in front of its loop
// and one behind the loop of its gradient (fuse-gates), but a stack for each gate
// between them and the steps, and copies from the one form to the other.
//
// Sequences that are slices of one value, across the axes of a step, are read as
// that value, and sliced inside: all of it, or at least half of what is in memory
// anyway. Stacks that are concatenated behind the loop are concatenated in the
// step, which yields the concatenation that it has, if it has it; others read
// slices of it. Sums of slices that are all of a value are slices of its sum.
//
//   %1 = slice(%p) {start = 0, ...}
//   %2 = slice(%p) {start = 8, ...}         %1, ... = scan(%h0, %p) {
//   %3, %4, ... = scan(%h0, %1, %2) {         ^(%0 h, %1 p_t)
//     ^(%0 h, %1 a_t, %2 b_t)          =>     %2 = slice(%1) ...   %3 = slice(%1) ...
//     ... return ..., %5, %6 }                ... %7 = concat(%5, %6) return ..., %7 }
//   %7 = concat(%3, %4) {axis = 2}
Graph join_stacks(const Graph& graph);

}  // namespace treadle
