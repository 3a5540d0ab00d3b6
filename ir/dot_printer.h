#pragma once
#include <string>

#include "ir/graph.h"

namespace treadle {

// A graph for Graphviz: a box a node with its op and type, an edge an operand
// (numbered where there are several), a cluster a region.
//   treadle dump model.tdl --format dot | dot -Tsvg > model.svg
std::string print_dot(const Graph& graph);

}  // namespace treadle
