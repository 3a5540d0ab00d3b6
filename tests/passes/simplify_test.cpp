#include "passes/simplify.h"

#include "ir/eval/evaluate.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/fuse_gates.h"
#include "passes/hoist_scan.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

const Type matrix{DType::f64, {2, 6}};

// What `build` makes of an input x: f64[2, 6], simplified and printed.
template <typename Build>
std::string simplified(Build build) {
  Graph graph;
  Builder b(graph);
  graph.add_output("y", build(b, b.input("x", matrix)));
  const Graph after = simplify(graph);
  const std::vector<Tensor> inputs = inputs_for(graph, {});
  CHECK(close(evaluate(after, inputs)[0], evaluate(graph, inputs)[0], 1e-15));
  const std::string text = print(after);
  CHECK(print(parse_graph(text)) == text);
  const std::size_t body = text.find("%1 = ");
  return body == std::string::npos ? "x" : text.substr(body, text.find('\n', body) - body);
}

}  // namespace

TEST_CASE("simplify: arithmetic with neutral elements disappears") {
  CHECK(simplified([](Builder& b, Value x) { return b.shift(x, 0); }) == "x");
  CHECK(simplified([](Builder& b, Value x) { return b.scale(x, 1); }) == "x");
  CHECK(simplified([](Builder& b, Value x) { return b.neg(b.neg(x)); }) == "x");
  CHECK(simplified([](Builder& b, Value x) {
          const Value six = b.mul(b.constant(matrix, 2), b.constant(matrix, 3));
          return b.div(x, b.sub(six, b.constant(matrix, 5)));
        }) == "x");
}

TEST_CASE("simplify: a float times zero stays, since 0 * inf is no number") {
  Graph graph;
  Builder b(graph);
  graph.add_output("y", b.scale(b.input("x", matrix), 0));
  CHECK(count_ops(simplify(graph), Op::mul) == 1);
}

TEST_CASE("simplify: shape ops undo one another") {
  CHECK(simplified([](Builder& b, Value x) {
          return b.transpose(b.transpose(x, {1, 0}), {1, 0});
        }) == "x");
  CHECK(simplified([](Builder& b, Value x) {
          return b.reshape(b.reshape(x, {12}), {2, 6});
        }) == "x");
  CHECK(simplified([](Builder& b, Value x) { return b.reverse(b.reverse(x, 1), 1); }) == "x");
  CHECK(simplified([](Builder& b, Value x) { return b.slice(b.pad(x, 1, 2, 3), 1, 2, 6); }) == "x");
  CHECK(simplified([](Builder& b, Value x) {
          return b.slice(b.concat({b.sin(x), x, b.cos(x)}, 1), 1, 6, 6);
        }) == "x");
  CHECK(simplified([](Builder& b, Value x) {
          return b.concat({b.slice(x, 1, 0, 2), b.slice(x, 1, 2, 4)}, 1);
        }) == "x");
  CHECK(simplified([](Builder& b, Value x) { return b.slice(b.slice(x, 1, 1, 4), 1, 1, 2); }) ==
        "%1 = slice(%0) {axis = 1, extent = <2>, start = <2>} : f64[2, 2]");
}

TEST_CASE("simplify: broadcasts compose, and sums over them are multiples") {
  CHECK(simplified([](Builder& b, Value x) {
          return b.broadcast(b.broadcast(x, {5, 2, 6}, {1, 2}), {5, 2, 4, 6}, {0, 1, 3});
        }) == "%1 = broadcast(%0) {axes = [1, 3], dims = <5, 2, 4, 6>} : f64[5, 2, 4, 6]");
  CHECK(simplified([](Builder& b, Value x) {
          return b.reduce_sum(b.broadcast(x, {3, 2, 6}, {1, 2}), {0});
        }) == "%1 = constant {dims = <2, 6>, value = dense f64[] <3.0>} : f64[2, 6]");
}

TEST_CASE("simplify: a sum of sums is one sum") {
  const std::vector<std::pair<Integers, Integers>> cases{
      {{0}, {1}}, {{1}, {0, 1}}, {{0, 2}, {0}}, {{3}, {2}}, {{1, 3}, {0, 1}}};
  for (const auto& [first, second] : cases) {
    Graph graph;
    Builder b(graph);
    const Value x = b.input("x", {DType::f64, {2, Dim::symbol("B"), 3, Dim::symbol("T")}});
    graph.add_output("y", b.reduce_sum(b.reduce_sum(x, first), second));
    const Graph after = simplify(graph);
    CHECK(count_ops(after, Op::reduce_sum) == 1);
    require_same_results(graph, after);
  }
}

