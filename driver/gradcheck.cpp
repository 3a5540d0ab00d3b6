#include "driver/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "driver/compile.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/expand_derivatives.h"
#include "passes/pass_manager.h"
#include "runtime/team.h"

namespace treadle {
namespace {

constexpr double step_size = 1e-3;

std::vector<Tensor> run(const Graph& graph, const std::vector<Tensor>& inputs) {
  return evaluate(graph, inputs);
}

double scalar_value(const Graph& graph, const std::vector<Tensor>& inputs) {
  return run(graph, inputs)[0].get(0);
}

// d/de f(x + e * direction) at 0.
double numeric_slope(const Graph& graph, std::vector<Tensor>& inputs, std::size_t which,
                     const std::vector<double>& direction) {
  const Tensor center = inputs[which];
  const auto at = [&](double e) {
    for (std::int64_t i = 0; i < center.size(); ++i)
      inputs[which].set(i, center.get(i) + e * direction[static_cast<std::size_t>(i)]);
    return scalar_value(graph, inputs);
  };
  const double near = at(step_size) - at(-step_size);
  const double far = at(2 * step_size) - at(-2 * step_size);
  inputs[which] = center;
  return (8 * near - far) / (12 * step_size);
}

// Rows of the analytic gradients, in their order.
std::vector<GradcheckRow> check_tensor(const Graph& value_graph, std::vector<Tensor>& inputs,
                                       std::size_t which,
                                       const std::vector<const Tensor*>& analytic,
                                       const GradcheckOptions& options) {
  std::vector<GradcheckRow> rows(analytic.size());
  const auto count = static_cast<std::size_t>(inputs[which].size());
  std::mt19937_64 engine(options.seed);
  const bool each = inputs[which].size() <= options.coordinates;
  const std::size_t trials = each ? count : static_cast<std::size_t>(options.directions);
  for (std::size_t trial = 0; trial < trials; ++trial) {
    std::vector<double> direction(count, 0.0);
    if (each)
      direction[trial] = 1;
    else
      for (double& d : direction)
        d = symmetric_uniform(engine) / std::sqrt(static_cast<double>(count));
    const double numeric = numeric_slope(value_graph, inputs, which, direction);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      double expected = 0;
      for (std::size_t i = 0; i < count; ++i)
        expected += analytic[k]->get(static_cast<std::int64_t>(i)) * direction[i];
      const double error = std::abs(expected - numeric);
      rows[k].error = std::isfinite(error) ? std::max(rows[k].error, error) : HUGE_VAL;
      rows[k].largest = std::max(rows[k].largest, std::abs(numeric));
    }
  }
  // Where the gradient itself is zero, what is left is the rounding of f.
  const double floor =
      1e-11 * std::max(1.0, std::abs(scalar_value(value_graph, inputs))) / step_size;
  for (GradcheckRow& row : rows)
    row.passed = row.error <= std::max(options.tolerance * row.largest, floor);
  return rows;
}

// What a gradient's graph gives at one point of the pipeline: the value, then
// the gradients.
struct Stage {
  std::string after;
  std::vector<Tensor> results;
};

// A batch of one: data inputs get a leading dimension, gradients are sums.
Graph batch_of_one(const Graph& value_graph, const std::string& output) {
  Graph out = batch(value_graph);
  Builder b(out);
  const Value v = out.output(output);
  // What depends on no data has no batch dimension.
  out.set_outputs({{output, b.type(v).rank() == 0 ? v : b.reduce_sum(v, {0})}});
  return out;
}

std::vector<Tensor> with_leading_one(const Graph& batched, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Shape shape = inputs[i].shape();
    if (batched.type(batched.input_value(i)).rank() > shape.size()) shape.insert(shape.begin(), 1);
    out.push_back(inputs[i].reshaped(shape));
  }
  return out;
}

std::vector<Stage> later_stages(const Graph& value_graph, const std::string& output,
                                const std::vector<std::string>& names,
                                const std::vector<Tensor>& inputs) {
  const Graph gradient = differentiate(batch_of_one(value_graph, output), {output, names, "grad:"});
  Graph graph = gradient;
  const std::vector<Tensor> batched = with_leading_one(graph, inputs);
  std::vector<Stage> out{{"batch", run(graph, batched)}};
  out.push_back({"unroll(3)", run(run_pipeline(graph, parse_pipeline("unroll(3)")), batched)});
  for (const PassCall& call : parse_pipeline(training_pipeline)) {
    graph = run_pipeline(graph, {&call, 1}, {}, {backend_models()});
    out.push_back({std::string(call.pass->name), run(graph, batched)});
  }
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : batched) pointers.push_back(&tensor);
  Team team(1);
  const auto program = compile(gradient, {}, cached());
  out.push_back({"compiling", treadle::run(*program, pointers, team)});
  return out;
}

