// Loops that two halves of the threads run at the same time.
#include <algorithm>
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/step_profile.h"
#include "passes/training_step.h"
#include "runtime/profile.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// How many loops run beside the next one.
std::int64_t pairs_of(const Graph& whole) {
  const Graph graph = lower(whole);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    if (plan.steps[i].beside) {
      REQUIRE(i + 1 < plan.steps.size());
      CHECK(plan.steps[i + 1].kind == treadle::Step::Kind::scan);
      CHECK(!plan.steps[i + 1].beside);
      CHECK(plan.steps[i + 1].before.empty());
    }
  return std::count_if(plan.steps.begin(), plan.steps.end(),
                       [](const treadle::Step& step) { return step.beside; });
}

// The evaluator's results, and the same bits for any number of threads.
void check_results(const TrainingStep& step, const std::vector<DimEnv>& extents) {
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  for (const DimEnv& env : extents) {
    INFO(env.at("B") << " rows, " << env.at("T") << " steps");
    const auto tolerance = env.at("T") > 0 ? std::optional(1e-10) : std::nullopt;
    require_same_for_threads(step.graph, *program, step_inputs(step.graph, env), tolerance,
                             {1, 2, 3, 4});
  }
}

// Few rows, so that halves have a loop each; rows for two threads, but not for more.
std::vector<DimEnv> all_extents() {
  std::vector<DimEnv> out;
  for (const std::int64_t rows : {1, 2, 3, 40})
    for (const std::int64_t length : {0, 1, 7}) out.push_back({{"B", rows}, {"T", length}});
  return out;
}

}  // namespace

TEST_CASE("both directions of a layer run at the same time, as do their gradients") {
  for (const char* block : {"BiLSTM[20]", "BiGRU[33]", "BiRNN[8]"}) {
    INFO(block);
    const Graph loss = loss_of_layers("  y = " + std::string(block) + "(x)\n");
    const TrainingStep forward = make_evaluation_step(loss);
    CHECK(pairs_of(forward.graph) == 1);
    check_results(forward, all_extents());
    const TrainingStep training = make_training_step(loss, {});
    CHECK(pairs_of(training.graph) == 2);
    check_results(training, all_extents());
  }
}

TEST_CASE("layers of two directions, and loops of several steps that meet") {
  // Attention over the gates is no work by columns: threads of a half meet in each step.
  const char* mixing = R"(
cell mixing[I, H](x: real[I], h: real[H]) {
  param W: real[I, H] ~ xavier
  param U: real[H, H] ~ orthogonal
  h = softmax(tanh(x @ W + h @ U)) + h / 2
  yield h, h
}
model M(x: real[T, 24]) {
  a, _ = scan mixing[24, 21] over x
  c, _ = scan reverse mixing[24, 21] over x
  return y: concat(a, c)
}
)";
  const TrainingStep step = make_training_step(mean_square_of(mixing), {});
  CHECK(pairs_of(step.graph) == 2);
  check_results(step, all_extents());
  const TrainingStep two =
      make_training_step(loss_of_layers("  z = BiGRU[18](x)\n  y = BiLSTM[16](z)\n"), {});
  CHECK(pairs_of(two.graph) == 4);
  check_results(two, {{{"B", 1}, {"T", 9}}, {{"B", 3}, {"T", 4}}});
}

TEST_CASE("loops that wait for one another or take longer run one after the other") {
  for (const char* layers :
       {"  z, _ = scan GRU[24, 20] over x\n  y, _ = scan reverse GRU[20, 20] over z\n",
        "  a, _ = scan GRU[24, 20] over x\n  c, _ = scan reverse GRU[24, 60] over x\n"
        "  y = concat(a, c)\n",
        "  a, h = scan GRU[24, 20] over x\n  c, _ = scan reverse GRU[24, 20] over x from h\n"
        "  y = concat(a, c)\n"}) {
    INFO(layers);
    const TrainingStep step = make_training_step(loss_of_layers(layers), {});
    CHECK(pairs_of(step.graph) == 0);
    check_results(step, {{{"B", 1}, {"T", 5}}});
  }
}

TEST_CASE("three loops are a pair and one more") {
  const TrainingStep step = make_training_step(
      loss_of_layers("  a, _ = scan GRU[24, 20] over x\n  c, _ = scan reverse GRU[24, 20] over x\n"
                     "  d, _ = scan GRU[24, 20] over x\n  y = concat(concat(a, c), d)\n"),
      {});
  CHECK(pairs_of(step.graph) == 2);
  check_results(step, {{{"B", 2}, {"T", 5}}});
}

// c follows from b, a does not: what moves past the pair of a and c moves past both.
TEST_CASE("a pair stays together when another one is made") {
  const Graph loss = loss_of_layers(
      "  a, _ = scan GRU[24, 20] over x\n  b, _ = scan LSTM[24, 32] over x\n"
      "  c, _ = scan GRU[32, 20] over b\n  d, _ = scan reverse LSTM[24, 32] over x\n"
      "  y = concat(concat(a, b), concat(c, d))\n");
  const TrainingStep forward = make_evaluation_step(loss);
  CHECK(pairs_of(forward.graph) == 2);
  check_results(forward, {{{"B", 1}, {"T", 7}}, {{"B", 40}, {"T", 4}}});
  const TrainingStep training = make_training_step(loss, {});
  CHECK(pairs_of(training.graph) > 2);
  check_results(training, {{{"B", 1}, {"T", 6}}, {{"B", 40}, {"T", 4}}});
}

TEST_CASE("weights that no core's cache holds are shared out") {
  const TrainingStep step = make_evaluation_step(loss_of_layers("  y = BiRNN[400](x)\n"));
  CHECK(pairs_of(step.graph) == 0);
  check_results(step, {{{"B", 1}, {"T", 5}}});
}

TEST_CASE("the table of kernels says which loops are a pair") {
  const TrainingStep step = make_evaluation_step(loss_of_layers("  y = BiLSTM[20](x)\n"));
  const std::string table = kernel_table(compiled_kernels(lower(step.graph), {}), {});
  CHECK(table.find(": two loops, each half of the threads' where there are few rows") !=
        std::string::npos);
}

TEST_CASE("a profile counts what half of the threads did once") {
  const TrainingStep step = make_training_step(loss_of_layers("  y = BiLSTM[20](x)\n"), {});
  const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", 1}, {"T", 6}});
  Team alone(1);
  const std::vector<Tensor> expected =
      run_with(*compile(step.graph, {}, {"llvm", {}, {}}), inputs, alone);
  for (const int threads : {1, 2, 3}) {
    INFO(threads << " threads");
    Profile measured;
    const auto program = compile(step.graph, {}, {"llvm", {}, {}, &measured});
    Team team(threads);
    const std::vector<Tensor> found = run_with(*program, inputs, team);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], expected[i]));
    const auto rows = compiled_kernels(lower(step.graph), {});
    std::vector<const Tensor*> pointers;
    for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
    const DimEnv extents = bind_dims(program->inputs(), pointers);
    for (const StepProfile::Kernel& kernel : profile_of({measured.times()}, rows, extents).kernels)
      CHECK(kernel.calls == kernel.row.times.evaluate(extents));
  }
}
