// Kernels that write over what only they read.
#pragma once
#include "backends/llvm/program_plan.h"

namespace treadle {

// The result of a kernel of the program itself, outside of loops, stands where an operand of
// its size stood that nobody else reads and that it reads element by element, as the
// gradient by what a layer activates stands where its derivative stood: less memory, of
// lines that are in a cache already. What stands in a thread's own memory stays there, and so
// does what layers at the same time use (loop_layers.h).
//
// Called before barriers are planned.
void overwrite_operands(ProgramPlan& plan);

// Do all uses of argument `i` of a fused node's body read it at the index that
// is being written?
bool reads_in_place(const Graph& body, std::size_t argument);

}  // namespace treadle
