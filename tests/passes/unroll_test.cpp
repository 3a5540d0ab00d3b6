// A scan is what its unrolled steps are.
#include "passes/unroll.h"

#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/verify.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

void require_same(const Graph& before, const Graph& after, const DimEnv& env) {
  verify(after);
  const std::vector<Tensor> inputs = inputs_for(before, env);
  const std::vector<Tensor> x = evaluate(before, inputs);
  const std::vector<Tensor> y = evaluate(after, inputs);
  REQUIRE(x.size() == y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::string why;
    const bool same = close(y[i], x[i], 1e-10, &why);
    INFO(before.outputs()[i].name << ": " << why);
    CHECK(same);
  }
}

// A reverse scan over the outputs of a forward one, as a loss; T as given.
Graph program(std::int64_t length) {
  auto file = std::make_shared<SourceFile>();
  file->path = "unroll.tdl";
  file->text =
      "model M(x: real[T, 2]) {\n"
      "  forward, _ = scan GRU[2, 3] over x\n"
      "  back, (h, c) = scan reverse LSTM[3, 2] over forward\n"
      "  return loss: sum(sin(back)) + sum(h * c)\n"
      "}\n";
  ElaborateOptions options;
  options.real = DType::f64;
  std::map<std::string, std::int64_t> dims;
  if (length > 0) dims["T"] = length;
  return elaborate_or_throw(std::make_shared<const syntax::Module>(parse_or_throw(std::move(file))),
                            options)
      .model("M", Mode::eval, dims);
}

}  // namespace

TEST_CASE("unrolled to the end: no scan is left, values and gradients stay") {
  const Graph loss = program(5);
  const Graph flat = unroll(loss, 0);
  CHECK(count_ops(flat, Op::scan) == 0);
  require_same(loss, flat, {});
  const Graph gradient = differentiate(loss);
  require_same(gradient, differentiate(flat), {});  // unrolled BPTT
  require_same(gradient, unroll(gradient, 0), {});
  require_same(directional_slope(loss), directional_slope(flat), {});  // second order
}

TEST_CASE("K steps a turn and a remainder, at any length") {
  const Graph loss = program(0);
  const Graph gradient = differentiate(loss);
  for (const std::int64_t steps : {1, 2, 3}) {
    const Graph blocks = unroll(loss, steps);
    const Graph behind = unroll(gradient, steps);
    const Graph before = differentiate(blocks);
    for (const std::int64_t length : {0, 1, 2, 3, 4, 6, 7}) {
      INFO("K = " << steps << ", T = " << length);
      require_same(loss, blocks, {{"T", length}});
      require_same(gradient, behind, {{"T", length}});
      require_same(gradient, before, {{"T", length}});
    }
  }
}

TEST_CASE("a symbolic length is not unrolled to the end") {
  const Graph loss = program(0);
  CHECK(count_ops(unroll(loss, 0), Op::scan) == 2);
}

TEST_CASE("scan ... unroll K is what the program asked for, with the same gradients") {
  const auto model = [](const std::string& how) {
    return program("model M(x: real[T, 3], z: real[5, 3]) {\n  a, _ = scan LSTM[3, 2] over x" +
                   how + "\n  b, _ = scan GRU[3, 2] over z" + (how.empty() ? "" : " unroll") +
                   "\n  return loss: sum(square(a)) + sum(b * b * b)\n}\n")
        .model("M", Mode::train);
  };
  const Graph plain = model(""), written = model(" unroll 3");
  CHECK(test::count_ops(plain, Op::scan) == 2);
  const Graph unrolled = unroll_as_written(written);
  CHECK(test::count_ops(unrolled, Op::scan) == 2);  // three steps a turn, and the rest
  CHECK(same_graph(unroll_as_written(plain), plain));
  // Training does it by itself.
  const Graph step = make_training_step(written, {}).graph;
  const Graph expected = make_training_step(plain, {}).graph;
  CHECK(test::count_ops(step, Op::scan) == 4);
  for (const std::int64_t length : {1, 3, 7}) {
    const std::vector<Tensor> inputs = test::step_inputs(expected, {{"B", 2}, {"T", length}});
    const std::vector<Tensor> x = evaluate(expected, inputs), y = evaluate(step, inputs);
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::string why;
      const bool same = test::close(y[i], x[i], 1e-10, &why);
      INFO(expected.outputs()[i].name << ": " << why);
      CHECK(same);
    }
  }
  try {
    program("model M(x: real[T, 3]) {\n  a, _ = scan RNN[3, 3] over x unroll\n  return y: a\n}\n");
    FAIL("a scan of unknown length was written out");
  } catch (const UserError& error) {
    CHECK(error.diagnostics().at(0).code == "T0349");
  }
}
