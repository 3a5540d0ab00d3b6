#include "driver/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/differentiate.h"

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

GradcheckRow check_tensor(const Graph& value_graph, std::vector<Tensor>& inputs, std::size_t which,
                          const Tensor& analytic, const GradcheckOptions& options) {
  GradcheckRow row;
  const auto count = static_cast<std::size_t>(analytic.size());
  std::mt19937_64 engine(options.seed);
  const bool each = analytic.size() <= options.coordinates;
  const std::size_t trials = each ? count : static_cast<std::size_t>(options.directions);
  for (std::size_t trial = 0; trial < trials; ++trial) {
    std::vector<double> direction(count, 0.0);
    if (each)
      direction[trial] = 1;
    else
      for (double& d : direction)
        d = symmetric_uniform(engine) / std::sqrt(static_cast<double>(count));
    double expected = 0;
    for (std::size_t i = 0; i < count; ++i)
      expected += analytic.get(static_cast<std::int64_t>(i)) * direction[i];
    const double numeric = numeric_slope(value_graph, inputs, which, direction);
    const double error = std::abs(expected - numeric);
    row.error = std::isfinite(error) ? std::max(row.error, error) : HUGE_VAL;
    row.largest = std::max(row.largest, std::abs(numeric));
  }
  // Where the gradient itself is zero, what is left is the rounding of f.
  const double floor =
      1e-11 * std::max(1.0, std::abs(scalar_value(value_graph, inputs))) / step_size;
  row.passed = row.error <= std::max(options.tolerance * row.largest, floor);
  return row;
}

Graph only_output(Graph graph, const std::string& name) {
  const Value v = graph.output(name);
  if (!v.valid()) throw_user_error("T0502", "there is no output '" + name + "'");
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
  const std::vector<Tensor> results = run(gradient_graph, inputs);
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::size_t which = 0;
    while (graph.node(graph.inputs()[which]).attributes.string("name") != names[k]) ++which;
    GradcheckRow row = check_tensor(value_graph, inputs, which, results[k + 1], options);
    row.name = names[k];
    row.order = order;
    rows.push_back(std::move(row));
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
  if (!sum.valid()) throw_user_error("T0503", "the graph has no output of real numbers");
  out.set_outputs({{"loss", sum}});
  return out;
}

std::vector<GradcheckRow> gradcheck(const Graph& loss_graph, const std::vector<Tensor>& inputs,
                                    const GradcheckOptions& options) {
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
