// From a plan to machine code. Included only by backends/llvm/*.cpp.
#pragma once
#include <string>
#include <vector>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"

namespace treadle {

struct MachineCode {
  std::vector<std::string> objects;  // object files that refer to each other
  std::vector<Dim> dims;             // whose values the code reads from its table
};

// A program's functions are dealt out to shares, an object file each, which
// `threads` threads (0: one a processor) work off side by side. The shares follow
// from the program alone, and so do the objects' bytes.
MachineCode generate_code(const Target& target, const ProgramPlan& plan, bool profiled,
                          int threads);

// All functions as one text: after optimisation as LLVM's, and as assembly.
std::string program_llvm_ir(const Target& target, const ProgramPlan& plan);
std::string program_assembly(const Target& target, const ProgramPlan& plan);

}  // namespace treadle
