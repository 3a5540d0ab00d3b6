// Attention that writes where its results are read.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// A kernel that only puts the results of attention elsewhere, as heads side by side or
// gradients behind one another, is left out where attention can write its rows there itself:
// where nobody but attention reads the results as they were. Called before barriers are planned.
void write_results_in_place(ProgramPlan& plan, std::vector<Step>& steps);

}  // namespace treadle
