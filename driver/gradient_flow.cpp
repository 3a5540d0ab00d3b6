#include "driver/gradient_flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "driver/compile.h"
#include "driver/model_runner.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "passes/watch_scans.h"
#include "runtime/random.h"
#include "runtime/team.h"

namespace treadle {
namespace {

using Tensors = std::map<std::string, Tensor>;
constexpr int power_iterations = 40;

// On inputs by name.
Tensors run_program(Program& program, const Tensors& inputs, Team& team) {
  std::vector<const Tensor*> given;
  for (const Slot& slot : program.inputs()) given.push_back(&inputs.at(slot.name));
  std::vector<Tensor> results = run(program, given, team);
  Tensors out;
  for (std::size_t i = 0; i < results.size(); ++i)
    out.emplace(program.outputs()[i].name, std::move(results[i]));
  return out;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

// A number for each step, of each example; a step counts the examples that have it.
using PerStep = std::vector<std::vector<double>>;

StepCurve curve_of(const PerStep& examples) {
  StepCurve out;
  for (std::size_t t = 0;; ++t) {
    std::vector<double> column;
    for (const std::vector<double>& steps : examples)
      if (t < steps.size()) column.push_back(steps[t]);
    if (column.empty()) return out;
    out.median.push_back(percentile(column, 0.5));
    out.low.push_back(percentile(column, 0.1));
    out.high.push_back(percentile(column, 0.9));
  }
}

// Appends [examples, steps].
void append(PerStep& to, const std::vector<double>& values, std::int64_t examples) {
  const auto steps = static_cast<std::ptrdiff_t>(values.size()) / examples;
  for (std::int64_t e = 0; e < examples; ++e)
    to.emplace_back(values.begin() + e * steps, values.begin() + (e + 1) * steps);
}

// Adds the squares of each of `rows` equal parts of a tensor.
void add_squares(const Tensor& tensor, std::vector<double>& rows) {
  const std::int64_t width = tensor.size() / static_cast<std::int64_t>(rows.size());
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    const double value = tensor.get(i);
    rows[static_cast<std::size_t>(i / width)] += value * value;
  }
}

std::vector<double> norms(const Tensors& tensors, const std::vector<std::string>& names,
                          std::int64_t rows) {
  std::vector<double> out(static_cast<std::size_t>(rows));
  for (const std::string& name : names) add_squares(tensors.at(name), out);
  for (double& value : out) value = std::sqrt(value);
  return out;
}

// [B, T, ...] or [T, ...] (the same for all examples) or, without steps,
// [B, ...], as one row for each example and step: [B T, ...].
Tensor a_row_each(const Tensor& tensor, bool has_examples, bool has_steps, std::int64_t examples,
                  std::int64_t steps) {
  const std::size_t leading = (has_examples ? 1 : 0) + (has_steps ? 1 : 0);
  Shape shape(tensor.shape().begin() + static_cast<std::ptrdiff_t>(leading), tensor.shape().end());
  const std::int64_t width = element_count(shape);
  shape.insert(shape.begin(), examples * steps);
  Tensor out(tensor.dtype(), shape);
  const std::size_t bytes = static_cast<std::size_t>(width) * size_of(tensor.dtype());
  for (std::int64_t e = 0; e < examples; ++e)
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t from =
          (has_examples ? e : 0) * (has_steps ? steps : 1) + (has_steps ? t : 0);
      std::memcpy(out.data() + static_cast<std::size_t>(e * steps + t) * bytes,
                  tensor.data() + static_cast<std::size_t>(from) * bytes, bytes);
    }
  return out;
}

// Example k of a batch of different lengths, as a batch of its own.
Batch alone(const Graph& loss, const Batch& batch, std::size_t k) {
  Batch out;
  out.examples = 1;
  for (const auto& [name, field] : batch.fields) {
    const Dims& dims = loss.type(loss.input(name)).dims;
    const auto symbol = dims.empty() ? std::nullopt : dims[0].bare_symbol();
    std::vector<std::int64_t> rows{static_cast<std::int64_t>(k)};
    Shape shape = field.shape();
    shape[0] = 1;
    if (symbol && batch.lengths.contains(*symbol)) {
      const RaggedLayout layout(batch.lengths.at(*symbol));
      const auto& order = layout.order();
      const auto rank = std::find(order.begin(), order.end(), rows[0]) - order.begin();
      rows.clear();
      for (std::int64_t t = 0; t < layout.lengths()[k]; ++t)
        rows.push_back(layout.position(t, rank));
      shape[0] = static_cast<std::int64_t>(rows.size());
      shape.insert(shape.begin(), 1);
    }
    Tensor own(field.dtype(), std::move(shape));
    const std::size_t bytes = rows.empty() ? 0 : own.bytes() / rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::memcpy(own.data() + i * bytes, field.data() + static_cast<std::size_t>(rows[i]) * bytes,
                  bytes);
    out.fields.emplace(name, std::move(own));
  }
  return out;
}

// A loss whose loops are watched, differentiated by the states and parameters.
class Flow {
 public:
  Flow(const Graph& loss, const Tensors& parameters, const GradientFlowOptions& options)
      : options_(options), watched_(watch_scans(loss)), team_(options.machine.threads) {
    if (watched_.scans.empty())
      throw_user_error("T0874", "no scan with a state in the loss: there is no time to look along",
                       "treadle diagnose looks at models that scan a cell over a sequence");
    if (options.truncation) watched_.graph = truncate_bptt(watched_.graph, *options.truncation);
    batched_ = batched_loss(watched_.graph);
    DifferentiateOptions wanted;
    for (const auto& [name, tensor] : parameters) {
      if (!is_float(tensor.dtype())) continue;
      parameters_.push_back(name);
      wanted.wrt.push_back(name);
    }
    for (const WatchedScan& scan : watched_.scans)
      wanted.wrt.insert(wanted.wrt.end(), scan.probes.begin(), scan.probes.end());
    gradients_ = differentiate(batched_, wanted);
    program_ = compiled(gradients_);
    scans_.resize(watched_.scans.size());
  }

