#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "driver/calibration.h"
#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/data_sets.h"
#include "driver/metrics.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "driver/replay.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "ir/text_printer.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "runtime/atomic_file.h"
#include "runtime/checkpoint.h"
#include "runtime/generators.h"
#include "runtime/progress.h"
#include "runtime/signals.h"
#include "runtime/team.h"
#include "runtime/tensorboard.h"
#include "runtime/trainer.h"

namespace treadle {
namespace {

struct Options {
  std::string file, data, output, model;
  LanguageOptions language;
  MachineOptions machine;
  std::int64_t examples = 1500;
  std::optional<std::int64_t> epochs, steps, batch;
  std::optional<double> learning_rate;
  std::optional<std::uint64_t> seed;
  std::int64_t checkpoint_every = 0;
  bool resume = false;
};

NamedFields generated(const std::string& kind, std::int64_t examples, std::uint64_t seed) {
  NamedFields out;
  if (kind != "strokes" && kind != "adding")
    throw_user_error("T0841", fmt::format("there is no generated data '{}'", kind),
                     "--data strokes or --data adding");
  if (kind == "strokes") {
    StrokeImages data = stroke_images(examples, seed);
    out.emplace("images", std::move(data.images));
    out.emplace("labels", std::move(data.labels));
  } else {
    AddingProblem data = adding_problem(20, examples, seed);
    out.emplace("sequences", std::move(data.sequences));
    out.emplace("targets", std::move(data.targets));
  }
  return out;
}

// Every data input of the loss must be a field of the data, of that type.
void require_fields(const Graph& loss, const NamedFields& fields, const std::string& kind) {
  for (const NodeId id : loss.inputs()) {
    const Node& node = loss.node(id);
    const std::string name = node.attributes.string("name");
    if (node.op != Op::input || fields.contains(name)) continue;
    std::string known;
    for (const auto& [field, tensor] : fields) known += (known.empty() ? "" : ", ") + field;
    throw_user_error("T0833", fmt::format("the data '{}' has no field '{}'", kind, name),
                     "its fields are " + known, node.location);
  }
}

// Everything that a run needs, wherever it was described.
struct Run {
  Graph loss, evaluation;
  DataSets data;
  OptimizerSettings optimizer;
  TrainerOptions trainer;
};

Run run_of_graph(const Options& options) {
  Run out;
  out.loss = out.evaluation = load_graph(options.file);
  const NamedFields fields = generated(options.data, options.examples, options.seed.value_or(0));
  require_fields(out.loss, fields, options.data);
  const std::int64_t held_back = std::max<std::int64_t>(1, options.examples / 5);
  const std::int64_t used = options.examples - held_back;
  const std::int64_t batch = options.batch.value_or(32);
  const std::uint64_t seed = options.seed.value_or(0);
  out.data.training = array_batches(rows(fields, 0, used), {batch, true, seed});
  out.data.validation = array_batches(rows(fields, used, options.examples), {batch, false, seed});
  out.optimizer.clip_norm = 1.0;
  out.trainer.epochs = options.epochs.value_or(8);
  out.trainer.steps = options.steps.value_or(0);
  out.trainer.seed = seed;
  out.trainer.schedule = {Schedule::Kind::cosine, options.learning_rate.value_or(0.01), 0.1, 0.05};
  return out;
}

Run run_of_experiment(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  TrainSpec spec = find_train_block(experiment, options.file, options.model);
  if (options.epochs) {
    spec.epochs = *options.epochs;
    spec.steps = 0;
  }
  if (options.steps) spec.steps = *options.steps;
  if (options.batch) spec.batch = *options.batch;
  if (options.seed) spec.seed = static_cast<std::int64_t>(*options.seed);
  if (options.learning_rate) spec.optimizer.learning_rate.peak = *options.learning_rate;
  Run out;
  out.loss = experiment.loss(spec, Mode::train);
  if (spec.truncation.kind == TruncationSpec::Kind::window)
    out.loss = truncate_bptt(out.loss, spec.truncation.window);
  out.evaluation = experiment.loss(spec, Mode::eval);
  out.data = open_data(spec, out.loss, options.data);
  out.optimizer = optimizer_settings(spec.optimizer);
  out.trainer.epochs = spec.epochs;
  out.trainer.steps = spec.steps;
  if (spec.steps > 0) {
    const std::int64_t batches = out.data.training->batches();
    out.trainer.epochs = (spec.steps + batches - 1) / batches;
  }
  out.trainer.seed = static_cast<std::uint64_t>(spec.seed);
  const ScheduleSpec& rate = spec.optimizer.learning_rate;
  out.trainer.schedule = {schedule_kind(rate.kind), rate.peak, rate.warmup, rate.final};
  return out;
}

constexpr int exit_interrupted = 130;
// Of more epochs, every second, third, ... has a line, a checkpoint and a look at what is held
// back.
constexpr std::int64_t epoch_lines = 100;

// The folder of a run: its checkpoint and its curves.
class RunFolder {
 public:
  RunFolder(const Options& options, const Run& run)
      : options_(options), run_(run), file_(checkpoint_file(options.output)) {}

