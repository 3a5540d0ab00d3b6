// Kernels that write over what only they read.
#include <algorithm>
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "ir/builder.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// How many kernels write where they read.
int overwriting(const Graph& graph) {
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  int out = 0;
  for (const treadle::Step& step : plan.steps)
    if (step.kind == treadle::Step::Kind::fused)
      out += std::any_of(step.out.begin(), step.out.end(), [&](const Location& to) {
        return std::find(step.in.begin(), step.in.end(), to) != step.in.end();
      });
  return out;
}

void check_results(const Graph& graph, const DimEnv& env) {
  const std::unique_ptr<Program> program = compile(graph, {}, {"llvm", {}, {}});
  require_same_for_threads(graph, *program, step_inputs(graph, env), 1e-10, {1, 2, 3});
}

}  // namespace

TEST_CASE("a kernel writes over what only it reads, element by element") {
  const Dim B = Dim::symbol("B");
  const auto overwrites = [&](const std::string& kind) {
    Graph graph;
    Builder b(graph);
    const Value x = b.input("x", {DType::f64, {B, 20, 20}});
    const Value w = b.input("w", {DType::f64, {20, 20}});
    const Value v = b.input("v", {DType::f64, {20}});
    const Value first = b.reduce_sum(x, {0});
    Value second = b.tanh(first);
    if (kind == "with another") second = b.tanh(b.add(first, b.reduce_max(b.abs(x), {0})));
    if (kind == "reversed") second = b.tanh(b.reverse(first, {1}));
    if (kind == "in parts") {
      const Value twice = b.scale(first, 2.0);
      second = b.concat({b.tanh(b.slice(twice, 1, 10, 10)), b.slice(twice, 1, 5, 10)}, 1);
    }
    if (kind == "with a row") second = b.tanh(b.add(first, b.broadcast(v, {20, 20}, {1})));
    b.output("y", b.matmul(second, w, {0}, {0}));
    if (kind == "read again") b.output("z", b.matmul(first, w, {1}, {1}));
    if (kind == "given") b.output("z", first);
    for (const std::int64_t rows : {0, 1, 7, 90}) {
      INFO(kind << ", " << rows << " rows");
      check_results(graph, {{"B", rows}});
    }
    return overwriting(lower(graph));
  };
  CHECK(overwrites("alone") == 1);
  CHECK(overwrites("with a row") == 1);
  CHECK(overwrites("with another") == 1);
  CHECK(overwrites("reversed") == 0);
  CHECK(overwrites("in parts") == 0);
  CHECK(overwrites("read again") == 0);
  CHECK(overwrites("given") == 0);
}

TEST_CASE("the gradient by what a layer activates stands where its derivative stood") {
  const Graph graph = batched_gradient(
      mean_square_of("model M(x: real[T, 24]) {\n  h = heads[2](gelu(dense[40, 24](x)))\n"
                     "  return y: attention(h, h, h)\n}\n"));
  CHECK(overwriting(lower(graph)) >= 1);
  for (const std::int64_t length : {0, 1, 3, 40}) check_results(graph, {{"B", 5}, {"T", length}});
}
