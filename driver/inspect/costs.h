// What a node costs, as expressions over the dimensions.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Floating-point operations of one run of the node: what its op's record says
// and, of one with a body (fused, attention), the sum over that; a scan's is that
// of its body times its length.
Dim node_flops(const Graph& graph, NodeId id);

// Of these, the ones of matrix products: all of a matmul's; of attention's all but
// its body. Attention counts every query with every key, seen or not.
Dim product_flops(const Graph& graph, NodeId id);

// Bytes that the node reads and writes when it runs by itself: every operand
// once and every result. Of an operand that is read in slices only what the
// slices hold counts; gather and scatter_add touch the rows they name. Sources
// cost nothing. A scan's is that of its body times its length.
Dim node_bytes(const Graph& graph, NodeId id);

// The bytes of a value of that type.
Dim type_bytes(const Type& type);

}  // namespace treadle
