// Symbols replaced by dimensions, in types and attributes.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "ir/builder.h"

namespace treadle {

using DimMap = std::map<std::string, Dim>;

Dims substitute(const Dims& dims, const DimMap& symbols);
Attributes substitute(const Attributes& attributes, const DimMap& symbols);
// The graph or region under the other dimensions, regions in it included.
Graph substitute(const Graph& graph, const DimMap& symbols);
// A copy of the node on other operands, under the other dimensions.
Value clone_with_dims(Builder& b, const Node& node, std::vector<Value> operands,
                      const DimMap& symbols);

// Do the node's types, attributes or regions mention a symbol for which
// `wanted(symbol)` holds?
bool mentions(const Node& node, const std::function<bool(const std::string&)>& wanted);

}  // namespace treadle
