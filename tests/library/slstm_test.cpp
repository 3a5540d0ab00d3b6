// The sLSTM's stabiliser changes no value and no gradient, and keeps large gates
// finite.
#include <cmath>

#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/differentiate.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

const char* const library =
    "model M(x: real[T, 3]) { y, _ = scan sLSTM[3, 4] over x; return y: y }\n";

// The paper's equations 8 to 14, without a stabiliser.
const char* const plain =
    "cell Plain[I, H](x: real[I], (h, c, n): (real[H], real[H], real[H])) {\n"
    "  param W: real[I, 4*H] ~ xavier\n"
    "  param U: real[H, 4*H] ~ orthogonal\n"
    "  param b: real[4*H] ~ zeros\n"
    "  i, f, z, o = split(x @ W + h @ U + b, 4)\n"
    "  c = sigmoid(f) * c + exp(i) * tanh(z)\n"
    "  n = sigmoid(f) * n + exp(i)\n"
    "  h = sigmoid(o) * c / n\n"
    "  yield h, (h, c, n)\n"
    "}\n"
    "model M(x: real[T, 3]) { y, _ = scan Plain[3, 4] over x; return y: y }\n";

Graph gradients_of(const std::string& text) {
  return differentiate(asymmetric_loss(program(text).model("M", Mode::train)));
}

}  // namespace

TEST_CASE("sLSTM is the plain recurrence, gradients included") {
  const Graph stable = gradients_of(library), direct = gradients_of(plain);
  const std::vector<Tensor> inputs = random_inputs(stable, {{"T", 7}}, 3);
  const std::vector<Tensor> found = evaluate(stable, inputs), expected = evaluate(direct, inputs);
  REQUIRE(found.size() == expected.size());
  REQUIRE(found.size() == 4);  // the loss, three gradients
  require_close(stable, found, expected, 1e-10);
}

TEST_CASE("sLSTM stays finite where exp overflows") {
  const Graph graph = program(library, DType::f32).model("M", Mode::eval);
  std::vector<Tensor> inputs = random_inputs(graph, {{"T", 9}}, 4);
  for (std::int64_t i = 0; i < inputs[0].size(); ++i) inputs[0].set(i, 1000 * inputs[0].get(i));
  const Tensor y = evaluate(graph, inputs)[0];
  double largest = 0;
  for (std::int64_t i = 0; i < y.size(); ++i) {
    REQUIRE(std::isfinite(y.get(i)));
    largest = std::max(largest, std::abs(y.get(i)));
  }
  CHECK(largest > 0.1);
  CHECK(largest <= 1);  // a mean of tanh, gated
}
