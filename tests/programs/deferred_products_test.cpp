// Products in front of a loop that are computed in its turns.
#include <string>

#include "driver/compile.h"
#include "ir/eval/evaluate.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {}  // namespace

TEST_CASE("a loop computes a layer's inputs in its turns where it has rows for all threads") {
  const char* layers[] = {
      "  y, _ = scan LSTM[24, 20] over x\n", "  y, _ = scan reverse GRU[24, 20] over x\n",
      "  y, _ = scan RNN[24, 300] over x\n",  // 13 columns a thread would be read for each weight
      "  z, _ = scan LSTM[24, 20] over x\n  y, _ = scan GRU[20, 18] over z\n",
      "  a, _ = scan RNN[24, 20] over x\n  c, _ = scan reverse RNN[24, 20] over x\n"
      "  y = concat(a, c)\n"};
  for (const char* text : layers) {
    INFO(text);
    const TrainingStep step = make_training_step(loss_of_layers(text), {});
    const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
    // Rows for one and two threads, for none, for all; no step, one, several.
    for (const std::int64_t rows : {40, 3, 160})
      for (const std::int64_t length : {0, 1, 7}) {
        INFO(rows << " rows, " << length << " steps");
        const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", rows}, {"T", length}});
        std::vector<Tensor> first;
        for (const int threads : {1, 2, 3}) {
          Team team(threads);
          const std::vector<Tensor> results = run_with(*program, inputs, team);
          if (first.empty()) {
            if (length > 0) require_close(step.graph, results, evaluate(step.graph, inputs), 1e-10);
            first = results;
          }
          for (std::size_t i = 0; i < results.size(); ++i)
            REQUIRE(treadle::same_bits(results[i], first[i]));
        }
      }
  }
}

// Forward alone: a training step has the memory of its residuals at that time.
TEST_CASE("what is computed in turns takes the memory of one turn") {
  const TrainingStep step =
      make_evaluation_step(loss_of_layers("  y, _ = scan LSTM[24, 20] over x\n"));
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  const DimEnv extents{{"B", 40}, {"T", 100}};
  const std::size_t whole = 100 * 40 * 80 * sizeof(double);
  CHECK(program->workspace_bytes(extents, 2) + whole * 9 / 10 <
        program->workspace_bytes(extents, 3));
}
