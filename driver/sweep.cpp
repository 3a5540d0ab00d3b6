#include "driver/sweep.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <utility>

#include "driver/compile.h"
#include "driver/data_sets.h"
#include "driver/model_runner.h"
#include "driver/parameters.h"
#include "driver/replay.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "runtime/trainer.h"

namespace treadle {
namespace {

const TrainSpec& find_eval_block(const Experiment& experiment, const TrainSpec& train) {
  for (const TrainSpec& spec : experiment.evals)
    if (spec.model == train.model) return spec;
  throw_user_error("T0850", fmt::format("'{}' has no eval block", train.model),
                   "eval MODEL { data ... }: all runs are measured on the same data", train.range);
}

// One size of the model, compiled once for all seeds.
class Size {
 public:
  Size(const SweepOptions& options, std::int64_t value)
      : options_(options), experiment_(load(options, value)), team_(options.machine.threads) {
    train_ = find_train_block(experiment_, options.file, options.model);
    eval_ = find_eval_block(experiment_, train_);
    loss_ = experiment_.loss(train_, Mode::train);
    if (train_.truncation.kind == TruncationSpec::Kind::window)
      loss_ = truncate_bptt(loss_, train_.truncation.window);
    const Graph measured = experiment_.loss(eval_, Mode::eval);
    model_ = experiment_.model(train_.model, Mode::eval);
    require_numbers(measured);
    step_ = make_training_step(loss_, optimizer_settings(train_.optimizer));
    const CompileOptions machine = compile_options(options.machine, options.language);
    program_ = compile_step(step_, machine);
    evaluation_ = compile_evaluation(measured, {}, machine);
    data_ = open_evaluation(eval_, false, measured, options.data, {});
    require_one_length(*data_, eval_, "sweep");
    point_.value = value;
    for (const ParameterRow& row : parameter_table(loss_))
      point_.parameters += row.type.count().constant().value_or(0);
    for (std::int64_t i = 0; i < data_->batches(); ++i) batches_.push_back(data_->batch(0, i));
  }

  SweepPoint run() {
    for (std::int64_t i = 1; i <= options_.seeds; ++i)
      train(static_cast<std::uint64_t>(train_.seed + i));
    decompose();
    return std::move(point_);
  }

 private:
  static Experiment load(const SweepOptions& options, std::int64_t value) {
    ElaborateOptions language = options.language.elaborate();
    language.dims[options.dim] = value;
    Experiment out = load_experiment(options.file, language);
    if (!out.dims.contains(options.dim))
      throw_user_error("T0875", fmt::format("'{}' has no dim '{}'", options.file, options.dim),
                       "dim K = 4, and K in the types of parameters");
    return out;
  }

  void require_numbers(const Graph& measured) const {
    const Value target = measured.input("target");
    const bool one = model_.output_type(0).count() == Dim(1);
    if (!one || !target.valid() || measured.type(target).rank() != 0)
      throw_user_error(
          "T0876",
          fmt::format("'{}' does not predict one number, 'target', from each example", eval_.model),
          "bias and variance are those of numbers", eval_.range);
  }

  void train(std::uint64_t seed) {
    TrainSpec spec = train_;
    spec.seed = static_cast<std::int64_t>(seed);
    const DataSets data = open_data(spec, loss_, options_.data);
    require_one_length(*data.training, spec, "sweep");
    TrainerOptions settings;
    settings.epochs = spec.epochs;
    settings.steps = spec.steps;
    if (spec.steps > 0) {
      const std::int64_t batches = data.training->batches();
      settings.epochs = (spec.steps + batches - 1) / batches;
    }
    settings.seed = seed;
    const ScheduleSpec& rate = spec.optimizer.learning_rate;
    settings.schedule = {schedule_kind(rate.kind), rate.peak, rate.warmup, rate.final};
    Trainer trainer(*program_, first_tensors(loss_, step_, seed), *data.training, settings, team_);
    try {
      while (!trainer.finished()) trainer.step();
    } catch (const NonFiniteStep& bad) {
      throw UserError(explain_non_finite(step_.graph, bad, trainer.tensors()));
    }
    const auto loss_on = [&](const BatchSource& source) {
      return evaluate_metrics(*evaluation_, trainer.tensors(), source, seed, team_).at("loss");
    };
    point_.training.push_back(loss_on(*data.training));
    point_.evaluation.push_back(loss_on(*data_));
    std::map<std::string, Tensor> parameters;
    for (const ParameterRow& row : parameter_table(model_))
      parameters.emplace(row.name, trainer.tensors().at(row.name));
    if (!runner_)
      runner_.emplace(model_, parameters, compile_options(options_.machine, options_.language),
                      options_.machine.threads);
    runner_->set_parameters(std::move(parameters));
    std::vector<double>& made = predictions_.emplace_back();
    for (const Batch& batch : batches_) {
      const Tensor out = runner_->run(batch.fields, batch.examples).at(model_.outputs()[0].name);
      for (std::int64_t i = 0; i < out.size(); ++i) made.push_back(out.get(i));
    }
  }

  void decompose() {
    std::size_t at = 0;
    const double runs = static_cast<double>(predictions_.size());
    double bias = 0, variance = 0;
    for (const Batch& batch : batches_) {
      const Tensor& target = batch.fields.at("target");
      for (std::int64_t i = 0; i < batch.examples; ++i, ++at) {
        double mean = 0, squares = 0;
        for (const std::vector<double>& run : predictions_) mean += run[at] / runs;
        for (const std::vector<double>& run : predictions_)
          squares += (run[at] - mean) * (run[at] - mean) / runs;
        bias += (mean - target.get(i)) * (mean - target.get(i));
        variance += squares;
      }
    }
    point_.bias_squared = bias / static_cast<double>(at);
    point_.variance = variance / static_cast<double>(at);
  }

  const SweepOptions& options_;
  Experiment experiment_;
  Team team_;
  TrainSpec train_, eval_;
  Graph loss_, model_;
  TrainingStep step_;
  std::unique_ptr<Program> program_, evaluation_;
  std::optional<ModelRunner> runner_;
  std::unique_ptr<BatchSource> data_;
  std::vector<Batch> batches_;
  std::vector<std::vector<double>> predictions_;  // of each run, on all examples
  SweepPoint point_;
};

}  // namespace

std::vector<SweepPoint> sweep(const SweepOptions& options,
                              const std::function<void(const SweepPoint&)>& done) {
  std::vector<SweepPoint> out;
  for (const std::int64_t value : options.values) {
    out.push_back(Size(options, value).run());
    done(out.back());
  }
  return out;
}

}  // namespace treadle
