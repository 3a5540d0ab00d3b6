// The rules of `simplify` that look at one node.
#pragma once
#include <optional>
#include <vector>

#include "ir/builder.h"

namespace treadle {

// The one element of a constant all of whose elements are the same; null when
// v is anything else.
const Tensor* splat_element(const Graph& graph, Value v);
Value make_splat(Builder& b, const Tensor& element, Dims dims);

// What `node` on `operands` (values of b's graph) can be replaced by; nothing
// when no rule applies. `node` has one output.
std::optional<Value> simplify_algebra(Builder& b, const Node& node,
                                      const std::vector<Value>& operands);
std::optional<Value> simplify_shapes(Builder& b, const Node& node,
                                     const std::vector<Value>& operands);

}  // namespace treadle
