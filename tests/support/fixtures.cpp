#include "tests/support/fixtures.h"

#include "driver/compile.h"
#include "ir/builder.h"
#include "ir/eval/evaluate.h"
#include "passes/differentiate.h"
#include "runtime/safetensors.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

namespace treadle::test {

Graph with_gradients(Graph graph) {
  Builder b(graph);
  std::vector<Output> outputs = graph.outputs();
  std::vector<std::string> wrt;
  for (const NodeId id : graph.inputs())
    if (is_float(graph.node(id).types[0].dtype))
      wrt.push_back(graph.node(id).attributes.string("name"));
  Value loss;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Type type = b.type(outputs[i].value);
    const Value weight = b.input("weight" + std::to_string(i), type);
    Integers axes;
    for (std::size_t axis = 0; axis < type.rank(); ++axis)
      axes.push_back(static_cast<std::int64_t>(axis));
    const Value term = b.reduce_sum(b.mul(weight, outputs[i].value), axes);
    loss = loss.valid() ? b.add(loss, term) : term;
  }
  graph.add_output("loss", loss);
  DifferentiateOptions options;
  options.wrt = wrt;
  return differentiate(graph, options);
}

Fixtures read_fixtures(const std::string& file) {
  const NamedTensors read =
      read_safetensors(std::string(TREADLE_SOURCE_DIR) + "/tests/golden/" + file);
  return {read.tensors.begin(), read.tensors.end()};
}

std::set<std::string> require_fixtures(const Graph& graph, const std::string& prefix,
                                       const Fixtures& fixtures, double tolerance, bool compiles) {
  const Graph whole = with_gradients(graph);
  std::vector<Tensor> inputs;
  for (const NodeId id : whole.inputs()) {
    const std::string name = prefix + whole.node(id).attributes.string("name");
    INFO(name);
    REQUIRE(fixtures.contains(name));
    inputs.push_back(fixtures.at(name).cast(whole.node(id).types[0].dtype));
  }
  Team team(2);
  const std::vector<Tensor> reference = evaluate(whole, inputs);
  const std::vector<Tensor> compiled =
      compiles ? run_with(*compile(whole, {}), inputs, team) : std::vector<Tensor>();
  std::set<std::string> compared;
  for (std::size_t i = 0; i < whole.outputs().size(); ++i) {
    const std::string name = prefix + whole.outputs()[i].name;
    if (!fixtures.contains(name)) continue;
    compared.insert(name);
    const Tensor expected = fixtures.at(name).cast(reference[i].dtype());
    std::string why;
    const bool same = close(reference[i], expected, tolerance, &why);
    INFO(name << " evaluated: " << why);
    CHECK(same);
    if (!compiles) continue;
    const bool same_compiled = close(compiled[i], expected, tolerance, &why);
    INFO(name << " compiled: " << why);
    CHECK(same_compiled);
  }
  return compared;
}

}  // namespace treadle::test
