// Steps that are done earlier, so that threads meet less often.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Each time that threads meet they wait for the slowest. Behind a run (row_runs.h) comes first
// what reads its results but not row by row, as attention does, then the rest, as weights'
// gradients: they wait for neither and are done before the threads meet for what follows from
// attention. And what follows from the program's inputs alone and is packed in front of a run,
// as weights side by side, is worked out in front of the run before that one.
//
// Called once runs are gathered, before barriers are planned.
void move_early(ProgramPlan& plan);

}  // namespace treadle
