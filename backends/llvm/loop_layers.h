// Loops of which one follows the other some turns behind, each run by half of the threads.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// Finds loops of the program one behind the other with equal turns, of which the second reads
// in each turn what the first one wrote in the same turn, or what steps that keep to turns made
// of it, as those of two layers of a stack and, from the last turn to the first, their
// gradients do. Sets `layer` of both and of what stands between them, which is needed by the
// second loop and follows from the first, or does not follow from the first, or else is not
// needed by the second. The order of the steps stays as it is.
//
// Where there are few rows, and threads would share out each step's columns and meet behind
// it, each half of an even number of them then has a loop of its own: while one does some
// turns of the first loop the other does as many of the second, those before. Then all do
// the steps between for the rows of the turns that the first loop has done.
//
// Called before barriers are planned, when pairs (loop_pairs.h) and runs of rows (row_runs.h)
// are known.
void pair_layers(ProgramPlan& plan);

}  // namespace treadle
