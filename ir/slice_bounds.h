// Slices whose bounds depend on dimensions that are bound when a program runs.
#pragma once
#include <vector>

#include "ir/graph.h"

namespace treadle {

struct SliceBound {
  Dim start, extent, size;  // elements [start, start + extent) of `size`
  SourceRange location;
};

// The slices of the graph and its regions that may reach beyond their operand,
// each once.
std::vector<SliceBound> slice_bounds(const Graph& graph);

// Throws UserError T0327 at the first slice that under `env` is not empty and
// reaches beyond its operand.
void require_slices(const std::vector<SliceBound>& bounds, const DimEnv& env);

}  // namespace treadle