  // Examples of one length.
  void add(const Tensors& parameters, const Batch& batch) {
    examples_ = batch.examples;
    run_gradients(parameters, batch);
    const auto share = static_cast<double>(examples_);
    all_examples_ += examples_;
    loss_ += results_.at("loss").get(0) * share;
    for (const std::string& name : parameters_) {
      const Tensor& gradient = results_.at("grad:" + name);
      std::vector<double>& sum = sums_[name];
      sum.resize(static_cast<std::size_t>(gradient.size()));
      for (std::int64_t i = 0; i < gradient.size(); ++i)
        sum[static_cast<std::size_t>(i)] += gradient.get(i) * share;
    }
    for (std::size_t i = 0; i < scans_.size(); ++i) add(watched_.scans[i], scans_[i]);
  }

  GradientFlow result() const {
    GradientFlow out;
    const auto examples = static_cast<double>(all_examples_);
    out.loss = loss_ / examples;
    double squares = 0;
    for (const auto& [name, sum] : sums_)
      for (const double value : sum) squares += value * value;
    out.parameter_norm = std::sqrt(squares) / examples;
    for (std::size_t i = 0; i < scans_.size(); ++i)
      out.scans.push_back(flow_of(watched_.scans[i], scans_[i]));
    return out;
  }

 private:
  // What is known of a scan.
  struct Found {
    PerStep gradient, gain;
    Graph jacobian;
    std::unique_ptr<Program> program;  // of `jacobian`
  };

  std::unique_ptr<Program> compiled(const Graph& graph) const {
    return compile(graph, {}, cached(options_.machine.backend));
  }

  void run_gradients(const Tensors& parameters, const Batch& batch) {
    Tensors inputs = parameters;
    for (const auto& [name, field] : batch.fields) inputs.emplace(name, field);
    // The data says how long the sequences are.
    std::vector<Slot> known;
    std::vector<const Tensor*> tensors;
    for (const Slot& slot : input_slots(gradients_)) {
      const auto found = inputs.find(slot.name);
      if (found == inputs.end()) continue;
      known.push_back(slot);
      tensors.push_back(&found->second);
    }
    DimEnv env = bind_dims(known, tensors);
    env["B"] = examples_;
    add_state_and_seeds(gradients_, inputs, env,
                        options_.seed + static_cast<std::uint64_t>(all_examples_));
    results_ = run_program(*program_, inputs, team_);
  }

  bool differs_between_examples(const std::string& output) const {
    const Type& type = batched_.type(batched_.output(output));
    return type.rank() > 0 && type.dims[0].mentions("B");
  }

  void add(const WatchedScan& scan, Found& found) {
    const std::int64_t steps = results_.at("grad:" + scan.probes[0]).shape()[1];
    if (steps == 0) return;
    std::vector<std::string> names;
    for (const std::string& probe : scan.probes) names.push_back("grad:" + probe);
    std::vector<double> gradient = norms(results_, names, examples_ * steps);
    // The mean's gradient by one example's state is a share of its own loss's.
    for (double& value : gradient) value *= static_cast<double>(examples_);
    append(found.gradient, gradient, examples_);
    if (options_.gain && has_step_jacobian(scan))
      append(found.gain, gains(scan, steps, found), examples_);
  }

