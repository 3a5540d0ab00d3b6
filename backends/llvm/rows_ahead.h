// Rows in memory that a product asks for while it runs, since a kernel behind it needs them.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Products of fewer rows have few tiles to ask in.
constexpr std::int64_t least_rows_to_ask = 16;

// Sets `ahead` of products: in a loop whose rows a thread has for itself (row_shares.h), the
// last product in front of a kernel, of this turn or of the one before, asks for the rows of
// stacks that the kernel reads or writes in its turn, and in a run (row_runs.h) for those of
// the block, where the next products' results go, too. They have left the caches, or were never
// there, and what is written has to come first, too; the kernel would wait for them line by
// line. Not what the turn or the block itself brings with it: that is near.
void ask_ahead(ProgramPlan& plan);

}  // namespace treadle
