// Products in front of a loop that it computes in its turns, beside a product of one row.
#include <algorithm>
#include <string>

#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/step_profile.h"
#include "ir/builder.h"
#include "passes/batch.h"
#include "runtime/profile.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// How many loops may compute a product in their turns.
std::int64_t interleaved_loops(const Graph& whole) {
  const Graph graph = lower(whole);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  return std::count_if(plan.steps.begin(), plan.steps.end(), [](const treadle::Step& step) {
    return step.kind == treadle::Step::Kind::scan && step.interleaved;
  });
}

// Weights of some hundred units as large as inputs would make rounding grow from turn to turn.
std::vector<Tensor> small_inputs(const Graph& graph, const DimEnv& env) {
  std::vector<Tensor> out = step_inputs(graph, env);
  for (Tensor& tensor : out) {
    if (tensor.dtype() == DType::f64)
      for (double& value : tensor.as<double>()) value *= 0.1;
    if (tensor.dtype() == DType::f32)
      for (float& value : tensor.as<float>()) value *= 0.1F;
  }
  return out;
}

// Blocks of 8 turns, a part of one, and too few turns; with 32 threads each has few weights, so
// that the product stays in front of the loop.
void check_results(const Graph& graph, std::int64_t rows = 1) {
  const std::unique_ptr<Program> program = compile(graph, {}, {"llvm", {}, {}});
  for (const std::int64_t length : {0, 1, 15, 16, 17, 24, 39}) {
    const DimEnv env{{"B", rows}, {"T", length}};
    INFO(rows << " rows, " << length << " steps");
    const auto tolerance = length > 0 ? std::optional(1e-10) : std::nullopt;
    require_same_for_threads(graph, *program, small_inputs(graph, env), tolerance,
                             {1, 2, 3, 4, 32});
  }
}

}  // namespace

TEST_CASE("a loop of one row computes the product in front of it in its turns") {
  for (const char* layer : {"LSTM[24, 100]", "GRU[24, 112]", "RNN[24, 189]"})
    for (const char* direction : {"", "reverse "}) {
      INFO(layer << ' ' << direction);
      const Graph loss =
          loss_of_layers("  y, _ = scan " + std::string(direction) + layer + " over x\n");
      const Graph forward = batch(loss);
      CHECK(interleaved_loops(forward) == 1);
      check_results(forward);
      check_results(forward, 2);
      const Graph gradient = batched_gradient(loss);
      CHECK(interleaved_loops(gradient) >= 1);
      check_results(gradient);
    }
}

TEST_CASE("beside several products of one row, in both directions, with one unit more") {
  const char* several = R"(
cell several[I, H](x: real[I], h: real[H]) {
  param W: real[I, 2 * H] ~ xavier
  param U: real[H, 2 * H] ~ orthogonal
  param V: real[H, H] ~ orthogonal
  a, c = split(x @ W + h @ U, 2)
  h = tanh(a + (sigmoid(c) * h) @ V)
  yield h, h
}
model M(x: real[T, 65]) {
  a, _ = scan several[65, 129] over x
  c, _ = scan reverse several[65, 129] over x
  return y: concat(a, c)
}
)";
  const Graph loss = mean_square_of(several);
  const Graph forward = batch(loss);
  CHECK(interleaved_loops(forward) == 2);
  check_results(forward);
  check_results(batched_gradient(loss));
}

TEST_CASE("two loops at the same time over one product") {
  const Graph loss = mean_square_of(R"(
cell turns[H](z: real[H], h: real[H]) {
  param U: real[H, H] ~ orthogonal
  h = tanh(z + h @ U)
  yield h, h
}
model M(x: real[T, 24]) {
  param V: real[24, 200] ~ xavier
  z = x @ V
  a, _ = scan turns[200] over z
  c, _ = scan reverse turns[200] over z
  return y: concat(a, c)
}
)");
  CHECK(interleaved_loops(loss) == 0);
  check_results(loss);
  check_results(batched_gradient(loss));
}

