// What follows from fixed parameters alone is computed once, and never stale.
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/model_runner.h"
#include "driver/parameters.h"
#include "passes/batch.h"
#include "runtime/profile.h"
#include "runtime/resident_memory.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ragged/support.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;

namespace {

using Values = std::map<std::string, Tensor>;

Graph forward(const std::string& lines, DType real = DType::f32) {
  const std::string text = "model M(x: real[T, 24]) {\n" + lines + "}\n";
  return batch(program(text, real).model("M", Mode::eval));
}

const char* const layers =
    "  y, _ = scan LSTM[24, 20] over x\n"
    "  z, _ = scan reverse GRU[20, 18] over y\n"
    "  return z: dense[5](z)\n";

// Pointwise work on parameters, a sum of them, a product of two, in front of a product
// and of a loop.
const char* const made_of_parameters =
    "  param a, b: real[24, 20] ~ normal(0, 0.3)\n"
    "  param scale: real[20] ~ normal(0, 1)\n"
    "  param u: real[20, 20] ~ normal(0, 0.2)\n"
    "  w = exp(a) * tanh(b) / sum(square(a))\n"
    "  y, _ = scan RNN[20, 17] over tanh(x @ w + log(1 + square(scale)) @ u)\n"
    "  return y: y, v: x @ (b @ (u @ u))\n";

Values parameters_of(const Graph& graph, const std::vector<Tensor>& inputs) {
  Values out;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (const Node& node = graph.node(graph.inputs()[i]); node.op == Op::parameter)
      out.emplace(node.attributes.string("name"), inputs[i]);
  return out;
}

std::vector<Tensor> with_values(const Graph& graph, std::vector<Tensor> inputs,
                                const Values& parameters) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (const Node& node = graph.node(graph.inputs()[i]); node.op == Op::parameter)
      inputs[i] = parameters.at(node.attributes.string("name"));
  return inputs;
}

Values scaled(Values values, double by) {
  for (auto& [name, tensor] : values)
    for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, by * tensor.get(i));
  return values;
}

FixedValues shared(const Values& values) { return std::make_shared<const Values>(values); }

// A run that is given the fixed values themselves, and the other inputs.
std::vector<Tensor> run_fixed(Program& program, const std::vector<Tensor>& inputs, Team& team) {
  std::vector<const Tensor*> given;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    given.push_back(program.fixed(i) != nullptr ? program.fixed(i) : &inputs[i]);
  return run(program, given, team);
}

void require_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(treadle::same_bits(a[i], b[i]));
}

// One program with fixed parameters, in runs that differ in the number of threads and
// in `inputs`, under two sets of values, against one that computes all in each run.
void check(const Graph& graph, const std::vector<std::vector<Tensor>>& inputs,
           const CompileOptions& options) {
  const auto plain = compile(graph, {}, options);
  const auto fixing = compile(graph, {}, with_fixed_parameters(options, graph));
  Team one(1), two(2), three(3);
  const Values first = parameters_of(graph, inputs[0]);
  for (const Values& values : {first, scaled(first, -0.7), first}) {
    fixing->fix(shared(values));
    for (int again = 0; again < 2; ++again)
      for (const std::vector<Tensor>& some : inputs) {
        const std::vector<Tensor> all = with_values(graph, some, values);
        const std::vector<Tensor> expected = run_with(*plain, all, one);
        for (Team* team : {&two, &one, &three, &three})
          require_same_bits(run_fixed(*fixing, all, *team), expected);
      }
  }
}

std::vector<std::vector<Tensor>> of_extents(const Graph& graph) {
  std::vector<std::vector<Tensor>> out;
  for (const auto& [rows, length] : {std::pair(1, 3), std::pair(40, 2), std::pair(7, 5)})
    out.push_back(inputs_for(graph, {{"B", rows}, {"T", length}}));
  return out;
}

}  // namespace

