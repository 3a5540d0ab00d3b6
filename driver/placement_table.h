// Which backend runs each product of a training step, and what both would take.
#pragma once
#include <span>
#include <string>

#include "ir/graph.h"
#include "passes/place.h"

namespace treadle {

// What `dump --stage placement` prints: a row for each product, of the sizes that
// the choice was made for. Microseconds are those of one run on one core, with
// laying out operand B unless a loop keeps it.
std::string placement_table(std::span<const PlacementReport> reports);

}  // namespace treadle
