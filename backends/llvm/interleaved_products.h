// Products in front of a loop that are computed in its turns where these have one row each.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// One row times a matrix is bound by how fast the matrix comes from the cache: multipliers
// have little to do. The product of all turns' inputs in front of the loop is bound by
// multipliers. Where a turn has one row, the loop's products therefore compute some rows of the
// other one between their loads: those of the next turns.
//
// Finds products in front of loops of the program whose rows a loop uses turn by turn, and
// which have a product of one row in each turn. Sets `interleaved` of both, and
// ProgramPlan::interleaved. The order of the steps stays as it is.
//
// Called when all else is planned, and not for training steps: with one example a step they gain
// 0.04 of the time and would take 0.1 more to compile.
void interleave_products(ProgramPlan& plan);

// May a step of a loop whose turns have so many rows compute a part of that product beside its
// own, where these are one?
bool may_have_beside(const Step& step, const Step& product, const Dim& rows);

// Has the machine the registers for it?
bool may_interleave(const Target& target, const MatmulTile& tile);

}  // namespace treadle
