// Products that read operand B where it stands, and sums that they give on the way.
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "ir/builder.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

TrainingStep step_of(const std::string& model) {
  return make_training_step(mean_square_of(model), {});
}

struct Counts {
  int direct = 0, with_sums = 0, joined = 0;
  int sums = 0;  // kernels that sum rows
};
void count(const std::vector<treadle::Step>& steps, Counts& out) {
  for (const treadle::Step& step : steps) {
    if (step.direct) ++out.direct;
    if (step.direct && step.out.size() == (step.second ? 3 : 2)) ++out.with_sums;
    if (step.second) ++out.joined;
    if (step.kind == treadle::Step::Kind::fused) {
      const Graph& body = *step.graph->node(step.node).regions[0];
      const Node& last = body.node(body.outputs()[0].value.node);
      if (last.op == Op::reduce_sum && last.types[0].rank() > 0 &&
          last.types[0].dims.back() == body.type(last.operands[0]).dims.back())
        ++out.sums;
    }
    count(step.before, out);
    count(step.body, out);
  }
}
Counts counts_of(const Graph& whole) {
  const Target target = host_target();
  const Graph graph = lower(whole);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(target));
  Counts out;
  count(plan.steps, out);
  return out;
}

// Against the evaluator, whatever the number of threads, to the bit among them.
void check_results(const TrainingStep& step) {
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  for (const DimEnv& extents :
       {DimEnv{{"B", 3}, {"T", 100}}, DimEnv{{"B", 1}, {"T", 1}}, DimEnv{{"B", 2}, {"T", 7}}})
    require_same_for_threads(step.graph, *program, step_inputs(step.graph, extents), 1e-10);
}

}  // namespace

TEST_CASE("a weight's gradient reads the gradient behind it in place and sums it for the bias") {
  const TrainingStep step = step_of(
      "model M(x: real[T, 24]) {\n"
      "  param W: real[24, 40] ~ xavier\n"
      "  param b: real[40] ~ zeros\n"
      "  return y: tanh(x @ W + b)\n"
      "}\n");
  const Counts counts = counts_of(step.graph);
  CHECK(counts.direct == 1);
  CHECK(counts.with_sums == 1);
  CHECK(counts.sums == 0);
  check_results(step);
}

// More rows than one block of the transposed operand has, a part of one left over.
TEST_CASE("so does that of a weight with many rows, in blocks") {
  for (const char* rows : {"530", "1100"}) {
    const std::string wide(rows);
    const TrainingStep step = step_of("model M(x: real[T, 24]) {\n  y = dense[40, " + wide +
                                      "](tanh(dense[" + wide + ", 24](x)))\n  return y: y\n}\n");
    const Counts found = counts_of(step.graph);
    CHECK(found.direct == 2);
    CHECK(found.with_sums == 2);
    check_results(step);
  }
}

TEST_CASE("so does that of a recurrent layer, for both of its weights") {
  const TrainingStep step = step_of(
      "model M(x: real[T, 16]) {\n"
      "  y, _ = scan LSTM[16, 20] over x\n"
      "  return y: y\n"
      "}\n");
  const Counts counts = counts_of(step.graph);
  CHECK(counts.direct == 1);
  CHECK(counts.joined == 1);
  CHECK(counts.with_sums == 1);
  CHECK(counts.sums == 0);
  check_results(step);
}

TEST_CASE("weights that are declared one by one have their gradients in one product too") {
  const TrainingStep step = step_of(
      "cell Two(x: real[16], h: real[20]) {\n"
      "  param Wa, Wn: real[16, 20] ~ xavier\n"
      "  param Ua, Un: real[20, 20] ~ xavier\n"
      "  a = sigmoid(x @ Wa + h @ Ua)\n"
      "  n = tanh(x @ Wn + h @ Un)\n"
      "  h = a * h + (1 - a) * n\n"
      "  yield h, h\n"
      "}\n"
      "model M(x: real[T, 16]) {\n"
      "  y, _ = scan Two over x\n"
      "  return y: y\n"
      "}\n");
  const Counts counts = counts_of(step.graph);
  CHECK(counts.direct == 1);
  CHECK(counts.joined == 1);
  check_results(step);
}

TEST_CASE("products of many rows together stay apart") {
  const TrainingStep step = step_of(
      "model M(x: real[T, 130]) {\n"
      "  y, _ = scan LSTM[130, 130] over x\n"
      "  return y: y\n"
      "}\n");
  const Counts counts = counts_of(step.graph);
  CHECK(counts.direct == 2);
  CHECK(counts.joined == 0);
}

TEST_CASE("a weight of few rows or columns has its operand packed") {
  const TrainingStep step = step_of(
      "model M(x: real[T, 24]) {\n"
      "  param W: real[24, 3] ~ xavier\n"
      "  param V: real[3, 24] ~ xavier\n"
      "  return y: (x @ W) @ V\n"
      "}\n");
  CHECK(counts_of(step.graph).direct == 0);
  check_results(step);
}

TEST_CASE("what every turn of a loop multiplies by is packed once, in front of it") {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T"), S = Dim::symbol("S");
  const Type state{DType::f64, {16, S}};
  const Value x = b.input("x", {DType::f64, {T, 16, S}});
  const Value m = b.input("m", {DType::f64, {S, 24}});
  const Value start = b.input("h", state);
  Graph body;
  Builder s(body);
  const Value inner_m = s.argument(b.type(m)), h = s.argument(state), row = s.argument(state);
  const Value sum = s.reduce_sum(s.matmul(h, inner_m, {1}, {0}), {0, 1});
  body.add_output("", s.tanh(s.mul(row, s.broadcast_scalar(sum, state.dims))));
  b.output("h", b.scan({{m}, {start}, {x}, T, false, std::make_shared<const Graph>(body), {}})[0]);
  CHECK(counts_of(graph).direct == 0);
}
