// A loop's product starts its sums from that of its inputs.
#pragma once
#include "ir/graph.h"

namespace treadle {

// What hoist-scan moved in front of a loop, the product of all its inputs, a turn adds to a
// product of its own. That one's sums then start from it, instead of from zero: `matmul_add`.
// Where the loop computes both in its turns, a tile sums one after the other without leaving its
// registers, and the kernel behind it reads one value less.
//
//   %p = matmul(%x, %W) : f32[T, B, 12]         %p = matmul(%x, %W)
//   %h = scan(%U, %h0, %p) {                    %h = scan(%U, %h0, %p) {
//     ^(%0 U, %1 h, %2 p_t)               =>      ^(%0 U, %1 h, %2 p_t)
//     %3 = matmul(%1, %0) : f32[B, 12]            %3 = matmul_add(%1, %0, %2)
//     %4 = add(%2, %3) ...                        ...
//
// Parts of a product to which the same parts of one value are added are parts of the sum. Only
// where the inputs are few: a tile of a product of many takes little of its time to begin and to
// end. Products that another backend runs stay as they are.
Graph chain_products(const Graph& graph);

}  // namespace treadle
