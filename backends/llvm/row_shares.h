// Loops in which each thread does some of the rows, from the first turn to the
// last, without waiting for the others.
#pragma once
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// Sets `own_rows` of every loop whose turns compute row r of each value, r along
// the first dimension, from row r of the others and from what does not change
// inside the loop: an example of a batch, say, depends on no other.
void share_rows(std::vector<Step>& steps);

// The same for loops of such loops, and for runs of steps inside a loop, such as the
// two loops of a chunk that is computed again and differentiated; their products in
// front of loops must be deferred (deferred_products.h). Sets `own_rows_least`,
// `together`. Inside a loop what steps use stays till its end, so that nobody's memory
// is taken while he is behind.
void share_rows_together(ProgramPlan& plan);

// Sets `shared`.
void share_while_done(ProgramPlan& plan);

}  // namespace treadle
