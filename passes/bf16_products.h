// Products of f32 become products of bfloat16 operands, summed in f32.
//
//   %2 = matmul(%h, %W) : f32[B, H]      %2 = cast(%h) : bf16[B, M]
//                                        %3 = cast(%2) : f32[B, M]
//                                   =>   %4 = cast(%W) : bf16[M, H]
//                                        %5 = cast(%4) : f32[M, H]
//                                        %6 = matmul(%3, %5) : f32[B, H]
//
// The values stay f32: a product of two bfloat16 numbers has 16 significant bits,
// so that in f32 it is exact, and only the sums round. Behind `differentiate` the
// products of the gradient are rounded like those of the model; behind
// `fuse-attention` what stands in an attention node stays as it is. A value that
// several products read is rounded once, what a loop does not change in front of
// it, and what a product reads as a view (a transpose, windows) under the view.
// Products of f64, and those that add nothing up, are left alone.
//
// With `in_products` nothing is rounded outside of the products: each rounds what it
// reads itself, which is for a backend that copies operands anyway and whose products
// are of bfloat16. The numbers are the same.
//
//   %2 = matmul(%h, %W) : f32[B, H]  =>  %2 = matmul(%h, %W) {operands = bf16} : f32[B, H]
//
// [Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training"]
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph bf16_products(const Graph& graph, bool in_products = false);

}  // namespace treadle
