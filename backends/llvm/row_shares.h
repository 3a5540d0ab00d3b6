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

}  // namespace treadle
