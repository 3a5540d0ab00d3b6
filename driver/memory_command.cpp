#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/options.h"
#include "driver/rehearsal.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "runtime/resident_memory.h"
#include "runtime/team.h"

namespace treadle {
namespace {

struct Options {
  std::string file;
  LanguageOptions language;
  MachineOptions machine;
  std::int64_t batch = 0;
  bool measure = false;
};

void line(std::string_view what, double bytes) {
  std::cout << fmt::format("{:<18} {:>10.2f} MiB\n", what, bytes / (1024.0 * 1024.0));
}

struct Measured {
  std::optional<double> bytes;  // by which the first step makes the process grow
  double seconds = 0;           // of the second
};

Measured measure(Program& program, std::vector<Tensor>& inputs, const DimEnv& env, int threads) {
  Team team(threads);
  Rehearsal rehearsal(program, inputs, env, team);
  Measured made;
  const bool counted = reset_peak_resident();
  const std::size_t before = peak_resident_bytes();
  rehearsal.milliseconds();
  if (counted && before > 0)
    made.bytes = static_cast<double>(peak_resident_bytes()) - static_cast<double>(before);
  made.seconds = rehearsal.milliseconds() * 1e-3;
  return made;
}

int run_memory(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  const TrainSpec* found = experiment.find_train();
  if (found == nullptr)
    throw_user_error("T0840", fmt::format("'{}' has no train block", options.file),
                     "train MODEL { data ...  loss ...  optimizer ... }");
  Graph loss = experiment.loss(*found, Mode::train);
  if (found->truncation.kind == TruncationSpec::Kind::window)
    loss = truncate_bptt(loss, found->truncation.window);
  const DimEnv env{{"B", options.batch > 0 ? options.batch : found->batch}};
  for (const std::string& symbol : loss.symbols())
    throw_user_error("T0831", fmt::format("the dimension '{}' has no value", symbol),
                     fmt::format("add -D {}=100", symbol));
  const TrainingStep step =
      make_training_step(loss, optimizer_settings(found->optimizer), {}, env, working_memory);
  const std::unique_ptr<Program> program =
      compile_step(step, compile_options(options.machine, options.language));
  std::vector<Tensor> inputs = rehearsal_inputs(step.graph, in_place_updates(step), env);
  double data = 0, parameters = 0, state = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Node& node = step.graph.node(step.graph.inputs()[i]);
    const bool batched = node.op == Op::input && !node.attributes.boolean("shared");
    const auto bytes = static_cast<double>(inputs[i].bytes());
    (node.op == Op::parameter ? parameters : batched ? data : state) += bytes;
  }
  line("batch", data);
  line("parameters", parameters);
  line("optimizer", state);
  for (const RecomputeChoice& choice : step.recomputed) std::cout << recompute_text(choice) << "\n";
  line("step, predicted",
       static_cast<double>(program->workspace_bytes(env, options.machine.threads)));
  if (!options.measure) return 0;
  const Measured made = measure(*program, inputs, env, options.machine.threads);
  if (made.bytes)
    line("step, measured", *made.bytes);
  else
    std::cout << "the kernel does not say how much memory the process had at the most\n";
  std::cout << fmt::format("{:<18} {:>10.3f} s\n", "step, time", made.seconds);
  return 0;
}

}  // namespace

void add_memory_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "memory", "How much memory a training step takes: data, parameters, working memory");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--batch", options->batch, "Examples a step; else the train block's")
      ->check(CLI::PositiveNumber);
  command->add_flag("--measure", options->measure,
                    "Run one step on random data and read how far the process grew");
  add_language_options(*command, options->language);
  add_machine_options(*command, options->machine);
  command->callback([options, &action] { action = [options] { return run_memory(*options); }; });
}

}  // namespace treadle