Graph only_output(Graph graph, const std::string& name) {
  const Value v = graph.output(name);
  if (!v.valid()) throw_user_error("T0812", "there is no output '" + name + "'");
  graph.set_outputs({{name, v}});
  return graph;
}

std::vector<std::string> differentiable_inputs(const Graph& graph) {
  std::vector<std::string> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    const std::string name = node.attributes.string("name");
    if (is_float(node.types[0].dtype) && !name.starts_with("direction:")) out.push_back(name);
  }
  return out;
}

void check_order(const Graph& graph, const std::string& output, std::vector<Tensor>& inputs,
                 int order, const GradcheckOptions& options, std::vector<GradcheckRow>& rows) {
  const Graph value_graph = only_output(graph, output);
  const std::vector<std::string> names = differentiable_inputs(graph);
  const Graph gradient_graph = differentiate(value_graph, {output, names, "grad:"});
  std::vector<Stage> stages{{"", run(gradient_graph, inputs)}};
  if (options.after_each_pass)
    for (Stage& stage : later_stages(value_graph, output, names, inputs))
      stages.push_back(std::move(stage));
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::size_t which = 0;
    while (graph.node(graph.inputs()[which]).attributes.string("name") != names[k]) ++which;
    std::vector<const Tensor*> analytic;
    for (const Stage& stage : stages) analytic.push_back(&stage.results[k + 1]);
    std::vector<GradcheckRow> checked = check_tensor(value_graph, inputs, which, analytic, options);
    for (std::size_t i = 0; i < stages.size(); ++i) {
      checked[i].name = names[k];
      checked[i].order = order;
      checked[i].after = stages[i].after;
      rows.push_back(std::move(checked[i]));
    }
  }
}

}  // namespace

Graph asymmetric_loss(const Graph& graph) {
  Graph out = graph;
  Builder b(out);
  Value sum;
  double shift = 0.2;
  for (const Output& output : graph.outputs()) {
    const Type type = b.type(output.value);
    if (!is_float(type.dtype)) continue;
    Value flat = b.reshape(output.value, {type.count()});
    const Value index = b.iota({type.count()}, 0, type.dtype);
    const Value weight = b.shift(b.cos(b.shift(b.scale(index, 0.731), shift)), 1.1);
    Value term = b.cast(b.reduce_sum(b.mul(flat, weight), {0}), DType::f64);
    sum = sum.valid() ? b.add(sum, term) : term;
    shift += 0.57;
  }
  if (!sum.valid()) throw_user_error("T0813", "the graph has no output of real numbers");
  out.set_outputs({{"loss", sum}});
  return out;
}

std::vector<GradcheckRow> gradcheck(const Graph& graph, const std::vector<Tensor>& inputs,
                                    const GradcheckOptions& options) {
  const Graph loss_graph = expand_derivatives(graph);
  std::vector<Tensor> work = inputs;
  std::vector<GradcheckRow> rows;
  check_order(loss_graph, "loss", work, 1, options, rows);
  if (options.order < 2) return rows;
  const std::vector<std::string> names = differentiable_inputs(loss_graph);
  const Graph slope = directional_slope(only_output(loss_graph, "loss"), {"loss", names, ""});
  std::mt19937_64 engine(options.seed + 1);
  for (const NodeId id : slope.inputs()) {
    const std::string name = slope.node(id).attributes.string("name");
    if (!name.starts_with("direction:")) continue;
    std::size_t which = 0;
    while (loss_graph.node(loss_graph.inputs()[which]).attributes.string("name") != name.substr(10))
      ++which;
    Tensor direction(inputs[which].dtype(), inputs[which].shape());
    for (std::int64_t i = 0; i < direction.size(); ++i) direction.set(i, symmetric_uniform(engine));
    work.push_back(std::move(direction));
  }
  check_order(slope, "slope", work, 2, options, rows);
  return rows;
}

}  // namespace treadle
