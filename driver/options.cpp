#include "driver/options.h"

#include <CLI/CLI.hpp>

#include "driver/commands.h"

namespace treadle {

ElaborateOptions LanguageOptions::elaborate() const {
  ElaborateOptions out;
  out.real = precision == "f64" ? DType::f64 : DType::f32;
  for (const auto& [name, value] : parse_dims(dims)) out.dims[name] = value;
  return out;
}

void add_language_options(CLI::App& command, LanguageOptions& options) {
  command.add_option("-D", options.dims, "Value of a dim: -D H=64");
  command.add_option("-p,--precision", options.precision, "What 'real' means: f32 or f64")
      ->check(CLI::IsMember({"f32", "f64"}));
}

void add_machine_options(CLI::App& command, MachineOptions& options) {
  command
      .add_option("--backend", options.backend, "auto, llvm, onednn, or reference: the evaluator")
      ->check(CLI::IsMember({"auto", "llvm", "onednn", "reference"}));
  command.add_option("--threads", options.threads, "How many; the results do not depend on it")
      ->check(CLI::Range(1, 1024));
}

}  // namespace treadle
