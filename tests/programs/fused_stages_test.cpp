// Kernels whose columns are worked out in two stages.
#include "backends/llvm/fused_stages.h"

#include <string>

#include "driver/compile.h"
#include "ir/builder.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

const Dims domain{Dim::symbol("B"), Dim(64)};

struct Body {
  Graph graph;
  Builder b{graph};
  Value argument() { return b.argument({DType::f32, domain}); }
  Value one(Op op, Value x) { return b.add_node(op, {x}, {}); }
  Value two(Op op, Value x, Value y) { return b.add_node(op, {x, y}, {}); }
};

}  // namespace

TEST_CASE("what functions of functions read is worked out before them") {
  Body body;
  const Value i = body.one(Op::sigmoid, body.argument()),
              f = body.one(Op::sigmoid, body.argument());
  const Value g = body.one(Op::tanh, body.argument()), o = body.one(Op::sigmoid, body.argument());
  const Value c = body.two(Op::add, body.two(Op::mul, f, body.argument()), body.two(Op::mul, i, g));
  const Value h = body.two(Op::mul, o, body.one(Op::tanh, c));
  // An LSTM's state and output; with its gates, those that the state needs are kept.
  CHECK(first_stage(body.graph, domain, {c, h}) == std::vector<Value>{c});
  CHECK(first_stage(body.graph, domain, {c, h, i, f, g, o}) == std::vector<Value>{i, f, g, c});
  CHECK_FALSE(first_stage(body.graph, domain, {c}));
}

TEST_CASE("kernels that one stage is enough for, and such as would keep too much, have none") {
  Body body;
  const Value x = body.argument();
  CHECK_FALSE(first_stage(body.graph, domain, {body.two(Op::mul, x, body.one(Op::tanh, x))}));
  // What would be kept is read at another index than the one that is written.
  const Value twice = body.one(Op::tanh, body.one(Op::sigmoid, x));
  const Value half = body.b.slice(twice, 1, Dim(0), Dim(32));
  CHECK_FALSE(first_stage(body.graph, {Dim::symbol("B"), Dim(32)}, {half}));
  std::vector<Value> many;
  for (int i = 0; i < 5; ++i)
    many.push_back(body.one(Op::tanh, body.one(Op::sigmoid, body.argument())));
  CHECK_FALSE(first_stage(body.graph, domain, many));
  many.pop_back();
  CHECK(first_stage(body.graph, domain, many)->size() == 4);
}

TEST_CASE("two stages give what the evaluator gives, whatever the number of columns") {
  for (const int width : {1, 15, 16, 17, 31, 32, 40, 128, 129, 144, 272, 300}) {
    INFO(width << " columns");
    const std::string size = std::to_string(width);
    // The state is written over what it was, by the kernel that reads it.
    const TrainingStep step = make_training_step(mean_square_of(R"(
cell twice[H](x: real[H], (h, c): (real[H], real[H])) {
  param U: real[H, H] ~ orthogonal
  c = sigmoid(x + h @ U) * c + tanh(x)
  h = tanh(c * sigmoid(h)) * sigmoid(x)
  yield h, (h, c)
}
model M(x: real[T, )" + size + R"(]) {
  y, _ = scan twice[)" + size + R"(] over x
  return y: y
}
)"),
                                                 {});
    const auto program = compile_step(step, {"llvm", {}, {}});
    for (const DimEnv& extents : {DimEnv{{"B", 3}, {"T", 4}}, DimEnv{{"B", 33}, {"T", 2}}})
      require_same_for_threads(step.graph, *program, step_inputs(step.graph, extents), 1e-10);
  }
}
