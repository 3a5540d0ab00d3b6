// Compiled programs against the reference evaluator.
#include <cmath>
#include <cstring>
#include <filesystem>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "ir/eval/evaluate.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/expand_composites.h"
#include "passes/fuse_pointwise.h"
#include "passes/place.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ops/support.h"
#include "tests/support/graphs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("every op's probes give what the reference gives") {
  Team team(2);
  for (const Case& c : all_cases()) {
    INFO(c.name());
    const Graph graph = case_graph(c);
    const std::vector<Tensor> inputs = draw_operands(c, 7);
    const auto program = compile_llvm(fuse_pointwise(expand_composites(graph)), {});
    require_close(graph, run_with(*program, inputs, team), evaluate(graph, inputs), 1e-11);
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
        require_close(graph, run_with(*program, inputs, team), evaluate(graph, inputs), 1e-10);
      }
    CHECK(llvm_compile_stats().compilations == before.compilations + 1);
  }
}

TEST_CASE("one artefact serves a hundred pairs of batch and length") {
  Team team(2);
  const Graph graph = batched_gradient(lstm_loss());
  const CompileStats before = llvm_compile_stats();
  const auto program = compile(graph, {});
  for (std::int64_t batch = 1; batch <= 10; ++batch)
    for (std::int64_t length = 1; length <= 28; length += 3) {
      INFO("B = " << batch << ", T = " << length);
      const std::vector<Tensor> inputs = inputs_for(graph, {{"B", batch}, {"T", length}});
      require_close(graph, run_with(*program, inputs, team), evaluate(graph, inputs), 1e-10);
    }
  CHECK(llvm_compile_stats().compilations == before.compilations + 1);
}

TEST_CASE("the time loop calls the step's own kernels, the barrier and oneDNN, nothing else") {
  const Experiment demo = load_experiment(TREADLE_SOURCE_DIR "/examples/demo.tdl");
  const Graph step = make_training_step(demo.loss(*demo.find_train(), Mode::train), {}).graph;
  const std::string text = llvm_ir_text(place_all(lower(step), onednn_model()));
  const std::size_t begin = text.find("define void @treadle_step");
  REQUIRE(begin != std::string::npos);
  const std::string entry = text.substr(begin, text.find("\n}", begin) - begin);
  int calls = 0;
  for (std::size_t at = 0; (at = entry.find("call void @", at)) != std::string::npos; ++at) {
    const std::string callee = entry.substr(at + 11, entry.find('(', at) - at - 11);
    INFO(callee);
    const bool known = callee == "treadle_barrier" || callee.starts_with("kernel") ||
                       callee.starts_with("f32.") || callee == "treadle_prepare_claimed" ||
                       callee == "treadle_run_claimed";
    CHECK(known);
    ++calls;
  }
  CHECK(calls > 10);
  CHECK(entry.find("treadle_run_claimed") != std::string::npos);
}

TEST_CASE("1, 2 and 3 threads give the same bits") {
  const Graph graph = batched_gradient(lstm_loss());
  const auto program = compile(graph, {});
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 9}, {"T", 6}});
  Team one(1), two(2), three(3);
  const std::vector<Tensor> expected = run_with(*program, inputs, one);
  for (Team* team : {&two, &three}) {
    const std::vector<Tensor> found = run_with(*program, inputs, *team);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], expected[i]));
  }
}

TEST_CASE("a training step updates its inputs in place") {
  OptimizerSettings settings;
  settings.clip_norm = 0.5;
  settings.weight_decay = 0.01;
  const TrainingStep step = make_training_step(separate_gates_loss(), settings);
  const std::vector<InPlaceUpdate> updates = in_place_updates(step);
  const auto compiled = compile(step.graph, updates);
  const auto reference = compile(step.graph, updates, {"reference", {}, {}});
  const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", 3}, {"T", 4}});
  Team team(2);
  require_close(step.graph, run_with(*compiled, inputs, team), run_with(*reference, inputs, team),
                1e-10);
}

TEST_CASE("rows are added to a base that is updated in place without a copy of it") {
  Graph graph;
  Builder b(graph);
  const Dim rows = Dim::symbol("C");
  const Value cache = b.input("cache", {DType::f64, {rows, Dim(3)}});
  const Value at = b.input("at", {DType::i64, {Dim(1)}});
  const Value row = b.input("row", {DType::f64, {Dim(1), Dim(3)}});
  const Value next = b.scatter_add(cache, at, row);
  b.output("sum", b.reduce_sum(next, {0}));
  b.output("next", next);
  std::vector<Tensor> inputs = inputs_for(graph, {{"C", 100}});
  inputs[1].set_integer(0, 42);
  const std::vector<Tensor> expected = evaluate(graph, inputs);
  const std::vector<InPlaceUpdate> updates{{"next", "cache"}};
  const auto program = compile(graph, updates);
  CHECK(program->workspace_bytes({{"C", 1000000}}, 1) < 100000);
  Team team(2);
  require_close(graph, run_with(*program, inputs, team), expected, 1e-12);
}
