// Loops that two halves of the threads run at the same time.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Puts loops of the program that depend on nothing of each other, have equal turns and
// equally many of them side by side, two and two, and sets `beside` of the first: the two
// directions of a recurrent layer, say, and their gradients. What stood between them and
// follows from the first one comes behind both, the rest in front, as does all that either
// needs before its first turn. Where there are few rows, and threads would share out each
// step's columns and meet behind it, each half of an even number of them has a loop of its own
// instead: of two threads nobody waits till both loops are done.
void pair_loops(ProgramPlan& plan);

}  // namespace treadle
