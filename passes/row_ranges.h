// What is known of the elements of a pointwise op's result from what is known
// of its operands', for the proof behind `derive-step`.
#pragma once
#include <span>

#include "passes/row_dependence.h"

namespace treadle {

// `range`, `offset` and `counts_past` of the result; `operands` are those of
// the node, `type` is the type of its result. With `later`, the elements are
// those of pairs (t, s) with s > t.
Dependence pointwise_range(const Graph& graph, const Node& node,
                           std::span<const Dependence> operands, bool later);

}  // namespace treadle
