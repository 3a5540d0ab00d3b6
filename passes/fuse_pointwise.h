// Pointwise work becomes kernels: `fused` nodes.
//
//   %3 = add(%1, %2)                     %3 = fused(%1, %2) {domain = <B, 8>} {
//   %4 = tanh(%3)                   =>     ^(%0, %1)
//   %5 = matmul(%4, %w)                    %2 = add(%0, %1)
//                                          %3 = tanh(%2)
//                                          return %3
//                                        }
//                                        %5 = matmul(%3, %w)
//
// Each fused node walks over one domain and writes all its outputs: values of
// the domain's dims, or a concat of parts that have them. Slices, broadcasts,
// transposes and other ways to read are computed where they are needed, and so
// is cheap arithmetic that is read in slices. A reduction is a fused node whose
// only output it is; what only it reads is computed inside. What remains
// outside are products, scans, scatters, sources, and the strided views that a
// product can read in place. Composite ops must be expanded before
// (passes/expand_composites.h).
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph fuse_pointwise(const Graph& graph);

}  // namespace treadle
