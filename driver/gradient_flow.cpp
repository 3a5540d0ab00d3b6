#include "driver/gradient_flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

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

// Runs a graph on inputs by name.
Tensors run_graph(const Graph& graph, const Tensors& inputs, const MachineOptions& machine,
                  Team& team, Program* program) {
  std::unique_ptr<Program> own;
  if (program == nullptr) {
    own = compile(graph, {}, {machine.backend, {}, {}});
    program = own.get();
  }
  std::vector<const Tensor*> given;
  for (const Slot& slot : program->inputs()) given.push_back(&inputs.at(slot.name));
  std::vector<Tensor> results = run(*program, given, team);
  Tensors out;
  for (std::size_t i = 0; i < results.size(); ++i)
    out.emplace(program->outputs()[i].name, std::move(results[i]));
  return out;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

// From one number for each example and step, [examples, steps].
StepCurve curve_of(const std::vector<double>& values, std::int64_t examples, std::int64_t steps) {
  StepCurve out;
  for (std::int64_t t = 0; t < steps; ++t) {
    std::vector<double> column;
    for (std::int64_t e = 0; e < examples; ++e)
      column.push_back(values[static_cast<std::size_t>(e * steps + t)]);
    out.median.push_back(percentile(column, 0.5));
    out.low.push_back(percentile(column, 0.1));
    out.high.push_back(percentile(column, 0.9));
  }
  return out;
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

// A loss whose loops are watched, differentiated by the states and parameters.
class Flow {
 public:
  Flow(const Graph& loss, const Tensors& parameters, const Batch& batch,
       const GradientFlowOptions& options)
      : options_(options), watched_(watch_scans(loss)), team_(options.machine.threads) {
    if (watched_.scans.empty())
      throw_user_error("T0874", "no scan with a state in the loss: there is no time to look along",
                       "treadle diagnose looks at models that scan a cell over a sequence");
    if (options.truncation) watched_.graph = truncate_bptt(watched_.graph, *options.truncation);
    batched_ = batched_loss(watched_.graph);
    examples_ = batch.examples;
    run_gradients(parameters, batch);
  }

  GradientFlow result() {
    GradientFlow out;
    out.loss = results_.at("loss").get(0);
    double squares = 0;
    for (const std::string& name : parameters_) {
      std::vector<double> sum(1);
      add_squares(results_.at("grad:" + name), sum);
      squares += sum[0];
    }
    out.parameter_norm = std::sqrt(squares);
    for (const WatchedScan& scan : watched_.scans) out.scans.push_back(flow_of(scan));
    return out;
  }

 private:
  void run_gradients(const Tensors& parameters, const Batch& batch) {
    DifferentiateOptions wanted;
    for (const auto& [name, tensor] : parameters) {
      if (!is_float(tensor.dtype())) continue;
      parameters_.push_back(name);
      wanted.wrt.push_back(name);
    }
    for (const WatchedScan& scan : watched_.scans)
      wanted.wrt.insert(wanted.wrt.end(), scan.probes.begin(), scan.probes.end());
    const Graph graph = differentiate(batched_, wanted);
    Tensors inputs = parameters;
    for (const auto& [name, field] : batch.fields) inputs.emplace(name, field);
    // The data says how long the sequences are.
    std::vector<Slot> known;
    std::vector<const Tensor*> tensors;
    for (const Slot& slot : input_slots(graph)) {
      const auto found = inputs.find(slot.name);
      if (found == inputs.end()) continue;
      known.push_back(slot);
      tensors.push_back(&found->second);
    }
    DimEnv env = bind_dims(known, tensors);
    env["B"] = examples_;
    add_state_and_seeds(graph, inputs, env, options_.seed);
    results_ = run_graph(graph, inputs, options_.machine, team_, nullptr);
  }

  bool differs_between_examples(const std::string& output) const {
    const Type& type = batched_.type(batched_.output(output));
    return type.rank() > 0 && type.dims[0].mentions("B");
  }

  ScanFlow flow_of(const WatchedScan& scan) {
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
    const std::int64_t steps = results_.at("grad:" + scan.probes[0]).shape()[1];
    std::vector<std::string> names;
    for (const std::string& probe : scan.probes) names.push_back("grad:" + probe);
    std::vector<double> gradient = norms(results_, names, examples_ * steps);
    // The mean's gradient by one example's state is a share of its own loss's.
    for (double& value : gradient) value *= static_cast<double>(examples_);
    out.gradient = curve_of(gradient, examples_, steps);
    if (options_.gain && has_step_jacobian(scan))
      out.gain = curve_of(gains(scan, steps), examples_, steps);
    return out;
  }

  std::vector<double> gains(const WatchedScan& scan, std::int64_t steps) {
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
    const Graph graph = batch(step_jacobian(scan, shared));
    const auto program = compile(graph, {}, {options_.machine.backend, {}, {}});
    std::vector<double> out;
    for (int round = 0; round < power_iterations; ++round) {
      normalise(inputs, directions, rows);
      Tensors results = run_graph(graph, inputs, options_.machine, team_, program.get());
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
  Graph batched_;
  Team team_;
  std::int64_t examples_ = 0;
  std::vector<std::string> parameters_;
  Tensors results_;
};

}  // namespace

GradientFlow gradient_flow(const Graph& loss, const std::map<std::string, Tensor>& parameters,
                           const Batch& batch, const GradientFlowOptions& options) {
  return Flow(loss, parameters, batch, options).result();
}

}  // namespace treadle
