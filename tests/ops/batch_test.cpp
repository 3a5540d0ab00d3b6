// Batching rules: many examples at once give what one by one gives.
#include <cstring>

#include "passes/batch.h"
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr std::int64_t examples = 3;

Tensor example_of(const Tensor& many, std::int64_t n) {
  Tensor out(many.dtype(), Shape(many.shape().begin() + 1, many.shape().end()));
  std::memcpy(out.data(), many.data() + static_cast<std::size_t>(n) * out.bytes(), out.bytes());
  return out;
}

std::vector<Op> ops_of(const Graph& graph) {
  std::vector<Op> out;
  for (const Node& node : graph.nodes())
    if (node.op != Op::input && node.op != Op::parameter) out.push_back(node.op);
  return out;
}

void check_batching(const Case& c, std::uint32_t mask) {
  const Graph one = case_graph(c);
  const Node node = one.node(one.outputs()[0].value.node);
  Graph many;
  Builder b(many);
  const Dim size = Dim::symbol("B");
  std::vector<Value> operands;
  std::vector<bool> batched;
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < c.probe.operands.size(); ++i) {
    batched.push_back((mask >> i & 1) != 0);
    Type type = c.probe.operands[i].type;
    if (batched[i]) type.dims.insert(type.dims.begin(), size);
    operands.push_back(b.input("x" + std::to_string(i), type));
    inputs.push_back(draw(c.probe.operands[i], 40 + i, batched[i] ? Shape{examples} : Shape{}));
  }
  const std::vector<Value> outputs = batch_node(b, one, node, operands, batched, size);
  REQUIRE(outputs.size() == one.outputs().size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Type expected = one.output_type(i);
    expected.dims.insert(expected.dims.begin(), size);
    CHECK(to_string(many.type(outputs[i])) == to_string(expected));
    many.add_output("y" + std::to_string(i), outputs[i]);
  }
  const std::vector<Tensor> together = evaluate(many, inputs);
  for (std::int64_t n = 0; n < examples; ++n) {
    std::vector<Tensor> single;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      single.push_back(batched[i] ? example_of(inputs[i], n) : inputs[i]);
    const std::vector<Tensor> alone = evaluate(one, single);
    for (std::size_t i = 0; i < alone.size(); ++i)
      CHECK(same_bits(example_of(together[i], n), alone[i]));
  }
}

}  // namespace

TEST_CASE("a batch of three equals three examples, whatever is shared") {
  for (const Case& c : all_cases()) {
    const std::size_t count = c.probe.operands.size();
    for (std::uint32_t mask = 1; mask < 1U << count; ++mask) {
      INFO(c.name() << ", batched operands " << mask);
      check_batching(c, mask);
    }
  }
}

TEST_CASE("shared weights give one plain matmul") {
  Graph graph;
  Builder b(graph);
  const Value w = b.parameter("W", parse_type("f32[8, 4]"), "zeros");
  b.output("vector", b.matmul(b.input("x", parse_type("f32[8]")), w, {0}, {0}));
  b.output("matrix", b.matmul(b.input("y", parse_type("f32[T, 8]")), w, {1}, {0}));
  const Graph many = batch(graph);
  CHECK(ops_of(many) == std::vector<Op>{Op::matmul, Op::matmul});
  CHECK(to_string(many.output_type(0)) == "f32[B, 4]");
  CHECK(to_string(many.output_type(1)) == "f32[B, T, 4]");
}

TEST_CASE("a shared matrix times a vector needs no transpose") {
  Graph graph;
  Builder b(graph);
  const Value w = b.parameter("W", parse_type("f32[4, 8]"), "zeros");
  b.output("y", b.matmul(w, b.input("x", parse_type("f32[8]")), {1}, {0}));
  CHECK(ops_of(batch(graph)) == std::vector<Op>{Op::matmul});
}

TEST_CASE("a shared table is looked up by a plain gather") {
  Graph graph;
  Builder b(graph);
  const Value table = b.parameter("E", parse_type("f32[V, 8]"), "zeros");
  b.output("y", b.gather(table, b.input("tokens", parse_type("i32[T]"))));
  const Graph many = batch(graph);
  CHECK(ops_of(many) == std::vector<Op>{Op::gather});
  CHECK(many.node(many.outputs()[0].value.node).attributes.integer("batch") == 0);
  CHECK(to_string(many.output_type(0)) == "f32[B, T, 8]");
}

TEST_CASE("updates of each example go into a table of its own") {
  Graph graph;
  Builder b(graph);
  const Value base = b.parameter("E", parse_type("f32[V, 8]"), "zeros");
  b.output("y", b.scatter_add(base, b.input("tokens", parse_type("i32[T]")),
                              b.input("rows", parse_type("f32[T, 8]"))));
  CHECK(to_string(batch(graph).output_type(0)) == "f32[B, V, 8]");
}