TEST_CASE("with fixed parameters a program gives the same bits, whatever else changes") {
  for (const char* lines : {layers, made_of_parameters})
    for (const DType real : {DType::f32, DType::f64})
      for (const char* backend : {"llvm", "onednn", "reference"}) {
        INFO(lines << to_string(real) << " " << backend);
        if (real == DType::f64 && std::string(backend) == "onednn") continue;  // f32 alone
        const Graph graph = forward(lines, real);
        check(graph, of_extents(graph), {backend, {}, {}});
      }
  CompileOptions bf16;
  for (const bool pairs : {false, true}) {
    bf16.bf16_products = true;
    bf16.bf16_pairs = pairs;
    const Graph graph = forward(layers);
    check(graph, of_extents(graph), bf16);
  }
}

TEST_CASE("so do gradients by fixed parameters, and batches of different lengths") {
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph graph = batched_gradient(loss);
    check(graph, of_extents(graph), {"llvm", {}, {}});
    const RaggedCase shorter(loss, {{"T", {4, 2, 1}}}), longer(loss, {{"T", {7, 7, 3, 2, 2}}});
    check(longer.batch(), {shorter.inputs(), longer.inputs()}, {"llvm", {}, {}});
  }
}

TEST_CASE("packed weights are those of the first run until values are fixed anew") {
  const Graph graph = forward(
      "  param a: real[24, 20] ~ normal(0, 0.3)\n"
      "  y, _ = scan RNN[20, 17] over x @ exp(a)\n"
      "  return y: y\n");
  for (const char* backend : {"llvm", "onednn"})
    for (const bool cached : {false, true}) {
      INFO(backend << (cached ? ", from the cache" : ""));
      const TemporaryFolder folder;
      CompileOptions options = with_fixed_parameters({backend, {}, {}}, graph);
      if (cached) {
        options.cache = folder.path();
        compile(graph, {}, options);
      }
      const CompileStats before = llvm_compile_stats();
      const auto program = compile(graph, {}, options);
      CHECK((llvm_compile_stats().cache_hits > before.cache_hits) == cached);
      const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 3}, {"T", 4}});
      Team team(2);
      const FixedValues values = shared(parameters_of(graph, inputs));
      program->fix(values);
      const std::vector<Tensor> expected = run_fixed(*program, inputs, team);
      // Nobody else does this. The bias is read where it stands.
      for (const auto& [name, tensor] : *values)
        for (std::int64_t i = 0; tensor.shape().size() == 2 && i < tensor.size(); ++i)
          const_cast<Tensor&>(tensor).set(i, NAN);
      require_same_bits(run_fixed(*program, inputs, team), expected);
      program->fix(values);
      CHECK(std::isnan(run_fixed(*program, inputs, team)[0].get(0)));
    }
}

TEST_CASE("a run that is given other memory than the fixed values computes all from that") {
  const Graph graph = forward(layers);
  const auto plain = compile(graph, {}, {"llvm", {}, {}});
  const auto program = compile(graph, {}, with_fixed_parameters({"llvm", {}, {}}, graph));
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 3}, {"T", 4}});
  const Values other = scaled(parameters_of(graph, inputs), 0.6);
  const std::vector<Tensor> others = with_values(graph, inputs, other);
  Team team(2);
  const std::vector<Tensor> expected = run_with(*plain, inputs, team);
  const std::vector<Tensor> of_others = run_with(*plain, others, team);
  // Nothing is fixed; then it is; and no longer.
  require_same_bits(run_with(*program, inputs, team), expected);
  require_same_bits(run_with(*program, others, team), of_others);
  program->fix(shared(parameters_of(graph, inputs)));
  for (int again = 0; again < 2; ++again) {
    require_same_bits(run_fixed(*program, inputs, team), expected);
    require_same_bits(run_with(*program, others, team), of_others);
  }
  // A part of the names.
  program->fix(shared({*other.begin()}));
  require_same_bits(run_fixed(*program, others, team), of_others);
  program->fix(nullptr);
  for (std::size_t i = 0; i < program->inputs().size(); ++i) CHECK(program->fixed(i) == nullptr);
  require_same_bits(run_with(*program, others, team), of_others);
}

