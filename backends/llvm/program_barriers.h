// Where the threads must meet, and in which phases memory is in use.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Sets `barrier_before` and `unless_one` of all steps, and the phases of the
// buffers.
void plan_barriers(ProgramPlan& plan, const MatmulTile& tile_f32);

}  // namespace treadle
