// Loops of which one follows the other some turns behind, each run by half of the threads.
#include <algorithm>
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/step_profile.h"
#include "ir/eval/evaluate.h"
#include "passes/training_step.h"
#include "runtime/profile.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// How many loops have another one some turns behind.
std::int64_t layers_of(const Graph& whole) {
  const Graph graph = lower(whole);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  using Layer = treadle::Step::Layer;
  std::int64_t out = 0;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].layer != Layer::first) {
      CHECK(plan.steps[i].layer == Layer::none);
      continue;
    }
    ++out;
    CHECK(plan.steps[i].kind == treadle::Step::Kind::scan);
    while (plan.steps[++i].layer != Layer::second)
      CHECK(plan.steps[i].kind != treadle::Step::Kind::scan);
    CHECK(plan.steps[i].kind == treadle::Step::Kind::scan);
  }
  return out;
}

// The evaluator's results, and the same bits for any number of threads.
void check_results(const TrainingStep& step, const std::vector<DimEnv>& extents,
                   std::set<int> numbers = {1, 2, 3, 4, 8}) {
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  for (const DimEnv& env : extents) {
    INFO(env.at("B") << " rows, " << env.at("T") << " steps");
    const auto tolerance = env.at("T") > 0 ? std::optional(1e-10) : std::nullopt;
    require_same_for_threads(step.graph, *program, step_inputs(step.graph, env), tolerance,
                             numbers);
  }
}

DimEnv extents_of(std::int64_t rows, std::int64_t length) { return {{"B", rows}, {"T", length}}; }

// One phase and less, whole phases and parts of one; rows for two threads, but not for more.
std::vector<DimEnv> all_extents() {
  std::vector<DimEnv> out;
  for (const std::int64_t rows : {1, 2, 3, 40})
    for (const std::int64_t length : {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 100})
      if (rows < 40 || length < 10) out.push_back(extents_of(rows, length));
  return out;
}

}  // namespace

TEST_CASE("a layer runs some turns behind the one below, as do their gradients") {
  for (const char* cell : {"LSTM", "GRU", "RNN"}) {
    INFO(cell);
    const std::string scan = std::string(", _ = scan ") + cell;
    const Graph loss =
        loss_of_layers("  z" + scan + "[24, 20] over x\n  y" + scan + "[20, 20] over z\n");
    const TrainingStep forward = make_evaluation_step(loss);
    CHECK(layers_of(forward.graph) == 1);
    check_results(forward, all_extents());
    const TrainingStep training = make_training_step(loss, {});
    CHECK(layers_of(training.graph) == 2);
    check_results(training, all_extents());
  }
}

TEST_CASE("long sequences have longer phases") {
  const Graph loss =
      loss_of_layers("  z, _ = scan GRU[24, 8] over x\n  y, _ = scan GRU[8, 8] over z\n");
  check_results(make_training_step(loss, {}), {extents_of(1, 191), extents_of(2, 600)});
}

TEST_CASE("kernels between layers are done for some turns at a time") {
  const std::string first = "  z, _ = scan LSTM[24, 24] over x\n";
  for (const char* rest :
       {"  y, _ = scan LSTM[24, 24] over dropout(z, rate: 0.3)\n",
        "  y, _ = scan LSTM[24, 24] over z + x\n",
        "  w, _ = scan LSTM[24, 24] over z\n  y = w + z + x\n",
        "  w, _ = scan LSTM[24, 24] over layer_norm(z) + x\n  y = dropout(w) + z\n"}) {
    INFO(rest);
    const Graph loss = loss_of_layers(first + rest);
    const std::vector<DimEnv> extents{extents_of(1, 1), extents_of(1, 9), extents_of(2, 13),
                                      extents_of(3, 8), extents_of(40, 9)};
    const TrainingStep forward = make_evaluation_step(loss);
    CHECK(layers_of(forward.graph) == 1);
    check_results(forward, extents);
    const TrainingStep training = make_training_step(loss, {});
    CHECK(layers_of(training.graph) >= 1);
    check_results(training, extents);
  }
}

TEST_CASE("layers with a norm between, whose kernels read what only they read") {
  const Graph loss = loss_of_layers(
      "  z, _ = scan LSTM[24, 24] over x\n  y, _ = scan LSTM[24, 24] over layer_norm(z)\n");
  const std::vector<DimEnv> extents{extents_of(1, 9), extents_of(2, 13), extents_of(3, 8),
                                    extents_of(40, 9)};
  const TrainingStep forward = make_evaluation_step(loss), training = make_training_step(loss, {});
  CHECK(layers_of(forward.graph) == 1);
  CHECK(layers_of(training.graph) == 2);
  check_results(forward, extents);
  check_results(training, extents);
}

TEST_CASE("layers from the last step to the first") {
  const TrainingStep step =
      make_training_step(loss_of_layers("  z, _ = scan reverse GRU[24, 20] over x\n"
                                        "  y, _ = scan reverse GRU[20, 20] over dropout(z)\n"),
                         {});
  CHECK(layers_of(step.graph) == 2);
  check_results(step, {extents_of(1, 9), extents_of(2, 21), extents_of(3, 8), extents_of(40, 9)});
}

TEST_CASE("three layers are two and one more, four are two and two") {
  std::string layers = "  a, _ = scan GRU[24, 20] over x\n  c, _ = scan GRU[20, 20] over a\n";
  const std::vector<DimEnv> extents{extents_of(1, 9), extents_of(2, 12), extents_of(40, 9)};
  const TrainingStep three = make_training_step(
      loss_of_layers(layers + "  y, _ = scan GRU[20, 20] over dropout(c)\n"), {});
  CHECK(layers_of(three.graph) == 2);
  check_results(three, extents);
  layers += "  d, _ = scan GRU[20, 20] over c\n  y, _ = scan GRU[20, 20] over d + c\n";
  const TrainingStep four = make_training_step(loss_of_layers(layers), {});
  CHECK(layers_of(four.graph) >= 3);
  check_results(four, extents);
}

