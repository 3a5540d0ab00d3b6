// Compiled programs against the reference evaluator.
#include <cmath>
#include <cstring>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "ir/eval/evaluate.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/expand_composites.h"
#include "passes/fuse_pointwise.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ops/support.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::vector<Tensor> run_compiled(Program& program, const std::vector<Tensor>& inputs, Team& team) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
  return run(program, pointers, team);
}

void require_close(const Graph& graph, const std::vector<Tensor>& found,
                   const std::vector<Tensor>& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::string why;
    const bool same = close(found[i], expected[i], tolerance, &why);
    INFO("output " << graph.outputs()[i].name << ": " << why);
    CHECK(same);
  }
}

Graph batched_gradient(const Graph& loss) {
  Graph work = batch(loss);
  Builder b(work);
  const Value total = b.reduce_sum(work.output("loss"), {0});
  work.set_outputs({{"loss", total}});
  return differentiate(work);
}

}  // namespace

TEST_CASE("every op's probes give what the reference gives") {
  Team team(2);
  for (const Case& c : all_cases()) {
    INFO(c.name());
    const Graph graph = case_graph(c);
    const std::vector<Tensor> inputs = draw_operands(c, 7);
    const auto program = compile_llvm(fuse_pointwise(expand_composites(graph)), {});
    require_close(graph, run_compiled(*program, inputs, team), evaluate(graph, inputs), 1e-11);
  }
}

TEST_CASE("models and their gradients give what the reference gives, at any extents") {
  Team team(2);
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph graph = batched_gradient(loss);
    const CompileStats before = llvm_compile_stats();
    const auto program = compile(graph, {});
    for (std::int64_t batch : {1, 2, 5, 8})
      for (std::int64_t length : {0, 1, 2, 7}) {
        INFO("B = " << batch << ", T = " << length);
        const std::vector<Tensor> inputs = inputs_for(graph, {{"B", batch}, {"T", length}});
        require_close(graph, run_compiled(*program, inputs, team), evaluate(graph, inputs), 1e-10);
      }
    CHECK(llvm_compile_stats().compilations == before.compilations + 1);
  }
}

TEST_CASE("1, 2 and 3 threads give the same bits") {
  const Graph graph = batched_gradient(lstm_loss());
  const auto program = compile(graph, {});
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 9}, {"T", 6}});
  Team one(1), two(2), three(3);
  const std::vector<Tensor> expected = run_compiled(*program, inputs, one);
  for (Team* team : {&two, &three}) {
    const std::vector<Tensor> found = run_compiled(*program, inputs, *team);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], expected[i]));
  }
}

TEST_CASE("a training step updates its inputs in place") {
  OptimizerSettings settings;
  settings.clip_norm = 0.5;
  settings.weight_decay = 0.01;
  const TrainingStep step = make_training_step(separate_gates_loss(), settings);
  std::vector<InPlaceUpdate> updates;
  for (const Successor& s : step.updates) updates.push_back({s.output, s.input});
  const auto compiled = compile(step.graph, updates);
  const auto reference = compile(step.graph, updates, {"reference", {}, {}});
  std::vector<Tensor> inputs = inputs_for(step.graph, {{"B", 3}, {"T", 4}});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    // The second moment and the step count are not negative.
    const std::string name = step.graph.node(step.graph.inputs()[i]).attributes.string("name");
    if (!name.starts_with("v:") && name != "step") continue;
    for (std::int64_t k = 0; k < inputs[i].size(); ++k)
      inputs[i].set(k, name == "step" ? 3 : std::abs(inputs[i].get(k)));
  }
  Team team(2);
  require_close(step.graph, run_compiled(*compiled, inputs, team),
                run_compiled(*reference, inputs, team), 1e-10);
}