TEST_CASE("a profile counts no kernel that ran once, before") {
  const Graph graph = forward(made_of_parameters);
  Profile profile;
  CompileOptions options = with_fixed_parameters({"llvm", {}, {}, &profile}, graph);
  const auto program = compile(graph, {}, options);
  const std::vector<KernelRow> rows = compiled_kernels(lower(graph, options), {}, options.fixed);
  const DimEnv extents{{"B", 5}, {"T", 3}};
  const std::vector<Tensor> inputs = inputs_for(graph, extents);
  program->fix(shared(parameters_of(graph, inputs)));
  Team team(2);
  std::map<std::string, int> kinds;
  for (const bool first : {true, false}) {
    run_fixed(*program, inputs, team);
    const RunTimes times = profile.times();
    for (const RunTimes::Thread& thread : times.threads) {
      REQUIRE(thread.kernels.size() == rows.size());
      for (std::size_t k = 0; k < rows.size(); ++k) {
        INFO(k << " " << rows[k].kind << " " << rows[k].description);
        const std::int64_t expected =
            rows[k].prepares ? (first ? 1 : 0) : rows[k].times.evaluate(extents);
        CHECK(thread.kernels[k].calls == expected);
        kinds[rows[k].kind] += rows[k].prepares ? 1 : 0;
      }
    }
  }
  // Packed are w, scale's u, u, b, b's product, and the loop's two weights.
  CHECK(kinds.at("pack") >= 6);
  CHECK(kinds.at("matmul") >= 2);
  CHECK(kinds.at("fused") >= 2);
  for (const KernelRow& row : compiled_kernels(lower(graph, options), {})) CHECK(!row.prepares);
}

// As `treadle memory --measure` does.
TEST_CASE("what is kept is in the prediction of memory") {
  const Graph graph = batch(program("model M(x: real[2048]) {\n"
                                    "  return y: dense[2048](dense[2048](x))\n"
                                    "}\n",
                                    DType::f32)
                                .model("M", Mode::eval));
  const auto program = compile(graph, {}, with_fixed_parameters({"llvm", {}, {}}, graph));
  const DimEnv extents{{"B", 2}};
  constexpr std::size_t weights = 2 * 2048 * 2048 * sizeof(float);
  const std::size_t predicted = program->workspace_bytes(extents, 2);
  CHECK(predicted > weights);
  CHECK(predicted < weights * 101 / 100);
  const std::vector<Tensor> inputs = inputs_for(graph, extents);
  program->fix(shared(parameters_of(graph, inputs)));
  Team team(2);
  const bool counted = reset_peak_resident();
  const std::size_t before = peak_resident_bytes();
  run_fixed(*program, inputs, team);
  if (counted && before > 0)
    CHECK(static_cast<double>(peak_resident_bytes() - before) ==
          Approx(static_cast<double>(predicted)).epsilon(0.1));
}

TEST_CASE("a runner of models computes with the parameters that it was given last") {
  const Graph model =
      program("model M(x: real[T, 24]) {\n" + std::string(made_of_parameters) + "}\n")
          .model("M", Mode::eval);
  const auto results = [](ModelRunner& runner, std::int64_t length) {
    Tensor x(DType::f64, {3, length, 24});
    for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, 0.01 * static_cast<double>(i % 17));
    std::vector<Tensor> out;
    for (auto& [name, tensor] : runner.run({{"x", x}}, 3)) out.push_back(std::move(tensor));
    return out;
  };
  const Values values = initial_parameters(model, 1), others = initial_parameters(model, 2);
  ModelRunner runner(model, values, {"llvm", {}, {}}, 2);
  for (const Values& now : {values, others, values}) {
    runner.set_parameters(now);
    ModelRunner fresh(model, now, {"reference", {}, {}}, 1);
    for (const std::int64_t length : {4, 2, 4}) {
      const std::vector<Tensor> found = results(runner, length);
      const std::vector<Tensor> expected = results(fresh, length);
      for (std::size_t i = 0; i < found.size(); ++i) CHECK(close(found[i], expected[i], 1e-10));
    }
  }
}
