// Steps that are done earlier so that threads meet less often.
#include "backends/llvm/early_steps.h"

#include <vector>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// Queries, keys and values have weights of their own, which are packed side by side.
const char* const two_layers =
    "  a = layer_norm[24](x)\n"
    "  q, k, v = dense[24, 24](a), dense[24, 24](a), dense[24, 24](a)\n"
    "  b = x + dense[24, 24](softmax(q @ transpose(k) / 4) @ v)\n"
    "  c = b + dense[24, 40](gelu(dense[40, 24](layer_norm[24](b))))\n"
    "  d = layer_norm[24](c)\n"
    "  r, s, t = dense[24, 24](d), dense[24, 24](d), dense[24, 24](d)\n"
    "  y = c + dense[24, 24](softmax(r @ transpose(s) / 4) @ t)\n";

using PlannedStep = treadle::Step;

}  // namespace

TEST_CASE("what reads a run's results stands behind it, what inputs give in front of it") {
  const TrainingStep step = make_training_step(loss_of_layers(two_layers), {});
  const ProgramPlan plan = plan_program(lower(step.graph), {}, matmul_tiles(host_target()));
  int attention = 0, weights = 0;
  const PlannedStep* end_of_run = nullptr;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].run) {
      i += static_cast<std::size_t>(plan.steps[i].run->steps) - 1;
      end_of_run = &plan.steps[i];
      continue;
    }
    const PlannedStep& next = plan.steps[i];
    if (next.kind == PlannedStep::Kind::attention) {
      ++attention;
      CHECK(end_of_run + 1 == &next);
    }
    // Threads need not meet between weights that are put side by side and their pack.
    if (next.kind == PlannedStep::Kind::pack && end_of_run != nullptr)
      for (std::size_t k = 0; k < i; ++k)
        if (plan.steps[k].kind == PlannedStep::Kind::fused &&
            writes(plan.steps[k], next.in[0].buffer)) {
          ++weights;
          CHECK(!next.barrier_before);
        }
  }
  CHECK(attention == 4);
  CHECK(weights > 0);
}

TEST_CASE("steps in another order give the same") {
  const TrainingStep step = make_training_step(loss_of_layers(two_layers), {});
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  for (const std::int64_t rows : {1, 3, 40}) {
    INFO(rows << " rows");
    require_same_for_threads(step.graph, *program, step_inputs(step.graph, {{"B", rows}, {"T", 7}}),
                             1e-10, {1, 2, 3, 5});
  }
}
