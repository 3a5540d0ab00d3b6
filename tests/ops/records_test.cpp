// Every record is complete, and its parts agree with one another.
#include <set>

#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("every name leads to its record") {
  for (const Op op : all_ops()) {
    CHECK(op_def(op).op == op);
    CHECK(op_from_name(to_string(op)) == op);
  }
  CHECK_FALSE(op_from_name("no_such_op").has_value());
}

TEST_CASE("every record is complete") {
  for (const Op op : all_ops()) {
    const OpDef& def = op_def(op);
    INFO(def.name);
    CHECK_FALSE(def.doc.empty());
    CHECK(def.infer != nullptr);
    if (def.family == Family::control || def.family == Family::fused) continue;
    CHECK((def.scalar != nullptr) != (def.evaluate != nullptr));
    CHECK((def.vjp == nullptr) == (def.jvp == nullptr));
    CHECK((def.vjp == nullptr) != def.no_derivative.empty());
    CHECK((def.operands == 0) == (def.batch == nullptr));
    CHECK(def.flops != nullptr);
    REQUIRE(def.probes != nullptr);
    CHECK_FALSE(def.probes().empty());
  }
}

TEST_CASE("the probes give each attribute of the record, of its kind, and no other") {
  for (const Case& c : all_cases()) {
    INFO(c.name());
    std::set<std::string> known;
    for (const AttributeSpec& spec : op_def(c.op).attributes) {
      known.insert(std::string(spec.name));
      const Attribute* found = c.probe.attributes.find(spec.name);
      if (found == nullptr) {
        CHECK_FALSE(spec.required);
        continue;
      }
      CHECK(found->index() == static_cast<std::size_t>(spec.kind));
    }
    for (const auto& [name, value] : c.probe.attributes) CHECK(known.contains(name));
  }
}

TEST_CASE("evaluation gives the types that inference says") {
  for (const Case& c : all_cases()) {
    INFO(c.name());
    const Graph graph = case_graph(c);
    const std::vector<Tensor> results = evaluate(graph, draw_operands(c, 1));
    REQUIRE(results.size() == graph.outputs().size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      CHECK(results[i].dtype() == graph.output_type(i).dtype);
      CHECK(results[i].shape() == evaluate_shape(graph.output_type(i), {}));
    }
  }
}

TEST_CASE("flops are counted on symbolic dimensions") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", parse_type("f32[T, 8]"));
  const Value w = b.input("w", parse_type("f32[8, H]"));
  const auto flops = [&](Value v) {
    const Node& node = graph.node(v.node);
    std::vector<Type> types;
    for (const Value operand : node.operands) types.push_back(graph.type(operand));
    return op_def(node.op).flops(node, types).to_string();
  };
  CHECK(flops(b.matmul(x, w, {1}, {0})) == Dim::parse("16*T*H").to_string());
  CHECK(flops(b.tanh(x)) == "8*T");
  CHECK(flops(b.reduce_sum(x, {0})) == "8*T");
  CHECK(flops(b.transpose(x, {1, 0})) == "0");
}

TEST_CASE("a decomposition means what the op means") {
  for (Case& c : all_cases()) {
    const OpDef& def = op_def(c.op);
    if (def.decompose == nullptr) continue;
    INFO(c.name());
    Graph graph = case_graph(c);
    Builder b(graph);
    const Value original = graph.outputs()[0].value;
    const Node node = graph.node(original.node);
    b.output("decomposed", def.decompose(b, node, node.operands)[0]);
    CHECK(graph.type(graph.outputs()[1].value) == graph.type(original));
    for (NodeId id = original.node + 1; id < graph.size(); ++id)
      CHECK(op_def(graph.node(id).op).decompose == nullptr);
    const std::vector<Tensor> results = evaluate(graph, draw_operands(c, 2));
    for (std::int64_t i = 0; i < results[0].size(); ++i) {
      if (results[0].get(i) == results[1].get(i)) continue;
      CHECK(results[1].get(i) == Approx(results[0].get(i)).epsilon(1e-14).margin(1e-15));
    }
  }
}
