#include "tests/support/graphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/gradcheck.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "runtime/team.h"
#include "tests/catch.h"

namespace treadle::test {
namespace {

constexpr std::int64_t input_size = 3;
constexpr std::int64_t hidden = 4;
const Type state{DType::f64, {hidden}};

Value product(Builder& b, Value x, Value w) { return b.matmul(x, w, {0}, {0}); }

void finish(Graph& graph, Value rows, Value last) {
  Graph& g = graph;
  g.add_output("rows", rows);
  g.add_output("last", last);
  g = asymmetric_loss(g);
}

}  // namespace

Graph lstm_loss() {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Value x = b.input("x", {DType::f64, {T, input_size}});
  const Value w = b.parameter("W", {DType::f64, {input_size, 4 * hidden}}, "xavier");
  const Value u = b.parameter("U", {DType::f64, {hidden, 4 * hidden}}, "orthogonal");
  const Value bias = b.parameter("b", {DType::f64, {4 * hidden}}, "zeros");
  Graph body;
  Builder s(body);
  const Value bw = s.argument(b.type(w)), bu = s.argument(b.type(u)), bb = s.argument(b.type(bias));
  const Value h = s.argument(state), c = s.argument(state);
  const Value row = s.argument({DType::f64, {input_size}});
  const Value z = s.add(s.add(product(s, row, bw), product(s, h, bu)), bb);
  const auto gate = [&](int i) { return s.slice(z, 0, i * hidden, hidden); };
  const Value next_c =
      s.add(s.mul(s.sigmoid(gate(1)), c), s.mul(s.sigmoid(gate(0)), s.tanh(gate(2))));
  const Value next_h = s.mul(s.sigmoid(gate(3)), s.tanh(next_c));
  for (const Value v : {next_h, next_c, next_h}) body.add_output("", v);
  const Value zero = b.constant(state, 0);
  const std::vector<Value> out =
      b.scan({{w, u, bias}, {zero, zero}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  finish(graph, out[2], out[1]);
  return graph;
}

Graph separate_gates_loss() {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Value x = b.input("x", {DType::f64, {T, input_size}});
  std::vector<Value> weights;
  for (const char* gate : {"r", "k", "v"}) {
    weights.push_back(
        b.parameter(fmt::format("W{}", gate), {DType::f64, {input_size, hidden}}, "xavier"));
    weights.push_back(
        b.parameter(fmt::format("U{}", gate), {DType::f64, {hidden, hidden}}, "xavier"));
  }
  Graph body;
  Builder s(body);
  std::vector<Value> w;
  for (const Value v : weights) w.push_back(s.argument(b.type(v)));
  const Value h = s.argument(state);
  const Value row = s.argument({DType::f64, {input_size}});
  std::vector<Value> z;
  const auto file = std::make_shared<const SourceFile>(SourceFile{"gates.tdl", "r k v"});
  for (std::size_t i = 0; i < 6; i += 2) {
    const auto at = static_cast<std::uint32_t>(i);
    const LocationScope scope(s, {file, at, at + 1});
    z.push_back(s.add(product(s, row, w[i]), product(s, h, w[i + 1])));
  }
  const Value keep = s.sigmoid(z[0]);
  const Value next =
      s.add(s.mul(keep, h), s.mul(s.shift(s.neg(keep), 1), s.mul(s.tanh(z[1]), s.sin(z[2]))));
  body.add_output("", next);
  body.add_output("", next);
  const std::vector<Value> out = b.scan(
      {weights, {b.constant(state, 0.1)}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  finish(graph, out[1], out[0]);
  return graph;
}

Graph token_loss() {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Value text = b.input("text", {DType::i32, {T}}, {{"classes", Dims{3}}});
  const Value table = b.parameter("embedding", {DType::f64, {3, hidden}}, "normal(0, 1)");
  const Value u = b.parameter("U", {DType::f64, {hidden, hidden}}, "orthogonal");
  const Value rows = b.gather(table, text);
  Graph body;
  Builder s(body);
  const Value bu = s.argument(b.type(u));
  const Value h = s.argument(state), row = s.argument(state);
  const Value next = s.softplus(s.add(product(s, h, bu), row));
  body.add_output("", next);
  body.add_output("", next);
  const std::vector<Value> out = b.scan(
      {{u}, {b.constant(state, 0)}, {rows}, T, true, std::make_shared<const Graph>(body), {}});
  finish(graph, b.log_softmax(out[1], 1), out[0]);
  return graph;
}

Graph batched_gradient(const Graph& loss) {
  Graph work = batch(loss);
  Builder b(work);
  const Value total = b.reduce_sum(work.output("loss"), {0});
  work.set_outputs({{"loss", total}});
  return differentiate(work);
}

bool close(const Tensor& a, const Tensor& b, double tolerance, std::string* why) {
  const auto say = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  if (a.shape() != b.shape()) return say("the shapes differ");
  double largest = 0;
  for (std::int64_t i = 0; i < b.size(); ++i)
    if (std::isfinite(b.get(i))) largest = std::max(largest, std::abs(b.get(i)));
  for (std::int64_t i = 0; i < b.size(); ++i)
    if (a.get(i) != b.get(i) && !(std::abs(a.get(i) - b.get(i)) <= tolerance * largest))
      return say(fmt::format("element {}: {} against {}", i, a.get(i), b.get(i)));
  return true;
}

void require_close(const Graph& graph, const std::vector<Tensor>& found,
                   const std::vector<Tensor>& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::string why;
    const bool same = close(found[i], expected[i], tolerance, &why);
    INFO("output " << graph.outputs()[i].name << ": " << why);
    CHECK(same);
  }
}

void require_same_results(const Graph& before, const Graph& after) {
  for (const DimEnv& env :
       {DimEnv{{"B", 2}, {"T", 5}}, DimEnv{{"B", 1}, {"T", 1}}, DimEnv{{"B", 3}, {"T", 0}}}) {
    INFO("B = " << env.at("B") << ", T = " << env.at("T"));
    const std::vector<Tensor> inputs = inputs_for(before, env);
    require_close(before, evaluate(after, inputs), evaluate(before, inputs), 1e-12);
  }
}

std::vector<Tensor> run_with(Program& program, const std::vector<Tensor>& inputs, Team& team) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
  return run(program, pointers, team);
}

void require_same_for_threads(const Graph& graph, Program& program,
                              const std::vector<Tensor>& inputs, std::optional<double> tolerance,
                              const std::set<int>& numbers_of_threads) {
  std::vector<Tensor> others = inputs;
  for (Tensor& tensor : others)
    if (is_float(tensor.dtype()))
      for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, tensor.get(i) / 2);
  std::vector<Tensor> first;
  for (const int threads : numbers_of_threads) {
    INFO(threads << " threads");
    Team team(threads);
    run_with(program, others, team);
    const std::vector<Tensor> results = run_with(program, inputs, team);
    if (first.empty()) {
      if (tolerance) require_close(graph, results, evaluate(graph, inputs), *tolerance);
      first = results;
    }
    for (std::size_t i = 0; i < results.size(); ++i)
      REQUIRE(treadle::same_bits(results[i], first[i]));
  }
}

std::vector<Tensor> inputs_for(const Graph& graph, const DimEnv& env) {
  return random_inputs(graph, env, 7);
}

std::vector<Tensor> step_inputs(const Graph& graph, const DimEnv& env) {
  std::vector<Tensor> inputs = inputs_for(graph, env);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = graph.node(graph.inputs()[i]).attributes.string("name");
    if (!name.starts_with("v:") && name != "step") continue;
    for (std::int64_t k = 0; k < inputs[i].size(); ++k)
      inputs[i].set(k, name == "step" ? 3 : std::abs(inputs[i].get(k)));
  }
  return inputs;
}

int count_ops(const Graph& graph, Op op) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(),
                                        [op](const Node& node) { return node.op == op; }));
}

const Graph& scan_body(const Graph& graph, int n) {
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan && n-- == 0) return *node.regions[0];
  internal_error("test", "there is no such scan");
}

}  // namespace treadle::test
