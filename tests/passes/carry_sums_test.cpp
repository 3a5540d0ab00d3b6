#include "passes/carry_sums.h"

#include "driver/compile.h"
#include "ir/builder.h"
#include "ir/eval/evaluate.h"
#include "ir/text_parser.h"
#include "passes/pass_manager.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A loop with the state %1, of which the stacks of `kept` are %5 and %6; then `behind`.
// In its step %3 is a product, %4 and %5 what pointwise ops make.
Graph loop(const std::string& kept, const std::string& behind, bool reverse = false) {
  return parse_graph(std::string(R"(graph @main stage(batched) {
  %0 = input {dims = <3, 3>, dtype = f64, name = "u"} : f64[3, 3]
  %1 = input {dims = <B, 3>, dtype = f64, name = "h"} : f64[B, 3]
  %2 = input {dims = <T, B, 3>, dtype = f64, name = "x"} : f64[T, B, 3]
  %3 = input {dims = <T, B, 3>, dtype = f64, name = "y"} : f64[T, B, 3]
  %4, %5, %6 = scan(%0, %1, %2) {carries = 1, constants = 1, length = <T>, reverse = )") +
                     (reverse ? "true" : "false") +
                     R"(} : f64[B, 3], f64[T, B, 3], f64[T, B, 3] {
    ^(%0: f64[3, 3], %1: f64[B, 3], %2: f64[B, 3])
    %3 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f64[B, 3]
    %4 = mul(%3, %2) : f64[B, 3]
    %5 = sin(%3) : f64[B, 3]
    return %5, )" + kept +
                     "\n  }\n" + behind + "}\n");
}

struct LoopShape {
  std::size_t carries, outputs;
  friend bool operator==(const LoopShape&, const LoopShape&) = default;
};
LoopShape shape_of(const Graph& graph) {
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan) return {ScanView(node).carries, ScanView(node).outputs};
  return {0, 0};
}

const std::string both_summed = R"(
  %7 = reduce_sum(%5) {axes = [0, 1]} : f64[3]
  %8 = reduce_sum(%6) {axes = [0, 2]} : f64[B]
  return "h" = %4, "first" = %7, "second" = %8
)";

}  // namespace

TEST_CASE("a loop carries the sums of what is only summed behind it") {
  for (const bool reverse : {false, true}) {
    const Graph before = loop("%4, %5", both_summed, reverse);
    const Graph after = carry_sums(before);
    require_same_results(before, after);
    CHECK(shape_of(after) == LoopShape{3, 0});
  }
}

TEST_CASE("a sum over nothing else, over everything, and two sums of one stack") {
  const Graph before = loop("%4, %5", R"(
  %7 = reduce_sum(%5) {axes = [0]} : f64[B, 3]
  %8 = reduce_sum(%6) {axes = [0, 1, 2]} : f64[]
  %9 = reduce_sum(%5) {axes = [0, 2]} : f64[B]
  return "h" = %4, "rows" = %7, "all" = %8, "again" = %9
)");
  const Graph after = carry_sums(before);
  require_same_results(before, after);
  CHECK(shape_of(after) == LoopShape{3, 0});
  CHECK(count_ops(after, Op::reduce_sum) == 2);
}

TEST_CASE("one value in two stacks has one sum") {
  const Graph before = loop("%4, %4", both_summed);
  const Graph after = carry_sums(before);
  require_same_results(before, after);
  CHECK(shape_of(after) == LoopShape{2, 0});
}

TEST_CASE("a stack that something else reads stays") {
  const std::string sum = "  %7 = reduce_sum(%5) {axes = [0, 1]} : f64[3]\n";
  const auto stays = [](const std::string& kept, const std::string& behind) {
    INFO(kept << behind);
    const Graph before = loop(kept, behind);
    const Graph after = carry_sums(before);
    CHECK(same_graph(before, after));
  };
  const std::string result = "  return \"h\" = %4, \"sum\" = %7, \"more\" = %8\n";
  stays("%4, %5", sum +
                      "  %8 = matmul(%5, %2) {batch_a = [], batch_b = [], contract_a = [0, 1], "
                      "contract_b = [0, 1]} : f64[3, 3]\n" +
                      result);
  stays("%4, %5", sum + "  %8 = mul(%5, %3) : f64[T, B, 3]\n" + result);
  stays("%4, %5", sum + "  %8 = reduce_sum(%5) {axes = [1]} : f64[T, 3]\n" + result);
  stays("%4, %5", sum + "  %8 = reduce_max(%5) {axes = [0]} : f64[B, 3]\n" + result);
  stays("%4, %5", sum + "  return \"h\" = %4, \"sum\" = %7, \"more\" = %5\n");
  // The value has a stack anyway.
  stays("%4, %4", sum + "  %8 = mul(%6, %3) : f64[T, B, 3]\n" + result);
  stays(
      "%4, %5",
      sum +
          R"(  %8 = scan(%1, %5) {carries = 1, constants = 0, length = <T>, reverse = false} : f64[B, 3] {
    ^(%0: f64[B, 3], %1: f64[B, 3])
    %2 = mul(%0, %1) : f64[B, 3]
    return %2
  }
)" + result);
}

