// Steps that threads share out while they do them.
#include <algorithm>
#include <functional>
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "passes/training_step.h"
#include "runtime/profile.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

TrainingStep step_of(const std::string& layers) {
  return make_training_step(
      mean_square_of("model M(x: real[T, 24]) {\n" + layers + "  return y: y\n}\n"), {});
}
const char* const lstm = "  y, _ = scan LSTM[24, 20] over x\n";
const char* const layers =
    "  param W: real[24, 60] ~ xavier\n"
    "  z = gelu(x @ W)\n"
    "  y, _ = scan reverse GRU[60, 20] over z\n";
const char* const attends =
    "  q, k, v = split(dense[48](x), 3)\n"
    "  y = softmax(q @ transpose(k) / 4) @ v\n";
const char* const chunks = "  y, _ = scan LSTM[24, 20] over x remat(budget: 1 MiB)\n";

using PlannedStep = treadle::Step;
struct Shared {
  int loops = 0, products = 0, attention = 0, runs = 0, inside = 0;
};
Shared shared_by(const std::string& source) {
  const Target target = host_target();
  const Graph graph = lower(step_of(source).graph);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(target));
  Shared out;
  int next = 0;
  const std::function<bool(const PlannedStep&)> any = [&](const PlannedStep& step) {
    return step.shared >= 0 || std::any_of(step.body.begin(), step.body.end(), any) ||
           std::any_of(step.before.begin(), step.before.end(), any);
  };
  for (const PlannedStep& step : plan.steps) {
    out.inside += std::any_of(step.body.begin(), step.body.end(), any);
    if (step.run) CHECK(step.run->shared == next++);
    out.runs += step.run.has_value();
    if (step.shared < 0) continue;
    CHECK(step.shared == next++);
    out.loops += step.kind == PlannedStep::Kind::scan;
    out.products += step.kind == PlannedStep::Kind::matmul;
    out.attention += step.kind == PlannedStep::Kind::attention;
  }
  CHECK(plan.shared == next);
  return out;
}

}  // namespace

TEST_CASE("what runs once and is large is shared out on the way, nothing inside a loop") {
  const Shared recurrent = shared_by(lstm);
  CHECK(recurrent.loops == 2);
  CHECK(recurrent.products >= 2);  // the weights' gradients, and the product with the inputs
  CHECK(recurrent.inside == 0);
  const Shared attention = shared_by(attends);
  CHECK(attention.attention == 2);
  CHECK(attention.products >= 1);
  CHECK(attention.runs >= 1);  // the layer in front of it
  // Each thread does its rows of all chunks, from the first product to the last.
  const Shared chunked = shared_by(chunks);
  CHECK(chunked.inside == 0);
}

// More threads than processors, so that one is behind the others wherever a processor
// is taken from it.
TEST_CASE("work that goes from thread to thread gives the bits of one thread") {
  for (const char* source : {lstm, layers, attends}) {
    INFO(source);
    const TrainingStep step = step_of(source);
    const Shared shared = shared_by(source);
    const int steps = shared.loops + shared.products + shared.attention + shared.runs;
    Profile profile;
    profile.keep_spans();
    const auto program = compile(step.graph, {}, {"llvm", {}, {}, &profile});
    for (const std::int64_t rows : {96, 150}) {
      const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", rows}, {"T", 60}});
      Team alone(1);
      const std::vector<Tensor> expected = run_with(*program, inputs, alone);
      const RunTimes once = profile.times();
      Team team(5);
      bool taken = false;
      for (int run = 0; run < 200 && (run < 10 || !taken); ++run) {
        INFO("run " << run << " of " << rows << " rows");
        const std::vector<Tensor> found = run_with(*program, inputs, team);
        for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(same_bits(found[i], expected[i]));
        // Calls are counted once a thread, times they take as often as there are.
        const RunTimes times = profile.times();
        const auto spans = profile.spans();
        for (std::size_t t = 0; t < times.threads.size(); ++t) {
          std::int64_t calls = 0, kernels = 0;
          for (std::size_t k = 0; k < times.threads[t].kernels.size(); ++k) {
            CHECK(times.threads[t].kernels[k].calls == once.threads[0].kernels[k].calls);
            calls += times.threads[t].kernels[k].calls;
          }
          for (const RunSpan& span : spans[t]) kernels += span.kind == RunSpan::Kind::kernel;
          // At the end of its own part of each step there is one more.
          taken = taken || kernels - calls > steps;
          // Behind a loop, whose turns nobody waits in, its last kernel is what is waited behind.
          for (std::size_t i = 1; i < spans[t].size(); ++i) {
            const RunSpan &before = spans[t][i - 1], &span = spans[t][i];
            if (span.kind != RunSpan::Kind::barrier || before.kernel < 0) continue;
            const auto kernel = static_cast<std::size_t>(before.kernel);
            if (i > 1 && times.threads[t].kernels[kernel].calls == 60) {
              CHECK(spans[t][i - 2].kernel == before.kernel);
              CHECK(span.kernel == before.kernel);
            }
          }
        }
      }
      CHECK(taken);
    }
  }
}
