// The gradients that attention gives are joined where they are read together, and so is what is
// made of them.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Where the gradients of one attention are concatenated for a product, whoever else reads one
// of them reads its part of the concatenation. Then they stand in memory once, and attention can
// write them there itself.
//
//   %2, %3 = attention_gradient(...)       %2, %3 = attention_gradient(...)
//   %4 = transpose(%2), %5 = transpose(%3) %4 = transpose(%2), %5 = transpose(%3)
//   %6 = matmul(%x, %4)               =>   %6 = concat(%4, %5) {axis = 1}
//   %7 = concat(%4, %5) {axis = 1}         %7 = slice(%6) {axis = 1, start = 0, ...}
//   %8 = matmul(%7, %w)                    %8 = matmul(%x, %7)
//                                          %9 = matmul(%6, %w)
//
// Products that share their left operand and multiply the parts of one value, side by side from
// its first column to its last, become one product with that value, and the sums over the same
// rows of the parts one sum: the gradients of the weights and biases by queries, keys and values.
//
//   %1 = slice(%0) {start = 0, extent = 6}   %1 = matmul(%x, %0)
//   %2 = slice(%0) {start = 6, extent = 6}   %2 = slice(%1) {start = 0, extent = 6}
//   %3 = matmul(%x, %1)                   => %3 = slice(%1) {start = 6, extent = 6}
//   %4 = matmul(%x, %2)
Graph join_gradients(const Graph& graph);

}  // namespace treadle
