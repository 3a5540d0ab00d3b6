// A compiled program as it is kept: what running it needs, without the graph.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// Machine code that runs at the start of any page.
struct CodeImage {
  // Eight bytes that are to hold the address of a function of the C library,
  // such as `exp`.
  struct Import {
    std::string name;
    std::uint64_t at = 0;
  };
  std::string bytes;
  std::uint64_t entry = 0;  // where its entry function, a ProgramEntry, stands
  std::vector<Import> imports;
};

struct CompiledProgram {
  ProgramPlan plan;       // without its steps
  std::vector<Dim> dims;  // whose values the code reads from its table
  CodeImage code;
};

std::string to_bytes(const CompiledProgram& program);
// None where the bytes are not to_bytes' of this version.
std::optional<CompiledProgram> compiled_program(std::string_view bytes);

}  // namespace treadle
