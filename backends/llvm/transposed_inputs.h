// Inputs by example that loops read by time.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// A kernel that turns an input [batch, time, width] into [time, batch, width] for
// products alone is left out where these read the input as it stands: the part of a
// deferred product reads rows that are time * width apart, and a weight's gradient,
// which copies blocks of A, copies them from there. Called when barriers are planned and products
// deferred.
void read_transposed_inputs(ProgramPlan& plan);

}  // namespace treadle
