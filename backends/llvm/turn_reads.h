// Which turns of a loop a kernel's results follow from.
#pragma once
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// `axes[i]`: along which dimension of operand i of a fused node turns are counted; none where
// they are not. Along which one they are in its results and its domain, where each of these
// follows at turn t from turn t of those operands and the kernel's work can be shared out by
// turns. Else none.
std::optional<std::size_t> turn_axis(const Node& fused,
                                     const std::vector<std::optional<std::size_t>>& axes);

}  // namespace treadle