  // The position of the checkpoint goes into the trainer; returns the sum of
  // the losses of the epoch so far.
  double resume(Trainer& trainer) const {
    Checkpoint saved = load_run(options_.output, run_.loss);
    if (saved.signature != signature())
      throw_user_error("T0976", fmt::format("'{}' is of another program", file_.string()),
                       "its parameters fit, but the loss has changed since");
    if (saved.placement != options_.machine.backend)
      throw_user_error(
          "T0977",
          fmt::format("'{}' was made with the backend {}", file_.string(), saved.placement),
          fmt::format("only that gives the same bits: --backend {}", saved.placement));
    if (const std::string other = differing_settings(saved.texts["settings"], settings());
        !other.empty())
      throw_user_error("T0977",
                       fmt::format("'{}' was made with other settings: {}", file_.string(), other),
                       "a run goes on with the settings that it began with");
    std::map<std::string, Tensor> tensors = saved.parameters;
    tensors.insert(saved.optimizer.begin(), saved.optimizer.end());
    tensors.insert(saved.carried.begin(), saved.carried.end());
    trainer.resume({saved.epoch, saved.position, saved.step}, std::move(tensors));
    return saved.numbers.at("loss_sum");
  }

  void save(const Trainer& trainer, double loss_sum) const {
    Checkpoint out;
    for (const auto& [name, tensor] : trainer.tensors()) {
      const Value input = run_.loss.input(name);
      if (!input.valid())
        out.optimizer.emplace(name, tensor);
      else if (run_.loss.node(input.node).op == Op::parameter)
        out.parameters.emplace(name, tensor);
      else
        out.carried.emplace(name, tensor);
    }
    out.step = trainer.position().step;
    out.epoch = trainer.position().epoch;
    out.position = trainer.position().batch;
    out.seeds["shuffle"] = run_.trainer.seed;
    out.numbers["loss_sum"] = loss_sum;
    out.texts["settings"] = settings();
    out.texts["calibration"] = calibration_text(machine_calibration());
    add_vocabularies(run_.data.vocabularies, out.texts);
    out.signature = signature();
    out.placement = options_.machine.backend;
    save_checkpoint(file_, out);
  }

 private:
  std::string signature() const { return text_signature(print(run_.loss)); }
  std::string settings() const {
    return settings_text(run_.optimizer, run_.trainer, *run_.data.training);
  }

