// Loops that add up in their turns what is only summed behind them.
#include <algorithm>

#include "backends/llvm/compile.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "passes/pass_manager.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

using PlannedStep = treadle::Step;

// Its gradient has sums of a vector and a number that no product reads, and of two
// vectors that belong to gates.
TrainingStep step_of(const std::string& scan) {
  return make_training_step(mean_square_of(R"(
cell gained[I, H](x: real[I], h: real[H]) {
  param W: real[I, H]         ~ xavier
  param U: real[H, H]         ~ orthogonal
  param bz, bn, gain: real[H] ~ normal(0, 1)
  param zeta: real            ~ normal(0, 1)
  s = x @ W + h @ U
  z = sigmoid(s + bz)
  h = (zeta * (1 - z) + 0.1) * tanh((1 + gain) * s + bn) + z * h
  yield h, h
}
model M(x: real[T, 24]) {
  y, _ = )" + scan + "\n  return y: y\n}\n"),
                            {});
}

const char* const plain = "scan gained[24, 20] over x";

Graph lowered_without_pass(const Graph& graph) {
  std::vector<PassCall> calls = parse_pipeline(training_pipeline);
  std::erase_if(calls, [](const PassCall& call) { return call.pass->name == "carry-sums"; });
  return run_pipeline(graph, calls, {}, {backend_models()});
}

// The loop that goes backwards.
PlannedStep backwards(const Graph& lowered) {
  const ProgramPlan plan = plan_program(lowered, {}, matmul_tiles(host_target()));
  const auto found = std::find_if(
      plan.steps.begin(), plan.steps.end(),
      [](const PlannedStep& step) { return step.kind == PlannedStep::Kind::scan && step.reverse; });
  REQUIRE(found != plan.steps.end());
  return *found;
}

int barriers(const PlannedStep& loop) {
  return static_cast<int>(
      std::count_if(loop.body.begin(), loop.body.end(),
                    [](const PlannedStep& step) { return step.barrier_before; }));
}

}  // namespace

TEST_CASE("sums that a loop carries are the same for any number of threads") {
  for (const char* scan : {"", " remat(budget: 1 MiB)", " unroll 3"}) {
    const TrainingStep step = step_of(std::string(plain) + scan);
    const auto program = compile_step(step, {"llvm", {}, {}});
    for (const std::int64_t length : {0, 1, 7, 130})
      for (const std::int64_t rows : {1, 3, 40}) {
        INFO(scan << ": " << length << " steps, " << rows << " rows");
        require_same_for_threads(step.graph, *program,
                                 step_inputs(step.graph, {{"B", rows}, {"T", length}}), 1e-10);
      }
  }
}

TEST_CASE("a sum costs a loop no kernel, no barrier, and takes no rows from a thread") {
  const Graph graph = step_of(plain).graph;
  const PlannedStep before = backwards(lowered_without_pass(graph)),
                    after = backwards(lower(graph));
  CHECK(after.body.size() == before.body.size());
  CHECK(barriers(after) == barriers(before));
  CHECK(before.own_rows.has_value());
  CHECK(after.own_rows.has_value());
}

TEST_CASE("a step takes less memory by the stacks that are only summed") {
  const Graph graph = step_of(plain).graph;
  const DimEnv sizes{{"T", 1000}, {"B", 32}};
  const std::size_t stack = std::size_t{1000} * 32 * 20 * 8;
  CHECK(planned_bytes(lower(graph), sizes) + 2 * stack <
        planned_bytes(lowered_without_pass(graph), sizes));
}

TEST_CASE("a carried value that one kernel reads and writes is written over the one before") {
  const PlannedStep loop = backwards(lower(step_of(plain).graph));
  const auto carried = [&](const Location& place) {
    return place.rows.empty() &&
           std::any_of(loop.before.begin(), loop.before.end(), [&](const PlannedStep& copy) {
             return !copy.out.empty() && copy.out[0].buffer == place.buffer;
           });
  };
  int in_place = 0, alternating = 0;
  for (const PlannedStep& step : loop.body)
    for (const Location& place : step.out) {
      if (place.alternate >= 0) ++alternating;
      if (place.alternate < 0 && carried(place) &&
          std::find(step.in.begin(), step.in.end(), place) != step.in.end())
        ++in_place;
    }
  CHECK(in_place == 4);     // the sums
  CHECK(alternating == 1);  // the state's gradient: another kernel ends it
}
