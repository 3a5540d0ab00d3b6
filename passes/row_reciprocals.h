// Divisions of rows by one number each become products by its reciprocal.
#pragma once
#include "ir/graph.h"

namespace treadle {

// A division takes ten times as long as a product, and what is divided is then cheap to
// work out again where it is read (passes/fuse_pointwise.h): a norm's rows over their
// deviations need not be stored. The reciprocal is computed by the kernel that computes the
// divisor; of a divisor that no such kernel computes, or that is one number in all, the
// division stays. The result is rounded twice, to 1.5 units in the last place.
//
//   %1 = sqrt(%0) : f32[B]                       %1 = sqrt(%0) : f32[B]
//   %2 = broadcast(%1) : f32[B, 8]         =>    %2 = div(1, %1) : f32[B]
//   %3 = div(%x, %2) : f32[B, 8]                 %3 = broadcast(%2) : f32[B, 8]
//                                                %4 = mul(%x, %3) : f32[B, 8]
Graph with_row_reciprocals(const Graph& graph);

}  // namespace treadle