  const Options& options_;
  const Run& run_;
  std::filesystem::path file_;
};

// The backends were chosen by the seconds of steps that the run began with.
void keep_calibration(const std::filesystem::path& folder, const Graph& loss) {
  const Checkpoint saved = load_run(folder, loss);
  const auto text = saved.texts.find("calibration");
  if (text == saved.texts.end()) return;
  try {
    use_calibration(parse_calibration(text->second, checkpoint_file(folder).string()));
  } catch (const UserError&) {
    // Another machine: it has other last bits in any case.
  }
}

StepResult made_step(const Graph& graph, Trainer& trainer) {
  try {
    return trainer.step();
  } catch (const NonFiniteStep& bad) {
    throw UserError(explain_non_finite(graph, bad, trainer.tensors()));
  }
}

int run_train(const Options& options) {
  const Run run =
      options.file.ends_with(".tdl") ? run_of_experiment(options) : run_of_graph(options);
  const std::vector<std::string> ragged = run.data.training->ragged_symbols();
  const DimEnv sizes =
      ragged.empty() ? batch_sizes(run.loss, run.data.training->batch(0, 0)) : DimEnv{};
  const TrainingStep step =
      make_training_step(run.loss, run.optimizer, ragged, sizes, working_memory);
  if (options.resume) keep_calibration(options.output, run.loss);
  const CompileOptions machine = compile_options(options.machine, options.language);
  const std::unique_ptr<Program> program = compile_step(step, machine);
  const std::vector<std::string> held_back_ragged =
      run.data.validation ? run.data.validation->ragged_symbols() : std::vector<std::string>{};
  const std::unique_ptr<Program> evaluation =
      compile_evaluation(run.evaluation, held_back_ragged, machine);
  for (const RecomputeChoice& choice : step.recomputed) std::cout << recompute_text(choice) << "\n";
  if (!step.recomputed.empty())
    std::cout << fmt::format(
        "a step's working memory: {:.1f} MiB\n",
        static_cast<double>(program->workspace_bytes(sizes, options.machine.threads)) / 0x1p20);
  Team team(options.machine.threads);
  Trainer trainer(*program, first_tensors(run.loss, step, run.trainer.seed), *run.data.training,
                  run.trainer, team);
  const bool keeps = !options.output.empty();
  const RunFolder folder(options, run);
  double sum = 0;
  if (options.resume) sum = folder.resume(trainer);
  std::optional<EventWriter> events;
  if (keeps) {
    create_folders(options.output);
    events.emplace(options.output, "train", trainer.position().step);
  }
  const auto save = [&] {
    if (!keeps) return;
    events->flush();
    folder.save(trainer, sum);
  };
  const InterruptHandler handler;
  const std::int64_t epochs_a_line = (run.trainer.epochs + epoch_lines - 1) / epoch_lines;
  while (!trainer.finished()) {
    const std::int64_t epoch = trainer.position().epoch;
    const std::int64_t batches = trainer.batches_of_epoch();
    Progress progress(stdout, is_terminal(stdout),
                      fmt::format("epoch {}/{}", epoch + 1, run.trainer.epochs), batches);
    for (std::int64_t i = trainer.position().batch; i < batches; ++i) {
      const StepResult result = made_step(step.graph, trainer);
      sum += result.loss;
      if (events) events->scalar("loss", trainer.position().step, result.loss);
      progress.update(i + 1, fmt::format("loss {:.4f}", sum / static_cast<double>(i + 1)));
      if (i + 1 == batches) break;
      if (options.checkpoint_every > 0 && trainer.position().step % options.checkpoint_every == 0)
        save();
      if (interrupted()) {
        save();
        progress.finish(keeps ? "stopped; --resume goes on from here" : "stopped");
        return exit_interrupted;
      }
    }
    if ((epoch + 1) % epochs_a_line != 0 && !trainer.finished()) {
      sum = 0;
      const std::int64_t every = options.checkpoint_every;
      if (interrupted() || (every > 0 && trainer.position().step % every == 0)) save();
      if (interrupted()) return exit_interrupted;
      continue;
    }
    std::string held_back;
    if (run.data.validation) {
      const Metrics metrics = evaluate_metrics(*evaluation, trainer.tensors(), *run.data.validation,
                                               run.trainer.seed, team);
      held_back = "  held back: " + metrics_text(metrics);
      if (events)
        for (const auto& [name, value] : metrics)
          events->scalar("validation/" + name, trainer.position().step, value);
    }
    progress.finish(
        fmt::format("training loss {:.4f}{}", sum / static_cast<double>(batches), held_back));
    sum = 0;
    save();
    if (interrupted()) return exit_interrupted;
  }
  return 0;
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train the model of a file");
  command->add_option("file", options->file, "A program (.tdl), or the loss of one example (.tir)")
      ->required();
  command->add_option("--data", options->data,
                      "The folder of the data files; for a .tir file strokes or adding");
  add_language_options(*command, options->language);
  command
      ->add_option("--examples", options->examples,
                   "Of generated data for a .tir file; a fifth is held back")
      ->check(CLI::Range(2, 10000000));
  command->add_option("--model", options->model, "Which train block's model; else the first");
  command->add_option("--epochs", options->epochs, "Passes over the data")
      ->check(CLI::PositiveNumber);
  command->add_option("--steps", options->steps, "Of training, in place of whole epochs")
      ->check(CLI::PositiveNumber)
      ->excludes("--epochs");
  command->add_option("--batch", options->batch, "Examples a step")->check(CLI::PositiveNumber);
  command->add_option("--learning-rate", options->learning_rate, "The cosine's peak")
      ->check(CLI::PositiveNumber);
  add_machine_options(*command, options->machine);
  command->add_option("--seed", options->seed, "Of data, order and first values");
  CLI::Option* output = command->add_option(
      "-o,--output", options->output, "The run's folder: its checkpoint, its curves (TensorBoard)");
  command
      ->add_option("--checkpoint-every", options->checkpoint_every,
                   "Write a checkpoint every N steps too, not only after each epoch")
      ->check(CLI::PositiveNumber);
  command->add_flag("--resume", options->resume, "Go on from the checkpoint in the run's folder")
      ->needs(output);
  command->callback([options, &action] { action = [options] { return run_train(*options); }; });
}

}  // namespace treadle
