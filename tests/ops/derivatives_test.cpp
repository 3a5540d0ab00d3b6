// Derivatives of every op: first and second order against differences, reverse
// against forward mode.
#include <cmath>

#include "passes/differentiate.h"
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr double tolerance = 1e-8;

bool has_gradient(const Case& c) {
  return op_def(c.op).vjp != nullptr && !float_inputs(c).empty() &&
         is_float(case_graph(c).output_type(0).dtype);
}

std::size_t operand_of(const std::string& input) {
  return static_cast<std::size_t>(std::stoul(input.substr(1)));
}

// The value of one output, as a function of one of the inputs.
double scalar_output(const Graph& graph, std::string_view name, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> results = evaluate(graph, inputs);
  for (std::size_t i = 0; i < results.size(); ++i)
    if (graph.outputs()[i].name == name) return results[i].get(0);
  FAIL("no output " << name);
  return 0;
}

// The gradients are the last outputs.
Tensor gradient_output(const Graph& graph, const std::string& name,
                       const std::vector<Tensor>& inputs) {
  std::vector<Tensor> results = evaluate(graph, inputs);
  for (std::size_t i = 0; i < results.size(); ++i)
    if (graph.outputs()[i].name == name) return results[i];
  FAIL("no output " << name);
  return {};
}

Tensor scaled(Tensor t, double factor) {
  for (std::int64_t i = 0; i < t.size(); ++i) t.set(i, t.get(i) * factor);
  return t;
}

// The check itself must notice a gradient that is 1 % off.
void check_gradient(const Graph& value, const Graph& graph, const std::string& output,
                    const std::string& input, std::vector<Tensor> inputs) {
  INFO("gradient by " << input);
  const std::size_t operand = operand_of(input);
  const Tensor found = gradient_output(graph, "grad:" + input, inputs);
  const Tensor expected = differences(inputs[operand], [&](const Tensor& x) {
    inputs[operand] = x;
    return scalar_output(value, output, inputs);
  });
  CHECK(relative_error(found, expected) < tolerance);
  if (largest(expected) > 1e-3)
    CHECK_FALSE(relative_error(scaled(found, 1.01), expected) < tolerance);
}

}  // namespace

TEST_CASE("gradients agree with differences") {
  for (const Case& c : all_cases()) {
    if (!has_gradient(c)) continue;
    INFO(c.name());
    const Graph value = loss_graph(c);
    const std::vector<std::string> wrt = float_inputs(c);
    const Graph graph = differentiate(value, {"loss", wrt, "grad:"});
    for (const std::string& input : wrt)
      check_gradient(value, graph, "loss", input, draw_operands(c, 3));
  }
}

TEST_CASE("second derivatives agree with differences of first ones") {
  for (const Case& c : all_cases()) {
    if (!has_gradient(c)) continue;
    INFO(c.name());
    const std::vector<std::string> wrt = float_inputs(c);
    const Graph slope = directional_slope(loss_graph(c), {"loss", wrt, "grad:"});
    const Graph graph = differentiate(slope, {"slope", wrt, "grad:"});
    std::vector<Tensor> inputs = draw_operands(c, 4);
    for (const std::string& input : wrt)
      inputs.push_back(weights(inputs[operand_of(input)].shape(), 50 + inputs.size()));
    REQUIRE(inputs.size() == slope.inputs().size());
    for (const std::string& input : wrt) check_gradient(slope, graph, "slope", input, inputs);
  }
}

TEST_CASE("forward mode is the transpose of reverse mode") {
  for (const Case& c : all_cases()) {
    const OpDef& def = op_def(c.op);
    if (!has_gradient(c)) continue;
    INFO(c.name());
    // One operand's tangent alone, and all at once.
    const std::size_t count = c.probe.operands.size();
    for (std::size_t alone = 0; alone <= count; ++alone) {
      Graph graph = case_graph(c);
      Builder b(graph);
      const Node node = graph.node(graph.outputs()[0].value.node);
      const std::vector<Value> outputs{graph.outputs()[0].value};
      const Type result = graph.output_type(0);
      const Tensor cotangent = weights(evaluate_shape(result, {}), 1);
      std::vector<Value> tangents(count);
      std::vector<Tensor> directions(count);
      std::vector<bool> needs(count, false);
      for (std::size_t i = 0; i < count; ++i) {
        if (!is_float_operand(c, i) || (alone < count && alone != i)) continue;
        directions[i] = weights(evaluate_shape(c.probe.operands[i].type, {}), 10 + i);
        tangents[i] = b.literal(directions[i]);
        needs[i] = true;
      }
      JvpContext forward{b, node, node.operands, outputs, tangents};
      const Value tangent = def.jvp(forward)[0];
      VjpContext reverse{b, node, node.operands, outputs, {b.literal(cotangent)}, needs};
      const std::vector<Value> gradients = def.vjp(reverse);
      if (tangent.valid()) b.output("tangent", tangent);
      for (std::size_t i = 0; i < count; ++i)
        if (needs[i] && gradients[i].valid()) b.output("g" + std::to_string(i), gradients[i]);
      const std::vector<Tensor> results = evaluate(graph, draw_operands(c, 5));
      double by_forward = 0, by_reverse = 0;
      for (std::size_t i = 1; i < results.size(); ++i) {
        const std::string& name = graph.outputs()[i].name;
        if (name == "tangent")
          by_forward = dot(cotangent, results[i]);
        else
          by_reverse += dot(directions[operand_of(name)], results[i]);
      }
      CHECK(by_forward == Approx(by_reverse).epsilon(1e-12).margin(1e-12));
    }
  }
}

TEST_CASE("a rule skips operands whose gradient nobody wants") {
  for (const Case& c : all_cases()) {
    const OpDef& def = op_def(c.op);
    if (!has_gradient(c) || c.probe.operands.size() < 2) continue;
    INFO(c.name());
    Graph graph = case_graph(c);
    Builder b(graph);
    const Node node = graph.node(graph.outputs()[0].value.node);
    const std::vector<Value> outputs{graph.outputs()[0].value};
    const Value dy = b.constant(graph.output_type(0), 1);
    const auto nodes_for = [&](std::vector<bool> needs) {
      const std::size_t before = graph.size();
      VjpContext context{b, node, node.operands, outputs, {dy}, std::move(needs)};
      def.vjp(context);
      return graph.size() - before;
    };
    std::vector<bool> all;
    for (std::size_t i = 0; i < node.operands.size(); ++i) all.push_back(is_float_operand(c, i));
    const std::size_t everything = nodes_for(all);
    const std::size_t nothing = nodes_for(std::vector<bool>(all.size(), false));
    CHECK((everything == 0 || nothing < everything));
  }
}
