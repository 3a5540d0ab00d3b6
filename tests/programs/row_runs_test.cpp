// Runs of steps that are done block of rows by block of rows.
#include <algorithm>
#include <string>
#include <vector>

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

const char* const layer =
    "  a = layer_norm[24](x)\n"
    "  y = x + dense[24, 70](gelu(dense[70, 24](a)))\n";
const char* const two_layers =
    "  a = x + dense[24, 70](gelu(dense[70, 24](layer_norm[24](x))))\n"
    "  y = rms_norm[24](a + dense[24, 34](tanh(dense[34, 24](a))))\n";
// The sum over the rows of an example keeps what follows from it out of the run.
const char* const mixed =
    "  a = tanh(dense[30, 24](x))\n"
    "  c = a * sum(a, axis: 0)\n"
    "  y = sigmoid(dense[24, 30](c))\n";
const char* const attends =
    "  q, k, v = split(dense[48, 24](layer_norm[24](x)), 3)\n"
    "  y = rms_norm[16](softmax(q @ transpose(k) / 4) @ v)\n";
const char* const recurrent =
    "  z = gelu(dense[20, 24](layer_norm[24](x)))\n"
    "  h, _ = scan GRU[20, 18] over z\n"
    "  y = tanh(dense[30, 18](h))\n";

using PlannedStep = treadle::Step;
ProgramPlan plan_of(const TrainingStep& step) {
  return plan_program(lower(step.graph), {}, matmul_tiles(host_target()));
}
int products_of(const ProgramPlan& plan, std::size_t first) {
  int out = 0;
  for (int i = 0; i < plan.steps[first].run->steps; ++i)
    out += plan.steps[first + static_cast<std::size_t>(i)].kind == PlannedStep::Kind::matmul;
  return out;
}

}  // namespace

TEST_CASE("a feed-forward layer and its norm are one run, forward and backward") {
  const ProgramPlan plan = plan_of(make_training_step(loss_of_layers(layer), {}));
  std::vector<int> products;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (!plan.steps[i].run) continue;
    products.push_back(products_of(plan, i));
    for (int k = 0; k < plan.steps[i].run->steps; ++k) {
      const PlannedStep& step = plan.steps[i + static_cast<std::size_t>(k)];
      // Weights' gradients are sums over the rows.
      CHECK(step.kind != PlannedStep::Kind::pack);
      if (step.kind == PlannedStep::Kind::matmul)
        CHECK(step.shape.m == Dim::symbol("B") * Dim::symbol("T"));
    }
  }
  // Of the norm's gains a gradient is wanted, and so that of the first product's operand.
  REQUIRE(products.size() >= 2);
  CHECK(products.front() == 2);
  CHECK(products.back() + products[products.size() - 2] >= 2);
}

TEST_CASE("in blocks of rows, however many, the same comes out") {
  for (const char* text : {layer, two_layers, mixed, attends, recurrent}) {
    INFO(text);
    const TrainingStep step = make_training_step(loss_of_layers(text), {});
    const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
    const ProgramPlan plan = plan_of(step);
    CHECK(std::any_of(plan.steps.begin(), plan.steps.end(),
                      [](const PlannedStep& s) { return s.run.has_value(); }));
    // Rows for no block, one a thread, several and a rest, for some numbers of threads only.
    for (const std::int64_t rows : {1, 5, 16, 37, 131})
      for (const std::int64_t length : {1, 7}) {
        INFO(rows << " rows, " << length << " steps");
        require_same_for_threads(step.graph, *program,
                                 step_inputs(step.graph, {{"B", rows}, {"T", length}}), 1e-10,
                                 {1, 2, 3, 5});
      }
  }
}

// Forward alone: what is between two products of a layer, 70 numbers a row, is needed for a
// block at a time. With a row less than the threads need for blocks it is needed whole.
TEST_CASE("what only a run uses takes the memory of a block") {
  const TrainingStep step = make_evaluation_step(loss_of_layers(layer));
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  const DimEnv extents{{"B", 40}, {"T", 100}};
  const std::size_t whole = 40 * 100 * 70 * sizeof(double);
  CHECK(program->workspace_bytes(extents, 2) + whole * 9 / 10 <
        program->workspace_bytes(extents, 84));
}

TEST_CASE("a kernel that is called block by block is counted once") {
  const TrainingStep step = make_training_step(loss_of_layers(two_layers), {});
  Profile profile;
  const auto program = compile(step.graph, {}, {"llvm", {}, {}, &profile});
  const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", 60}, {"T", 20}});
  for (const int threads : {1, 2}) {
    Team team(threads);
    run_with(*program, inputs, team);
    for (const auto& thread : profile.times().threads)
      for (const auto& kernel : thread.kernels) CHECK(kernel.calls <= 1);
  }
}
