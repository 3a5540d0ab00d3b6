// Products in front of a loop that are computed in its turns.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// A product [length, rows] that only a loop reads, row by row in its turns, as a
// layer's inputs by its weights, is moved into the loop for the case that each thread
// has many rows: a turn's part of it is read from cache where the whole would be
// written to memory and read back, and its memory is that of one turn. With fewer rows
// it is one product in front of the loop, since each turn reads all weights anew.
//
// Called when barriers are planned: the loop needs none for it, since each thread does
// its own rows. Both parts are one kernel.
void defer_products(ProgramPlan& plan);

// Where a turn's part of it is all that another product starts its sums from, both are computed
// by one kernel that never writes it (emit_chained_tile_function). Called when it is known where
// they read their operands.
void chain_deferred_products(ProgramPlan& plan);

}  // namespace treadle