TEST_CASE("what no pointwise work makes is not added up in the loop") {
  const std::string sum =
      "  %7 = reduce_sum(%5) {axes = [0, 1]} : f64[3]\n  return \"h\" = %4, \"sum\" = %7\n";
  for (const char* kept : {"%3, %5", "%2, %5", "%1, %5"}) {
    INFO(kept);
    const Graph before = loop(kept, sum);
    CHECK(same_graph(before, carry_sums(before)));
  }
}

TEST_CASE("a loop that carries nothing goes on carrying nothing") {
  const Graph before = parse_graph(R"(graph @main stage(batched) {
  %0 = input {dims = <T, B, 3>, dtype = f64, name = "x"} : f64[T, B, 3]
  %1 = scan(%0) {carries = 0, constants = 0, length = <T>, reverse = false} : f64[T, B, 3] {
    ^(%0: f64[B, 3])
    %1 = sin(%0) : f64[B, 3]
    return %1
  }
  %2 = reduce_sum(%1) {axes = [0, 1]} : f64[3]
  return "sum" = %2
}
)");
  CHECK(same_graph(before, carry_sums(before)));
}

namespace {

// Four parameters that are vectors, and one number.
const char* const cell = R"(
cell gained[I, H](x: real[I], h: real[H]) {
  param W: real[I, H]          ~ xavier
  param U: real[H, H]          ~ orthogonal
  param bz, bn, p, gain: real[H] ~ normal(0, 1)
  param zeta: real              ~ normal(0, 1)
  s = x @ W + h @ U
  z = sigmoid(s + bz + p * h)
  h = (zeta * (1 - z) + 0.1) * tanh((1 + gain) * s + bn) + z * h
  yield h, h
}
)";

Graph loss_of(const std::string& scan) {
  return mean_square_of(std::string(cell) + "model M(x: real[T, 5]) {\n  y, _ = " + scan +
                        "\n  return y: y\n}\n");
}
Graph training_graph(const std::string& scan) {
  return make_training_step(loss_of(scan), {}).graph;
}

// Carried values and stacks of the loops that go backwards, inner ones included.
void add_backwards(const Graph& graph, std::vector<LoopShape>& out) {
  for (const Node& node : graph.nodes()) {
    if (node.op != Op::scan) continue;
    const ScanView view(node);
    if (view.reverse) out.push_back({view.carries, view.outputs});
    add_backwards(*view.body, out);
  }
}
std::vector<LoopShape> backwards(const Graph& graph) {
  std::vector<LoopShape> out;
  add_backwards(graph, out);
  return out;
}

// As require_same_results, of a training step.
void require_same_steps(const Graph& before, const Graph& after) {
  for (const auto& [batch, length] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{2, 5}, {1, 1}, {3, 0}, {2, 130}}) {
    INFO("B = " << batch << ", T = " << length);
    const std::vector<Tensor> inputs = step_inputs(before, {{"B", batch}, {"T", length}});
    require_close(before, evaluate(after, inputs), evaluate(before, inputs), 1e-12);
  }
}

Graph before_pass(const Graph& graph) {
  std::string names(training_pipeline);
  names.resize(names.find(",carry-sums"));
  return run_pipeline(graph, parse_pipeline(names), {}, {});
}

}  // namespace

TEST_CASE("gradients of vectors and scalars of a cell leave the loop as sums") {
  const Graph before = before_pass(training_graph("scan gained[5, 4] over x"));
  const Graph after = carry_sums(before);
  require_same_steps(before, after);
  REQUIRE(backwards(before).size() == 1);
  REQUIRE(backwards(after).size() == 1);
  CHECK(backwards(before)[0] == LoopShape{1, 6});
  // The gradient of the sum s is stacked for the weights.
  CHECK(backwards(after)[0] == LoopShape{6, 1});
}

TEST_CASE("a chunk's loop carries its sums, and the loop of chunks adds them up") {
  const Graph before = before_pass(training_graph("scan gained[5, 4] over x remat(budget: 1 MiB)"));
  const Graph after = carry_sums(before);
  require_same_steps(before, after);
  int carried = 0, chunks = 0;
  for (const LoopShape& shape : backwards(after)) {
    if (shape == LoopShape{6, 1}) ++carried;
    if (shape.carries > 6) ++chunks;
  }
  CHECK(carried == 2);  // of the chunks, and of the steps that are left
  CHECK(chunks == 1);
}

TEST_CASE("loops that stop the gradient, run backwards or do two steps a turn have sums too") {
  const auto check = [](const Graph& training) {
    const Graph before = before_pass(training);
    const Graph after = carry_sums(before);
    require_same_steps(before, after);
    CHECK(!same_graph(before, after));
  };
  const Graph loss = loss_of("scan gained[5, 4] over x");
  check(make_training_step(run_pipeline(loss, parse_pipeline("truncate-bptt(2)")), {}).graph);
  check(run_pipeline(make_training_step(loss, {}).graph, parse_pipeline("unroll(2)")));
  check(training_graph("scan reverse gained[5, 4] over x"));
}
