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

// What the language is told from the command line.
struct LanguageOptions {
  std::vector<std::string> dims;  // -D H=64
  std::string precision = "f32";  // -p

  // Throws UserError T0830 for a -D that sets nothing.
  ElaborateOptions elaborate() const;
};
void add_language_options(CLI::App& command, LanguageOptions& options);

// Where a program runs; no result depends on `threads`.
struct MachineOptions {
  std::string backend = "auto";
  int threads = 2;
};
void add_machine_options(CLI::App& command, MachineOptions& options);

}  // namespace treadle
