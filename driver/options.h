// Options that several commands share.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "frontend/elaborate.h"

namespace CLI {
class App;
}

namespace treadle {

struct CompileOptions;

// What the language is told from the command line.
struct LanguageOptions {
  std::vector<std::string> dims;  // -D H=64
  std::string precision = "f32";  // -p

  // Values of f32, products of bfloat16 operands.
  bool bf16_products() const { return precision == "bf16"; }
  // Throws UserError T0830 for a -D that sets nothing.
  ElaborateOptions elaborate() const;
};
// bf16 is for commands that compile; it is noted on standard error how it is computed.
enum class Precisions : std::uint8_t { f32_f64, f32_f64_bf16 };
void add_language_options(CLI::App& command, LanguageOptions& options,
                          Precisions precisions = Precisions::f32_f64_bf16);

// Where a program runs; no result depends on `threads`.
struct MachineOptions {
  std::string backend = "auto";
  int threads = 2;
};
void add_machine_options(CLI::App& command, MachineOptions& options);

// What a command compiles with.
CompileOptions compile_options(const MachineOptions& machine, const LanguageOptions& language);

}  // namespace treadle