  static ScanFlow flow_of(const WatchedScan& scan, const Found& found) {
    ScanFlow out;
    if (scan.location) {
      const LineColumn place = line_column(*scan.location.file, scan.location.begin);
      out.source = fmt::format("{}: {}", place.line,
                               scan.location.file->text.substr(
                                   scan.location.begin, scan.location.end - scan.location.begin));
    } else {
      out.source = scan.symbol_prefix;
    }
    out.reverse = scan.reverse;
    out.gradient = curve_of(found.gradient);
    out.gain = curve_of(found.gain);
    return out;
  }

  std::vector<double> gains(const WatchedScan& scan, std::int64_t steps, Found& found) {
    std::vector<bool> shared;
    Tensors inputs;
    for (std::size_t i = 0; i < scan.constants.size(); ++i) {
      const std::string& name = scan.constants[i];
      shared.push_back(!differs_between_examples(name));
      const Tensor& value = results_.at(name);
      inputs.emplace(fmt::format("constant.{}", i),
                     shared.back() ? value : a_row_each(value, true, false, examples_, steps));
    }
    const auto add_rows = [&](std::string_view what, const std::vector<std::string>& names) {
      for (std::size_t i = 0; i < names.size(); ++i)
        inputs.emplace(fmt::format("{}.{}", what, i),
                       a_row_each(results_.at(names[i]), differs_between_examples(names[i]), true,
                                  examples_, steps));
    };
    add_rows("carry", scan.carries);
    add_rows("row", scan.rows);
    const std::int64_t rows = examples_ * steps;
    std::vector<std::string> directions, forward, back;
    const RandomStream random(0, "directions");
    for (std::size_t i = 0; i < scan.carries.size(); ++i) {
      const Tensor& carry = inputs.at(fmt::format("carry.{}", i));
      if (!is_float(carry.dtype())) continue;
      directions.push_back(fmt::format("direction.{}", i));
      forward.push_back(fmt::format("forward.{}", i));
      back.push_back(fmt::format("back.{}", i));
      Tensor first(carry.dtype(), carry.shape());
      for (std::int64_t k = 0; k < first.size(); ++k)
        first.set(k, random.normal_at(mix(i, static_cast<std::uint64_t>(k))));
      inputs.emplace(directions.back(), std::move(first));
    }
    if (!found.program) {
      found.jacobian = batch(step_jacobian(scan, shared));
      found.program = compiled(found.jacobian);
    }
    std::vector<double> out;
    for (int round = 0; round < power_iterations; ++round) {
      normalise(inputs, directions, rows);
      Tensors results = run_program(*found.program, inputs, team_);
      out = norms(results, forward, rows);
      for (std::size_t i = 0; i < directions.size(); ++i)
        inputs.at(directions[i]) = std::move(results.at(back[i]));
    }
    return out;
  }

  // Each row of all tensors together to length 1; what is 0 stays.
  static void normalise(Tensors& tensors, const std::vector<std::string>& names,
                        std::int64_t rows) {
    const std::vector<double> length = norms(tensors, names, rows);
    for (const std::string& name : names) {
      Tensor& tensor = tensors.at(name);
      const std::int64_t width = tensor.size() / rows;
      for (std::int64_t i = 0; i < tensor.size(); ++i)
        if (const double by = length[static_cast<std::size_t>(i / width)]; by > 0)
          tensor.set(i, tensor.get(i) / by);
    }
  }

  const GradientFlowOptions& options_;
  WatchedGraph watched_;
  Graph batched_, gradients_;
  std::unique_ptr<Program> program_;  // of `gradients_`
  Team team_;
  std::vector<std::string> parameters_;
  // Of the examples that are being added:
  std::int64_t examples_ = 0;
  Tensors results_;
  // Of all:
  std::int64_t all_examples_ = 0;
  double loss_ = 0;
  std::map<std::string, std::vector<double>> sums_;  // of gradients by parameters
  std::vector<Found> scans_;
};

}  // namespace

GradientFlow gradient_flow(const Graph& loss, const std::map<std::string, Tensor>& parameters,
                           const Batch& batch, const GradientFlowOptions& options) {
  Flow flow(loss, parameters, options);
  if (batch.lengths.empty()) flow.add(parameters, batch);
  for (std::int64_t k = 0; !batch.lengths.empty() && k < batch.examples; ++k)
    flow.add(parameters, alone(loss, batch, static_cast<std::size_t>(k)));
  return flow.result();
}

}  // namespace treadle
