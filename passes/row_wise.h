// Nodes that work on the rows of their operands, one like the other.
#pragma once
#include <functional>

#include "ir/graph.h"

namespace treadle {

using RowTest = std::function<bool(const Type&)>;

// Does row i (along the first dimension) of the result depend on row i of the
// operands for which `is_rows` holds, and on the others whole, in the same way
// for every i? Then the node may run on any number of rows at once. The result
// must be rows too.
bool works_row_by_row(const Graph& graph, const Node& node, const RowTest& is_rows);

}  // namespace treadle
