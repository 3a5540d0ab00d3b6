#include "runtime/trainer.h"

#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

// The input of per-example indices, for random draws.
constexpr std::string_view example_input = "random.example";

// The sum of a batch's weights, where its mean has weights.
const std::string weight_metric = "loss.weight";

Tensor example_indices(const Batch& batch) {
  Tensor out(DType::i64, {batch.examples});
  for (std::int64_t i = 0; i < batch.examples; ++i)
    out.set_integer(i, batch.indices[static_cast<std::size_t>(i)]);
  return out;
}

Tensor scalar_input(const Type& type, double value) {
  Tensor out(type.dtype, {});
  if (is_float(type.dtype))
    out.set(0, value);
  else
    out.set_integer(0, static_cast<std::int64_t>(value));
  return out;
}

std::vector<std::string> carried_inputs(const Program& program) {
  std::vector<std::string> out;
  for (const Slot& slot : program.outputs()) {
    if (slot.updates_input < 0) continue;
    const Slot& input = program.inputs()[static_cast<std::size_t>(slot.updates_input)];
    if (!input.type.dims.empty() && input.type.dims[0].mentions("B")) out.push_back(input.name);
  }
  return out;
}

// Taken out of `tensors`: inputs that the program does not write.
FixedValues unchanged_inputs(const Program& program, std::map<std::string, Tensor>& tensors) {
  std::set<std::string> written;
  for (const Slot& slot : program.outputs())
    if (slot.updates_input >= 0)
      written.insert(program.inputs()[static_cast<std::size_t>(slot.updates_input)].name);
  auto out = std::make_shared<std::map<std::string, Tensor>>();
  for (const Slot& slot : program.inputs())
    if (!written.contains(slot.name)) out->insert(tensors.extract(slot.name));
  return out;
}

}  // namespace

Metrics StepRunner::run(const Batch& batch, std::map<std::string, Tensor>& tensors,
                        const std::map<std::string, double>& scalars) {
  std::vector<Tensor> made;
  made.reserve(program_.inputs().size() + 1);
  std::vector<const Tensor*> inputs;
  for (std::size_t i = 0; i < program_.inputs().size(); ++i) {
    const Slot& slot = program_.inputs()[i];
    if (const auto field = batch.fields.find(slot.name); field != batch.fields.end()) {
      inputs.push_back(&field->second);
    } else if (const auto scalar = scalars.find(slot.name); scalar != scalars.end()) {
      inputs.push_back(&made.emplace_back(scalar_input(slot.type, scalar->second)));
    } else if (slot.name == example_input) {
      inputs.push_back(&made.emplace_back(example_indices(batch)));
    } else if (auto index = ragged_input(slot.name, batch.lengths)) {
      inputs.push_back(&made.emplace_back(std::move(*index)));
    } else if (const Tensor* fixed = program_.fixed(i); fixed != nullptr) {
      inputs.push_back(fixed);
    } else if (const auto held = tensors.find(slot.name); held != tensors.end()) {
      inputs.push_back(&held->second);
    } else {
      DimEnv env{{"B", batch.examples}};
      inputs.push_back(
          &tensors.emplace(slot.name, Tensor(slot.type.dtype, evaluate_shape(slot.type, env)))
               .first->second);
    }
  }
  const DimEnv env = bind_dims(program_.inputs(), inputs);
  std::vector<const std::byte*> in;
  for (const Tensor* tensor : inputs) in.push_back(tensor->data());
  std::vector<Tensor> results;
  results.reserve(program_.outputs().size());
  std::vector<std::byte*> out;
  for (const Slot& slot : program_.outputs()) {
    if (slot.updates_input >= 0) {
      const std::string& name =
          program_.inputs()[static_cast<std::size_t>(slot.updates_input)].name;
      out.push_back(tensors.at(name).data());
      results.emplace_back();
      continue;
    }
    results.emplace_back(slot.type.dtype, evaluate_shape(slot.type, env));
    out.push_back(results.back().data());
  }
  program_.run(env, in, out, team_);
  Metrics metrics;
  for (std::size_t i = 0; i < results.size(); ++i)
    if (program_.outputs()[i].updates_input < 0 && results[i].size() == 1)
      metrics[program_.outputs()[i].name] = results[i].get(0);
  return metrics;
}

Trainer::Trainer(Program& step, std::map<std::string, Tensor> tensors, const BatchSource& data,
                 const TrainerOptions& options, Team& team)
    : runner_(step, team),
      tensors_(std::move(tensors)),
      data_(data),
      options_(options),
      carried_(carried_inputs(step)) {}

void Trainer::resume(TrainerPosition position, std::map<std::string, Tensor> tensors) {
  position_ = position;
  tensors_ = std::move(tensors);
}

std::int64_t Trainer::total_steps() const {
  const std::int64_t all = data_.batches() * options_.epochs;
  return options_.steps > 0 ? std::min(options_.steps, all) : all;
}

std::int64_t Trainer::batches_of_epoch() const {
  return std::min(data_.batches(), total_steps() - position_.step + position_.batch);
}

StepResult Trainer::step() {
  ensure(!finished(), "trainer", "a step after the last");
  const Batch batch = data_.batch(position_.epoch, position_.batch);
  if (batch.starts_sequence)
    for (const std::string& name : carried_) tensors_.erase(name);
  StepResult out;
  out.position = position_;
  out.learning_rate = learning_rate(options_.schedule, position_.step, total_steps());
  const std::map<std::string, double> scalars{{"learning_rate", out.learning_rate},
                                              {"step", static_cast<double>(position_.step + 1)},
                                              {"random.seed", static_cast<double>(options_.seed)},
                                              {"random.step", static_cast<double>(position_.step)}};
  const Metrics metrics = runner_.run(batch, tensors_, scalars);
  out.loss = metrics.at("loss");
  out.gradient_norm = metrics.at("grad_norm");
  if (!std::isfinite(out.loss) || !std::isfinite(out.gradient_norm))
    throw NonFiniteStep{position_, batch, scalars};
  ++position_.step;
  if (++position_.batch == data_.batches()) {
    position_.batch = 0;
    ++position_.epoch;
  }
  return out;
}

Metrics evaluate_metrics(Program& evaluation, const std::map<std::string, Tensor>& parameters,
                         const BatchSource& data, std::uint64_t seed, Team& team) {
  StepRunner runner(evaluation, team);
  std::map<std::string, Tensor> tensors = parameters;
  for (const std::string& name : carried_inputs(evaluation)) tensors.erase(name);
  evaluation.fix(unchanged_inputs(evaluation, tensors));
  const std::map<std::string, double> scalars{{"random.seed", static_cast<double>(seed)},
                                              {"random.step", 0.0}};
  Metrics sums;
  double total = 0;
  for (std::int64_t i = 0; i < data.batches(); ++i) {
    const Batch batch = data.batch(0, i);
    Metrics metrics = runner.run(batch, tensors, scalars);
    auto weight = static_cast<double>(batch.examples);
    if (const auto own = metrics.find(weight_metric); own != metrics.end()) {
      weight = own->second;
      metrics.erase(own);
    }
    for (const auto& [name, value] : metrics) sums[name] += value * weight;
    total += weight;
  }
  evaluation.fix(nullptr);
  if (total > 0)
    for (auto& [name, value] : sums) value /= total;
  return sums;
}

}  // namespace treadle