TEST_CASE("simplify: the gradients of a split add up to one concatenation") {
  Graph graph;
  Builder b(graph);
  const Type part{DType::f64, {2}};
  const Value p = b.input("p", part), q = b.input("q", part), r = b.input("r", part);
  const Value sum = b.add(b.add(b.pad(p, 0, 0, 4), b.pad(r, 0, 4, 0)), b.pad(q, 0, 2, 2));
  graph.add_output("y", sum);
  const Graph after = simplify(graph);
  CHECK(count_ops(after, Op::add) == 0);
  CHECK(count_ops(after, Op::pad) == 0);
  CHECK(count_ops(after, Op::concat) == 1);
  const std::vector<Tensor> inputs = inputs_for(graph, {});
  CHECK(same_bits(evaluate(after, inputs)[0], evaluate(graph, inputs)[0]));
}

TEST_CASE("simplify: pads that overlap stay a sum") {
  Graph graph;
  Builder b(graph);
  const Type part{DType::f64, {2}};
  const Value p = b.input("p", part), q = b.input("q", part), r = b.input("r", part);
  // p and r both cover elements 0 and 1.
  graph.add_output("y", b.add(b.add(b.pad(p, 0, 0, 2), b.pad(r, 0, 0, 2)), b.pad(q, 0, 2, 0)));
  const Graph after = simplify(graph);
  const std::vector<Tensor> inputs = inputs_for(graph, {});
  CHECK(same_bits(evaluate(after, inputs)[0], evaluate(graph, inputs)[0]));
  CHECK(count_ops(after, Op::add) == 2);
}

TEST_CASE("simplify: equal nodes become one, dead ones go, inputs stay") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", matrix);
  b.input("unread", matrix);
  b.exp(x);
  graph.add_output("y", b.mul(b.sin(x), b.sin(x)));
  const Graph after = simplify(graph);
  CHECK(count_ops(after, Op::sin) == 1);
  CHECK(count_ops(after, Op::exp) == 0);
  CHECK(after.inputs().size() == 2);
}

TEST_CASE("simplify: scans keep only what is read") {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Type row{DType::f64, {3}};
  const Value x = b.input("x", {DType::f64, {T, 3}});
  const Value w = b.input("w", row), h0 = b.input("h0", row);
  Graph body;
  Builder s(body);
  const Value w1 = s.argument(row), w2 = s.argument(row);
  const Value h = s.argument(row), fixed = s.argument(row), unread = s.argument(row);
  const Value r1 = s.argument(row), r2 = s.argument(row);
  const Value next = s.tanh(s.add(s.mul(s.mul(w1, w2), s.mul(h, fixed)), s.add(r1, r2)));
  for (const Value v : {next, fixed, s.exp(unread), s.sin(next), next}) body.add_output("", v);
  const std::vector<Value> out =
      b.scan({{w, w}, {h0, h0, h0}, {x, x}, T, false, std::make_shared<const Graph>(body), {}});
  graph.add_output("rows", out[4]);
  graph.add_output("fixed", out[1]);
  const Graph after = simplify(graph);
  const Graph& step = scan_body(after, 0);
  // constants w and the invariant carry, carry h, sequence x
  CHECK(step.inputs().size() == 4);
  CHECK(step.outputs().size() == 2);
  CHECK(count_ops(step, Op::exp) == 0);
  CHECK(after.output("fixed") == after.input("h0"));
  for (const std::int64_t length : {0, 1, 4}) {
    const std::vector<Tensor> inputs = inputs_for(graph, {{"T", length}});
    const auto before = evaluate(graph, inputs), now = evaluate(after, inputs);
    for (std::size_t i = 0; i < before.size(); ++i) CHECK(same_bits(now[i], before[i]));
  }
}

TEST_CASE("simplify twice is simplify once, and changes no value and no gradient") {
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph gradient = batched_gradient(loss);
    for (const Graph& before : {loss, gradient, fuse_gates(hoist_scan(gradient))}) {
      const Graph after = simplify(before);
      CHECK(after.size() < before.size());
      CHECK(same_graph(simplify(after), after));
      const std::string text = print(after);
      CHECK(print(parse_graph(text)) == text);
      for (const DimEnv& env : {DimEnv{{"B", 2}, {"T", 5}}, DimEnv{{"B", 3}, {"T", 0}}}) {
        const std::vector<Tensor> inputs = inputs_for(before, env);
        const auto x = evaluate(before, inputs), y = evaluate(after, inputs);
        REQUIRE(x.size() == y.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
          std::string why;
          const bool same = close(y[i], x[i], 1e-12, &why);
          INFO(before.outputs()[i].name << ": " << why);
          CHECK(same);
        }
      }
    }
  }
}
