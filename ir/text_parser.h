// Reads the text form that ir/text_printer.h writes.
#pragma once
#include <string>
#include <string_view>

#include "ir/graph.h"

namespace treadle {

// Throws UserError: T0801 for what is not the text form (line and column in
// the range), T0802 when the written type is not the one that the operands
// give, and what the Builder finds.
Graph parse_graph(std::string_view text, const std::string& name = "<text>");

}  // namespace treadle
