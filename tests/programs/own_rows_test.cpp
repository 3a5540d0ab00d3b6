// Loops of loops whose rows are one thread's each.
#include <functional>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

using PlannedStep = treadle::Step;

TrainingStep step_of(const std::string& layers) {
  return make_training_step(
      mean_square_of("model M(x: real[T, 24]) {\n" + layers + "  return y: y\n}\n"), {});
}

// Loops of chunks whose turns are one thread's each, and the most steps of a turn of
// another that are.
struct Found {
  int whole = 0, most_together = 1;
};
Found find(const Graph& whole) {
  const Target target = host_target();
  const Graph graph = lower(whole);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(target));
  Found out;
  const std::function<void(const std::vector<PlannedStep>&)> visit =
      [&](const std::vector<PlannedStep>& steps) {
        for (const PlannedStep& step : steps) {
          const bool nested = std::any_of(
              step.body.begin(), step.body.end(),
              [](const PlannedStep& inner) { return inner.kind == PlannedStep::Kind::scan; });
          if (nested && step.own_rows) ++out.whole;
          if (!step.own_rows || step.kind != PlannedStep::Kind::scan)
            out.most_together = std::max(out.most_together, step.together);
          if (!nested || !step.own_rows) visit(step.body);
        }
      };
  visit(plan.steps);
  return out;
}

void check_results(const std::string& layers, std::int64_t length, std::int64_t rows) {
  INFO(layers << length << " steps, " << rows << " rows");
  const TrainingStep step = step_of(layers);
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  require_same_for_threads(step.graph, *program,
                           step_inputs(step.graph, {{"B", rows}, {"T", length}}), 1e-10);
}

// Chunks have 64 steps where the sizes are not known.
const char* const lstm = "  y, _ = scan LSTM[24, 20] over x remat(budget: 1 MiB)\n";
const char* const wide =  // 37 rows a thread for the product with the inputs
    "  param W: real[24, 300] ~ xavier\n"
    "  z = tanh(x @ W)\n"
    "  y, _ = scan GRU[300, 20] over z remat(budget: 1 MiB)\n";
const char* const two =
    "  z, _ = scan reverse GRU[24, 20] over x remat(budget: 1 MiB)\n"
    "  y, _ = scan RNN[20, 18] over z remat(budget: 1 MiB)\n";

}  // namespace

TEST_CASE("threads do all chunks of their rows, and both loops of a chunk, without meeting") {
  for (const auto& [layers, loops] : {std::pair(lstm, 1), std::pair(wide, 1), std::pair(two, 2)}) {
    INFO(layers);
    const Found found = find(step_of(layers).graph);
    CHECK(found.whole == loops);
    CHECK(found.most_together >= 4);  // the product, the loop, and what goes into it
  }
}

TEST_CASE("chunks done apart are what they are done together, for any number of threads") {
  for (const char* layers : {lstm, two})
    for (const std::int64_t length : {0, 63, 200})
      for (const std::int64_t rows : {40, 3, 100}) check_results(layers, length, rows);
  // Enough for two threads' own rows, but not for the product in their turns; for both.
  for (const std::int64_t rows : {40, 80}) check_results(wide, 130, rows);
}

TEST_CASE("threads that do their rows of a chunk apart wait for what all of them made before") {
  // 1 + gain is made anew for each chunk, each thread a part of it, and read in the loop.
  const TrainingStep step = make_training_step(mean_square_of(R"(
cell gained[I, H](x: real[I], h: real[H]) {
  param W: real[I, H] ~ xavier
  param U: real[H, H] ~ orthogonal
  param gain: real[H] ~ normal(0, 1)
  h = tanh((1 + gain) * (x @ W + h @ U))
  yield h, h
}
model M(x: real[T, 24]) {
  y, _ = scan gained[24, 20] over x remat(budget: 1 MiB)
  return y: y
}
)"),
                                               {});
  const auto program = compile(step.graph, {}, {"llvm", {}, {}});
  const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", 64}, {"T", 200}});
  // What is left in memory by a run on these is not what the next one should find.
  std::vector<Tensor> others = inputs;
  for (Tensor& tensor : others)
    if (is_float(tensor.dtype()))
      for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, tensor.get(i) / 2);
  Team alone(1);
  const std::vector<Tensor> expected = run_with(*program, inputs, alone);
  for (const int threads : {2, 3}) {
    Team team(threads);
    for (int run = 0; run < 20; ++run) {
      INFO("run " << run << " with " << threads << " threads");
      run_with(*program, others, team);
      const std::vector<Tensor> found = run_with(*program, inputs, team);
      for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(same_bits(found[i], expected[i]));
    }
  }
}
