// Biases of a product's parts are added to all of it.
#pragma once
#include "ir/graph.h"

namespace treadle {

// One product computes queries, keys and values (fuse-gates), and each may have a bias. Attention
// reads them from memory: parts with a bias of their own would stand there twice, as the
// product wrote them and with the bias, for as long as the gradient needs them. Added to the
// whole product, 0 for parts without one, it is one value, in parts of which attention reads.
//
//   %1 = matmul(%x, %w) : f32[B, 24]              %1 = matmul(%x, %w) : f32[B, 24]
//   %2 = slice(%1) : f32[B, 8]                    %2 = concat(%b, 0, %c) : f32[24]
//   %3 = add(%2, broadcast(%b)) : f32[B, 8]   =>  %3 = add(%1, broadcast(%2)) : f32[B, 24]
//   %4 = slice(%1) : f32[B, 8]                    %4 = slice(%3) : f32[B, 8]
//   %5 = slice(%1) : f32[B, 8]                    %5 = slice(%3) : f32[B, 8]
//   %6 = add(%5, broadcast(%c)) : f32[B, 8]       %6 = slice(%3) : f32[B, 8]
Graph with_joined_biases(const Graph& graph);

}  // namespace treadle
