// Runs of steps that are done block of rows by block of rows.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Finds steps of the program itself that work out row r of what they write from row r of
// what the others of the run write, as a feed-forward layer and the norms around it do,
// and puts them one behind the other: in front of them what they need and does not depend
// on them (packs of weights), behind them what follows from them (weights' gradients).
// Sets `run` of the first of them. A thread that does all of the run for a block of rows
// finds in its caches what it has just written, and meets the others at the end of the run
// instead of behind each step.
//
// Called before barriers are planned: with few rows the steps are done one by one.
void gather_row_runs(ProgramPlan& plan);

}  // namespace treadle