TEST_CASE("last states of both layers, and a layer that begins with states of its own") {
  const TrainingStep step = make_training_step(
      loss_of_layers("  h0, c0 = (mean(x, axis: 0)[0:20], mean(x, axis: 0)[4:24])\n"
                     "  z, (h, c) = scan LSTM[24, 20] over x from (h0, c0)\n"
                     "  w, (k, d) = scan LSTM[20, 20] over z from (c0, h0)\n"
                     "  y = concat(h * w[0], c + z[0]) - concat(k, d)\n"),
      {});
  CHECK(layers_of(step.graph) >= 1);
  check_results(step, {extents_of(1, 9), extents_of(3, 17), extents_of(40, 8)});
}

TEST_CASE("loops of which one waits for all of the other, or takes longer, run one by one") {
  const std::string first = "  z, h = scan GRU[24, 20] over x\n";
  for (const char* rest :
       {"  y, _ = scan reverse GRU[20, 20] over z\n", "  y, _ = scan GRU[20, 20] over z from h\n",
        "  y, _ = scan GRU[20, 20] over z + h\n",
        "  y, _ = scan GRU[20, 20] over attention(z, z, z)\n",
        "  y, _ = scan GRU[20, 20] over z - mean(z, axis: 0)\n",
        "  y, _ = scan GRU[20, 20] over reverse(z, axis: 0)\n",
        "  y, _ = scan GRU[20, 40] over z\n", "  y, _ = scan LSTM[20, 20] over z\n"}) {
    INFO(rest);
    const TrainingStep step = make_training_step(loss_of_layers(first + rest), {});
    CHECK(layers_of(step.graph) == 0);
    check_results(step, {extents_of(1, 9), extents_of(2, 12)});
  }
}

TEST_CASE("a last state is no turn's") {
  const TrainingStep step =
      make_training_step(loss_of_layers("  z, h = scan reverse GRU[24, 20] over x\n"
                                        "  y, _ = scan reverse GRU[20, 20] over z + h\n"),
                         {});
  CHECK(layers_of(step.graph) == 0);
  check_results(step, {extents_of(1, 9), extents_of(12, 12)});
}

TEST_CASE("the same bits in f32 and bf16, and on processors with less") {
  const std::string text =
      "model M(x: real[T, 24]) {\n  z, _ = scan LSTM[24, 40] over x\n"
      "  y, _ = scan LSTM[40, 40] over dropout(z, rate: 0.2)\n  return y: y\n}\n"
      "train M {\n  data npy(\"x.npy\")\n  loss mean(square(y))\n"
      "  optimizer sgd(lr: constant(0.1))\n  epochs 1\n}\n";
  const Experiment experiment = program(text, DType::f32);
  const TrainingStep step =
      make_training_step(experiment.loss(*experiment.find_train(), Mode::train), {});
  for (const char* features : {"", "avx2", "sse"})
    for (const bool bf16 : {false, true}) {
      INFO(features << (bf16 ? " bf16" : ""));
      CompileOptions options{"llvm", features, {}};
      options.bf16_products = bf16;
      const std::unique_ptr<Program> program = compile_step(step, options);
      for (const DimEnv& env : {extents_of(1, 9), extents_of(1, 21), extents_of(3, 14)}) {
        const std::vector<Tensor> inputs = step_inputs(step.graph, env);
        Team alone(1);
        const std::vector<Tensor> first = run_with(*program, inputs, alone);
        if (!bf16) require_close(step.graph, first, evaluate(step.graph, inputs), 1e-4);
        for (const int threads : {2, 3, 4, 8}) {
          INFO(threads << " threads");
          Team team(threads);
          const std::vector<Tensor> found = run_with(*program, inputs, team);
          for (std::size_t i = 0; i < found.size(); ++i)
            REQUIRE(treadle::same_bits(found[i], first[i]));
        }
      }
    }
}

TEST_CASE("both layers' weights must stay in a core's cache") {
  const auto layers = [](const std::string& n) {
    const std::string scan = ", _ = scan RNN[" + n + ", " + n + "] over ";
    return loss_of_layers("  x0 = concat(x, x, x, x)\n  x1, _ = scan RNN[96, " + n +
                          "] over x0\n  y" + scan + "x1\n");
  };
  CHECK(layers_of(make_evaluation_step(layers("270")).graph) == 1);
  CHECK(layers_of(make_evaluation_step(layers("290")).graph) == 0);
}

TEST_CASE("the table of kernels says which loops are layers") {
  const TrainingStep step = make_evaluation_step(
      loss_of_layers("  z, _ = scan GRU[24, 20] over x\n  y, _ = scan GRU[20, 20] over z\n"));
  const std::string table = kernel_table(compiled_kernels(lower(step.graph), {}), {});
  CHECK(table.find(": two loops, one some turns behind the other, each half of the threads' "
                   "where there are few rows") != std::string::npos);
}

TEST_CASE("a profile counts steps between layers once") {
  const TrainingStep step = make_training_step(
      loss_of_layers(
          "  z, _ = scan GRU[24, 20] over x\n  y, _ = scan GRU[20, 20] over dropout(z)\n"),
      {});
  const std::vector<Tensor> inputs = step_inputs(step.graph, extents_of(1, 14));
  Team alone(1);
  const std::vector<Tensor> expected =
      run_with(*compile(step.graph, {}, {"llvm", {}, {}}), inputs, alone);
  for (const int threads : {1, 2, 3, 4}) {
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
