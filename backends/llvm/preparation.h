// What a program computes from its fixed inputs alone.
#pragma once
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// Moves the steps that read nothing but the inputs in the slots `fixed`, literals and
// one another's results into `plan.preparation`: packed weights, above all, also what
// is made of weights before they are packed. What steps that stay read of them is kept
// (BufferPlan::Kind::kept). No extent of a moved step is symbolic, so that its results
// are right for any. Called before barriers are planned; without `fixed` nothing moves.
void move_to_preparation(ProgramPlan& plan, const std::vector<int>& fixed);

}  // namespace treadle
