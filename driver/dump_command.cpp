#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "backends/llvm/compile.h"
#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/inspect/page.h"
#include "driver/options.h"
#include "driver/placement_table.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "ir/dot_printer.h"
#include "ir/text_printer.h"
#include "passes/derive_step.h"
#include "passes/fuse_attention.h"
#include "passes/pass_manager.h"
#include "passes/training_step.h"
#include "runtime/atomic_file.h"

namespace treadle {
namespace {

struct Options {
  std::string file, after, stage = "graph", format = "text", output;
  bool why = false;
  LanguageOptions language;
};

Graph training_step(const Graph& loss, const Options& options) {
  return make_training_step(loss, load_inspected(options.file, options.language).optimizer).graph;
}

Graph stage_of(const Graph& loss, const Options& options) {
  if (options.stage == "graph" && options.after.empty()) return loss;
  if (options.stage == "step") return derive_step(loss);
  const Graph step = training_step(loss, options);
  if (!options.after.empty()) {
    const std::string_view pipeline = pipeline_of(options.language.bf16_products());
    std::vector<PassCall> calls = parse_pipeline(pipeline);
    // `simplify` runs between the others; its last run is the one that is shown.
    const auto last = std::find_if(calls.rbegin(), calls.rend(), [&](const PassCall& call) {
      return call.pass->name == options.after;
    });
    if (last == calls.rend())
      throw_user_error("T0843", fmt::format("'{}' is no pass of the pipeline", options.after),
                       fmt::format("its passes are {}", pipeline));
    return run_pipeline(step, std::span(calls.begin(), last.base()), {}, machine_context());
  }
  if (options.stage == "grad") return step;
  return lower(step, options.language.bf16_products());
}

std::string shown(const Graph& graph, const Options& options) {
  return options.format == "dot" ? print_dot(graph) : print(graph);
}

// What became of each softmax of the training step.
std::string reasons_text(const Graph& step) {
  std::vector<PassCall> calls = parse_pipeline(training_pipeline);
  const auto last = std::find_if(calls.begin(), calls.end(), [](const PassCall& call) {
    return call.pass->name == "fuse-attention";
  });
  calls.erase(last, calls.end());
  std::vector<AttentionReport> reports;
  fuse_attention(run_pipeline(step, calls), &reports);
  std::string out;
  for (const AttentionReport& report : reports) {
    const std::string place = to_string(report.location);
    out += fmt::format("{}{}{}: {}\n", place, place.empty() ? "" : ": ",
                       report.fused ? "attention in tiles" : "softmax stays", report.text);
  }
  return reports.empty() ? "there is no softmax in the training step\n" : out;
}

// The one-token step of the model that generates, else of the first one.
Graph one_token_step(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  if (experiment.models.empty())
    throw_user_error("T0842", "'" + options.file + "' has no model", "model NAME(...) { ... }");
  const std::string name = experiment.generates.empty() ? experiment.models.front().name
                                                        : experiment.generates.front().model;
  return derive_step(experiment.model(name, Mode::eval));
}

std::string dumped(const Options& options) {
  if (options.format == "html" || options.stage == "kernels") {
    const InspectedProgram program = load_inspected(options.file, options.language);
    const CompiledStages compiled = compile_stages(program);
    if (options.format == "html") return inspection_page(program, compiled);
    return kernel_table(compiled_kernels(compiled.stages.back().graph, compiled.updates),
                        program.extents);
  }
  if (options.stage == "step" && options.file.ends_with(".tdl"))
    return shown(one_token_step(options), options);
  const ElaborateOptions language = options.language.elaborate();
  const Graph loss =
      load_graph(options.file, language.real, {language.dims.begin(), language.dims.end()});
  if (options.why) return reasons_text(training_step(loss, options));
  if (options.stage == "placement") {
    std::vector<PlacementReport> reports;
    place(lower(training_step(loss, options), options.language.bf16_products()), backend_models(),
          &reports);
    return placement_table(reports);
  }
  const Graph graph = stage_of(loss, options);
  if (options.stage == "llvm") return llvm_ir_text(graph);
  if (options.stage == "asm") return assembly_text(graph);
  return shown(graph, options);
}

int run_dump(const Options& options) {
  const std::string text = dumped(options);
  if (options.output.empty()) {
    std::cout << text;
    return 0;
  }
  AtomicFile file(options.output);
  file.write(text);
  file.commit();
  return 0;
}

}  // namespace

void add_dump_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("dump", "Show the training step of a program at a stage");
  command->add_option("file", options->file, "A program (.tdl) or the loss of one example (.tir)")
      ->required();
  command->add_option("--after", options->after, "Show the graph after this pass");
  command
      ->add_option("--stage", options->stage,
                   "graph, step (one token), grad, loop, kernels (what each costs), placement "
                   "(which backend runs each product), llvm or asm")
      ->check(
          CLI::IsMember({"graph", "step", "grad", "loop", "kernels", "placement", "llvm", "asm"}));
  command
      ->add_option("--format", options->format,
                   "text; dot: for Graphviz; html: a page with the source, every stage and the "
                   "kernels")
      ->check(CLI::IsMember({"text", "dot", "html"}));
  command->add_option("-o,--output", options->output, "File to write instead of standard output");
  command->add_flag("--why", options->why,
                    "Say of each softmax whether it became attention in tiles, or why not");
  add_language_options(*command, options->language);
  command->callback([options, &action] { action = [options] { return run_dump(*options); }; });
}

}  // namespace treadle
