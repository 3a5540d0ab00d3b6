// Products that ask for the rows that kernels behind them read and write.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

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

using PlannedStep = treadle::Step;

const char* const lstm = "  y, _ = scan LSTM[24, 40] over x\n";
const char* const lstm_over_gru =
    "  z, _ = scan GRU[24, 40] over x\n"
    "  y, _ = scan LSTM[40, 24] over z\n";
const char* const feed_forward =
    "  y = x + dense[24, 70](gelu(dense[70, 24](layer_norm[24](x))))\n";

// Bytes of a row that each product asks for, of this turn and of the next, in loops (or runs).
struct Asked {
  std::vector<std::int64_t> now, next;
};
std::vector<Asked> asked_in(const Graph& whole, bool loops) {
  const ProgramPlan plan = plan_program(lower(whole), {}, matmul_tiles(host_target()));
  std::vector<Asked> out;
  const std::function<void(const std::vector<PlannedStep>&, bool)> visit =
      [&](const std::vector<PlannedStep>& steps, bool in_loop) {
        for (const PlannedStep& step : steps) {
          visit(step.body, true);
          if (step.ahead.empty() || in_loop != loops) continue;
          CHECK(step.kind == PlannedStep::Kind::matmul);
          Asked asked;
          for (const RowsAhead& rows : step.ahead)
            (rows.turns == 0 ? asked.now : asked.next).push_back(*rows.row_bytes.constant());
          std::sort(asked.now.begin(), asked.now.end());
          std::sort(asked.next.begin(), asked.next.end());
          out.push_back(asked);
        }
      };
  visit(plan.steps, false);
  return out;
}

}  // namespace

TEST_CASE("an LSTM's product asks for the stacks that the cell writes, and its gradient's") {
  // f64: 320 bytes a row for each state, four times as many for the gates.
  const std::vector<Asked> asked =
      asked_in(make_training_step(loss_of_layers(lstm), {}).graph, true);
  REQUIRE(asked.size() == 2);
  // Gates, c, h. Of the next turn, what was computed of x, from which the product starts then.
  CHECK(std::count(asked[0].now.begin(), asked[0].now.end(), 1280) == 1);
  CHECK(std::count(asked[0].now.begin(), asked[0].now.end(), 320) >= 2);
  CHECK(asked[0].next == std::vector<std::int64_t>{1280});
  // The gradient's kernel comes first in its turn: the product before asks for its rows.
  CHECK(asked[1].now.empty());
  CHECK(std::count(asked[1].next.begin(), asked[1].next.end(), 1280) == 1);
  CHECK(std::count(asked[1].next.begin(), asked[1].next.end(), 320) >= 2);
}

TEST_CASE("a product asks for nothing that the turn itself brings") {
  // h alone is carried, and the step keeps nothing: the row of h, that of x's product.
  const TrainingStep forward =
      make_evaluation_step(loss_of_layers("  y, _ = scan RNN[24, 40] over x\n"));
  const std::vector<Asked> asked = asked_in(forward.graph, true);
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].now == std::vector<std::int64_t>{320});
  CHECK(asked[0].next == std::vector<std::int64_t>{320});
}

// The lower layer's gradient begins its turn with the product that gives it the upper one's,
// where that is deferred: it is not what asks.
TEST_CASE("each layer of a stack asks for its rows") {
  const char* const two = "  z, _ = scan LSTM[24, 40] over x\n  y, _ = scan LSTM[40, 40] over z\n";
  const Graph loss = loss_of_layers(two);
  const std::vector<Asked> asked = asked_in(make_training_step(loss, {}).graph, true);
  REQUIRE(asked.size() == 4);
  for (std::size_t i = 2; i < 4; ++i) {
    CHECK(asked[i].now.empty());
    CHECK(std::count(asked[i].next.begin(), asked[i].next.end(), 1280) == 1);
    CHECK(std::count(asked[i].next.begin(), asked[i].next.end(), 320) >= 3);
  }
}

TEST_CASE("loops of chunks ask for the rows of stacks around them") {
  const char* const chunks = "  y, _ = scan LSTM[24, 40] over x remat(budget: 1 MiB)\n";
  const Graph loss = loss_of_layers(chunks);
  const TrainingStep step = make_training_step(loss, {});
  const std::vector<Asked> asked = asked_in(step.graph, true);
  REQUIRE(asked.size() >= 3);
  // The gradient of the chunk, which reads that of y: the outer loop's stack.
  CHECK(std::count(asked.back().next.begin(), asked.back().next.end(), 320) >= 2);
}

TEST_CASE("the products of a run ask for the rows of a block") {
  CHECK(asked_in(make_training_step(loss_of_layers(feed_forward), {}).graph, true).empty());
  CHECK(!asked_in(make_training_step(loss_of_layers(feed_forward), {}).graph, false).empty());
}

TEST_CASE("a product of a run asks for where the next one's result goes, if that is memory") {
  const TrainingStep step = make_training_step(loss_of_layers(feed_forward), {});
  const ProgramPlan plan = plan_program(lower(step.graph), {}, matmul_tiles(host_target()));
  int results = 0;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (!plan.steps[i].run) continue;
    std::vector<RowsAhead> asked;
    const auto end = i + static_cast<std::size_t>(plan.steps[i].run->steps);
    for (bool first = true; i < end; ++i) {
      const PlannedStep& product = plan.steps[i];
      if (product.kind != PlannedStep::Kind::matmul) continue;
      const auto buffer = static_cast<std::size_t>(product.out[0].buffer);
      if (!first && !plan.buffers[buffer].turn) {
        ++results;
        CHECK(std::any_of(asked.begin(), asked.end(), [&](const RowsAhead& rows) {
          return rows.place.buffer == product.out[0].buffer;
        }));
      }
      first = false;
      asked.insert(asked.end(), product.ahead.begin(), product.ahead.end());
    }
    --i;
  }
  CHECK(results > 0);
}

TEST_CASE("steps whose products ask give the same results for any number of threads") {
  const std::string chunks = "  y, _ = scan LSTM[24, 40] over x remat(budget: 1 MiB)\n";
  for (const std::string& layers :
       {std::string(lstm), std::string(lstm_over_gru), std::string(feed_forward), chunks}) {
    const TrainingStep step = make_training_step(loss_of_layers(layers), {});
    const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
    for (const std::int64_t rows : {15, 16, 33, 70})
      for (const std::int64_t length : {1, 70}) {
        INFO(layers << rows << " rows, " << length << " steps");
        require_same_for_threads(step.graph, *program,
                                 step_inputs(step.graph, {{"B", rows}, {"T", length}}), 1e-10);
      }
  }
}
