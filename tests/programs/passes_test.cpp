// Whole training steps with every pass on, with each one off and with all off.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "ir/eval/evaluate.h"
#include "ir/op_def.h"
#include "passes/pass_manager.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// Some loss, its gradients and updated parameters; as training asks for them.
TrainingStep step_of(const std::filesystem::path& file) {
  ElaborateOptions options;
  options.real = DType::f64;
  options.dims = {{"H", 3}, {"M", 4}, {"L", 1}, {"V", 9}, {"W", 7}};
  const Experiment experiment = load_experiment(file.string(), options);
  OptimizerSettings settings;
  settings.clip_norm = 0.5;
  settings.weight_decay = 0.01;
  return make_training_step(experiment.loss(*experiment.find_train(), Mode::train), settings);
}

std::vector<PassCall> without(const std::vector<PassCall>& calls, std::string_view name) {
  std::vector<PassCall> out;
  for (const PassCall& call : calls)
    if (call.pass->name != name) out.push_back(call);
  return out;
}

}  // namespace

TEST_CASE("every pass on is every pass off, for the step of every example") {
  const std::filesystem::path folder = std::filesystem::path(TREADLE_SOURCE_DIR) / "examples";
  const std::vector<PassCall> all = parse_pipeline(training_pipeline);
  Team team(2);
  int examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".tdl") continue;
    INFO(entry.path().filename().string());
    ++examples;
    const Graph off = step_of(entry.path()).graph;
    std::map<std::string, Graph> on;
    on["all passes"] = run_pipeline(off, all, {}, {backend_models()});
    for (const PassCall& call : all)
      on[fmt::format("all but {}", call.pass->name)] =
          run_pipeline(off, without(all, call.pass->name), {}, {backend_models()});
    on["unroll(2) and all"] =
        run_pipeline(run_pipeline(off, parse_pipeline("unroll(2)")), all, {}, {backend_models()});
    const auto compiled = compile(off, {}, {"llvm", {}, {}});
    for (const auto& [batch, length] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {1, 4}, {3, 5}}) {
      INFO("B = " << batch << ", T = " << length);
      const std::vector<Tensor> inputs = step_inputs(off, {{"B", batch}, {"T", length}, {"S", 3}});
      const std::vector<Tensor> expected = evaluate(off, inputs);
      for (const auto& [what, graph] : on) {
        INFO(what);
        require_close(off, evaluate(graph, inputs), expected, 1e-10);
      }
      std::vector<const Tensor*> pointers;
      for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
      INFO("compiled");
      require_close(off, run(*compiled, pointers, team), expected, 1e-10);
    }
  }
  CHECK(examples >= 5);
}
