// Rows whose number is a constant, or a sum.
#include <string>

#include "driver/compile.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

void check_results(const std::string& program) {
  INFO(program);
  const Graph loss = mean_square_of(program);
  for (const TrainingStep& step : {make_evaluation_step(loss), make_training_step(loss, {})}) {
    const std::unique_ptr<Program> compiled = compile_step(step, {"llvm", {}, {}});
    for (const std::int64_t rows : {2, 40})
      require_same_for_threads(step.graph, *compiled,
                               step_inputs(step.graph, {{"B", rows}, {"T", 9}}), 1e-10);
  }
}

}  // namespace

// 15, 400 and 1,040 numbers, of which a thread does those of some rows: not whole vectors,
// though all together are.
TEST_CASE("a thread's rows of a kernel whose sizes are all known") {
  const std::string cell = R"(
cell mixing[R, H](x: real[R, H], h: real[R, H]) {
  h = tanh(dense[H](x) + dense[H](h))
  yield h, h
}
)";
  const std::string two_layers = R"(
model M(x: real[5]) {
  param P: real[16, 3, 5] ~ xavier
  z, _ = scan mixing[3, 5] over P
  y, _ = scan mixing[3, 5] over tanh(z) + z
  return y: x * sum(sum(y, axis: 0), axis: 0)
}
)";
  const std::string own_rows = R"(
model M(x: real[5]) {
  param P: real[6, 80, 5] ~ xavier
  y, _ = scan mixing[80, 5] over P
  return y: x * sum(sum(y, axis: 0), axis: 0)
}
)";
  const std::string run_of_rows = R"(
model M(x: real[5]) {
  param P: real[208, 5] ~ xavier
  u = tanh(dense[5](P)) + P
  v = tanh(dense[5](u)) + u
  return y: x * sum(v, axis: 0)
}
)";
  check_results(cell + two_layers);
  check_results(cell + own_rows);
  check_results(run_of_rows);
}

TEST_CASE("as many rows as there are steps, and one more") {
  check_results(R"(
model M(x: real[T, 16]) {
  u = tanh(dense[16](pad(x, 1, 0)))
  return y: tanh(dense[16](u)) + u
}
)");
}
