// The gradients that attention gives are joined where they are read together.
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
Graph join_gradients(const Graph& graph);

}  // namespace treadle