TEST_CASE("beside products of one row, not of several in a turn") {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T"), S = Dim::symbol("S");
  const Type row{DType::f64, {128}}, matrix{DType::f64, {128, 128}}, memory{DType::f64, {S, 128}};
  const Value x = b.input("x", {DType::f64, {T, 64}});
  const Value v = b.input("V", {DType::f64, {64, 128}});
  const Value u = b.input("U", matrix), w = b.input("W", matrix);
  const Value h0 = b.input("h", row), m = b.input("m", memory);
  const Value z = b.matmul(x, v, {1}, {0});
  Graph body;
  Builder s(body);
  const Value of_u = s.argument(matrix), of_w = s.argument(matrix), of_m = s.argument(memory);
  const Value h = s.argument(row), z_row = s.argument(row);
  const Value seen = s.mul(of_m, s.broadcast(h, {S, 128}, {1}));
  const Value read = s.reduce_sum(s.matmul(s.tanh(seen), of_w, {1}, {0}), {0});
  const Value next = s.tanh(s.add(s.add(z_row, s.matmul(h, of_u, {0}, {0})), read));
  for (int i = 0; i < 2; ++i) body.add_output("", next);
  const std::vector<Value> out =
      b.scan({{u, w, m}, {h0}, {z}, T, false, std::make_shared<const Graph>(body), {}});
  b.output("rows", out[1]);
  CHECK(interleaved_loops(graph) == 1);
  const std::unique_ptr<Program> program = compile(graph, {}, {"llvm", {}, {}});
  for (const std::int64_t rows : {1, 5}) {
    INFO(rows << " rows");
    require_same_for_threads(graph, *program, small_inputs(graph, {{"S", rows}, {"T", 37}}), 1e-10,
                             {1, 2, 3, 8});
  }
}

TEST_CASE("in f32 and bf16, and on processors with less") {
  const std::string text =
      "model M(x: real[T, 24]) {\n  z = BiLSTM[150](x)\n"
      "  y, _ = scan LSTM[300, 160] over dropout(z, rate: 0.2)\n  return y: y\n}\n"
      "train M {\n  data npy(\"x.npy\")\n  loss mean(square(y))\n"
      "  optimizer sgd(lr: constant(0.1))\n  epochs 1\n}\n";
  const Experiment experiment = program(text, DType::f32);
  const Graph graph = batched_gradient(experiment.loss(*experiment.find_train(), Mode::train));
  for (const char* features : {"", "avx2", "sse"})
    for (const bool bf16 : {false, true}) {
      INFO(features << (bf16 ? " bf16" : ""));
      CompileOptions options{"llvm", features, {}};
      options.bf16_products = bf16;
      const std::unique_ptr<Program> program = compile(graph, {}, options);
      for (const std::int64_t length : {15, 16, 41}) {
        INFO(length << " steps");
        const auto tolerance = bf16 ? std::nullopt : std::optional(1e-4);
        require_same_for_threads(graph, *program, small_inputs(graph, {{"B", 1}, {"T", length}}),
                                 tolerance, {1, 2, 3, 4, 32});
      }
    }
}

TEST_CASE("what is read at other turns is computed before") {
  for (const char* layers :
       {"  z = x @ V\n  y, _ = scan LSTM[100, 100] over z + mean(z, axis: 0)\n",
        "  z = x @ V\n  a, h = scan LSTM[100, 100] over z\n"
        "  y = a + z\n"}) {
    INFO(layers);
    const Graph loss = mean_square_of(
        "model M(x: real[T, 24]) {\n"
        "  param V: real[24, 100] ~ xavier\n" +
        std::string(layers) + "  return y: y\n}\n");
    check_results(batch(loss));
    check_results(batched_gradient(loss));
  }
}

TEST_CASE("a profile counts rows where they are computed") {
  const Graph whole = batch(loss_of_layers("  y, _ = scan LSTM[24, 100] over x\n"));
  const Graph graph = lower(whole);
  const std::vector<KernelRow> rows = compiled_kernels(graph, {});
  const auto product = std::find_if(rows.begin(), rows.end(),
                                    [](const KernelRow& row) { return row.beside.has_value(); });
  const bool able = host_target().vector_registers >= 32 && host_target().vector_bytes == 64;
  REQUIRE((product != rows.end()) == able);
  CHECK((kernel_table(rows, {}).find(", 8 rows at a time, where a turn has one row") !=
         std::string::npos) == able);
  if (!able) return;
  const auto number = static_cast<std::size_t>(product - rows.begin());
  Profile profile;
  CompileOptions options{"llvm", {}, {}, &profile};
  const std::unique_ptr<Program> program = compile(whole, {}, options);
  Team team(2);
  for (const std::int64_t batch : {1, 2}) {
    const DimEnv env{{"B", batch}, {"T", 40}};
    run_with(*program, small_inputs(whole, env), team);
    const StepProfile times = profile_of({profile.times()}, rows, env);
    const double all = 2.0 * static_cast<double>(batch) * 40 * 24 * 400;
    const double in_front = batch == 1 ? all / 5 : all;
    CHECK(*times.kernels[number].flops == Approx(in_front));
    CHECK(*times.kernels[product->beside->kernel].flops ==
          Approx(2.0 * static_cast<double>(batch) * 40 * 100 * 400 + all - in_front));
  }
}
