// What a gradient reads of a step stands side by side where it writes such values.
#pragma once
#include "ir/graph.h"

namespace treadle {

// The gradient of a step by its gates is one value, a concatenation of equal parts, and
// what is kept of the gates is a stack each. As many of those stacks, which nothing else
// reads, become one of that very shape, so that the gradient can be written over it
// (backends/llvm/overwritten_stacks.h): an LSTM then keeps seven values a step and
// element of its state where it kept eleven.
//
//   ..., %i, %f = scan(%x) { ... }          ..., %r = scan(%x) { ... concat(%i, %f) }
//   %d = scan(..., %i, %f) {          =>    %d = scan(..., %r) {
//     ^(..., %0 i, %1 f)                      ^(..., %0 r)
//     ... return concat(%2, %3) }             %1 = slice(%0) ...  %2 = slice(%0) ...
//                                             ... return concat(%3, %4) }
Graph join_residuals(const Graph& graph);

}  // namespace treadle
