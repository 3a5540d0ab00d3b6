// Which rows of what it reads a step needs for a row of what it writes.
#pragma once
#include <optional>
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// How many of the first dimensions are `rows` together: of [B, T, 8] and rows B*T two,
// since row b*T + t of the dense value is its 8 elements at (b, t). At least one.
std::optional<std::size_t> leading_dims(const Dims& dims, const Dim& rows);

// Are a kernel's units (FusedKernel) as many for each row?
bool has_units_of_rows(const Graph& body, const Dims& domain, const Dim& rows);

// Which operands a step reads in its own rows alone, where it works out each row of its
// results by itself and its work can be shared out by rows. Else none.
std::optional<std::vector<bool>> own_reads(const Step& step, const Dim& rows);

}  // namespace treadle
