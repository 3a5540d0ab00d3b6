#include "driver/options.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "backends/llvm/compile.h"
#include "driver/commands.h"
#include "driver/compile.h"

namespace treadle {

ElaborateOptions LanguageOptions::elaborate() const {
  ElaborateOptions out;
  out.real = precision == "f64" ? DType::f64 : DType::f32;
  for (const auto& [name, value] : parse_dims(dims)) out.dims[name] = value;
  return out;
}

void add_language_options(CLI::App& command, LanguageOptions& options, Precisions precisions) {
  command.add_option("-D", options.dims, "Value of a dim: -D H=64");
  if (precisions == Precisions::f32_f64) {
    command.add_option("-p,--precision", options.precision, "What 'real' means: f32 or f64")
        ->check(CLI::IsMember({"f32", "f64"}));
    return;
  }
  command
      .add_option("-p,--precision", options.precision,
                  "What 'real' means: f32 or f64; bf16: f32, with products of bfloat16 operands")
      ->check(CLI::IsMember({"f32", "f64", "bf16"}))
      ->each([](const std::string& precision) {
        if (precision != "bf16") return;
        std::cerr << "note: products of bfloat16 operands are "
                  << (multiplies_bfloat16()
                          ? "computed by this processor's own instructions for them\n"
                          : "computed in f32, which is slower than -p f32\n");
      });
}

void add_machine_options(CLI::App& command, MachineOptions& options) {
  command
      .add_option("--backend", options.backend, "auto, llvm, onednn, or reference: the evaluator")
      ->check(CLI::IsMember({"auto", "llvm", "onednn", "reference"}));
  command.add_option("--threads", options.threads, "How many; the results do not depend on it")
      ->check(CLI::Range(1, 1024));
}

CompileOptions compile_options(const MachineOptions& machine, const LanguageOptions& language) {
  CompileOptions out = cached(machine.backend);
  out.bf16_products = language.bf16_products();
  return out;
}

}  // namespace treadle
