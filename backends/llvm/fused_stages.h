// Kernels in which one long function waits for another.
#pragma once
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A function that takes a long chain of instructions, each waiting for the one before.
// (In f64 it is a call.)
bool is_long_chain(const Node& node);

// A kernel's columns in two stages, a block of them at a time: `kept` first, then
// everything else from it. None where no function of a function of the kernel's operands
// is worked out, or more than a few values would be kept; all of these stand at the index
// that is written. A processor looks ahead over so many instructions, which are one or two
// turns of a loop with a chain as long as an LSTM cell's: in two loops with chains half as
// long it does one turn while another waits.
std::optional<std::vector<Value>> first_stage(const Graph& body, const Dims& domain,
                                              const std::vector<Value>& parts);

}  // namespace treadle
