#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <optional>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/data_sets.h"
#include "driver/metrics.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "ir/diagnostic.h"
#include "runtime/team.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run, data, model;
  LanguageOptions language;
  MachineOptions machine;
  std::optional<std::int64_t> batch;
  bool json = false;
};

// The parameters of the run under one block's loss.
void evaluate_block(const Experiment& experiment, TrainSpec spec, bool held_back,
                    const Options& options) {
  const Graph loss = experiment.loss(spec, Mode::eval);
  const Checkpoint saved = load_run(options.run, loss);
  if (options.batch) spec.batch = *options.batch;
  // Generated data and the share that is held back are those of the run.
  if (const auto seed = saved.seeds.find("shuffle"); held_back && seed != saved.seeds.end())
    spec.seed = static_cast<std::int64_t>(seed->second);
  const std::unique_ptr<BatchSource> data = open_evaluation(
      spec, held_back, loss, options.data, vocabularies_of(saved.texts, options.run));
  if (!data)
    throw_user_error("T0850", fmt::format("the train block of '{}' holds no data back", spec.model),
                     "validation 0.1 in the train block, or an eval block", spec.range);
  const std::unique_ptr<Program> program = compile_evaluation(
      loss, data->ragged_symbols(), compile_options(options.machine, options.language));
  Team team(options.machine.threads);
  const Metrics metrics = evaluate_metrics(*program, saved.parameters, *data,
                                           static_cast<std::uint64_t>(spec.seed), team);
  const std::string name =
      spec.title.empty() ? spec.model : fmt::format("{}, {}", spec.model, spec.title);
  if (options.json)
    std::cout << metrics_json(metrics, name, data->examples()) << "\n";
  else
    std::cout << fmt::format("{}: {}  ({} examples)\n", name, metrics_text(metrics),
                             data->examples());
}

int run_eval(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  bool any = false;
  for (const TrainSpec& spec : experiment.evals) {
    if (!options.model.empty() && spec.model != options.model) continue;
    evaluate_block(experiment, spec, false, options);
    any = true;
  }
  if (any) return 0;
  const TrainSpec* train = experiment.find_train(options.model);
  if (train == nullptr)
    throw_user_error("T0840", fmt::format("'{}' has no eval and no train block", options.file),
                     "eval MODEL { data ...  loss ...  report ... }");
  evaluate_block(experiment, *train, true, options);
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "eval", "Loss and reports of a training run, on the eval blocks' data or what was held back");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run, "The folder of its training run")->required();
  command->add_option("--model", options->model, "The blocks of this model alone");
  command->add_option("--data", options->data, "The folder of the data files");
  command->add_option("--batch", options->batch, "Examples at once")->check(CLI::PositiveNumber);
  add_language_options(*command, options->language);
  add_machine_options(*command, options->machine);
  command->add_flag("--json", options->json, "A JSON object a line");
  command->callback([options, &action] { action = [options] { return run_eval(*options); }; });
}

}  // namespace treadle
