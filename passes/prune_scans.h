// What nobody reads leaves the scans of a graph.
//
// Outputs without a use, carries that reach no used output, constants and
// sequences that the step does not need; a carry that the step hands back
// unchanged becomes a constant; an operand given twice is given once. Looks at
// the graph's own scans only, not at those in their regions.
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph prune_scans(const Graph& graph);

}  // namespace treadle
