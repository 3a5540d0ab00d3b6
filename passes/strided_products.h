// Products read operands that strides describe.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Products whose operands no strides describe read a copy in the order batch,
// free, contracted.
Graph with_strided_products(const Graph& graph);

// The value whose memory attention reads operand `i` from.
Value read_by_attention(const Graph& graph, const Node& attention, std::size_t i);

}  // namespace treadle
