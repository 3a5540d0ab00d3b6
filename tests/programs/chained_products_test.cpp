// A loop's product whose sums start from that of its inputs, both in one kernel.
#include <algorithm>
#include <functional>
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

using PlannedStep = treadle::Step;

// Products of inputs that are a part of another one, and products that start from one.
struct Chained {
  int inputs = 0, products = 0;
  friend bool operator==(const Chained&, const Chained&) = default;
};
Chained chained_in(const Graph& whole) {
  const ProgramPlan plan = plan_program(lower(whole), {}, matmul_tiles(host_target()));
  Chained out;
  const std::function<void(const std::vector<PlannedStep>&)> visit =
      [&](const std::vector<PlannedStep>& steps) {
        for (const PlannedStep& step : steps) {
          visit(step.body);
          out.inputs += step.in_chain ? 1 : 0;
          out.products += step.chained.empty() ? 0 : 1;
        }
      };
  visit(plan.steps);
  return out;
}

const char* const lstm = "  y, _ = scan LSTM[24, 50] over x\n";
const char* const reverse_rnn = "  y, _ = scan reverse RNN[24, 50] over x\n";
const char* const lstm_over_gru =
    "  z, _ = scan GRU[24, 40] over x\n"
    "  y, _ = scan LSTM[40, 24] over z\n";

}  // namespace

TEST_CASE("a loop's product and that of its inputs are one") {
  const auto in_step = [](const char* layers) {
    return chained_in(make_training_step(loss_of_layers(layers), {}).graph);
  };
  CHECK(in_step(lstm) == Chained{1, 1});
  CHECK(in_step(reverse_rnn) == Chained{1, 1});
  // A GRU multiplies what it adds.
  CHECK(in_step(lstm_over_gru) == Chained{1, 1});
}

TEST_CASE("chained products compute the same on every processor, profiled or not") {
  for (const char* layers : {lstm, reverse_rnn, lstm_over_gru}) {
    INFO(layers);
    const TrainingStep step = make_training_step(loss_of_layers(layers), {});
    const auto plain = compile_step(step, {"llvm", {}, {}});
    const auto avx2 = compile_step(step, {"llvm", "avx2", {}});
    const auto sse = compile_step(step, {"llvm", "sse", {}});
    Profile profile;
    const auto profiled = compile_step(step, {"llvm", {}, {}, &profile});
    // Rows for one and two threads, that end in the middle of a tile; one each; one.
    for (const std::int64_t rows : {45, 3, 1}) {
      INFO(rows << " rows");
      const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", rows}, {"T", 5}});
      for (const auto& program : {&plain, &avx2, &sse})
        require_same_for_threads(step.graph, **program, inputs, 1e-10);
      Team team(2);
      const std::vector<Tensor> want = run_with(*plain, inputs, team);
      const std::vector<Tensor> got = run_with(*profiled, inputs, team);
      for (std::size_t i = 0; i < want.size(); ++i) REQUIRE(treadle::same_bits(got[i], want[i]));
    }
  }
}
