// What attention must and must not see.
#include <cmath>

#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/differentiate.h"
#include "tests/catch.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr std::int64_t rows = 5;

Graph encoder(const std::string& input, const std::string& settings = {}) {
  return program("model M(x: real[T, 4]) { return y: EncoderLayer[2](" + input + settings + ") }")
      .model("M", Mode::eval);
}

std::size_t index_of(const Graph& graph, const std::string& name) {
  for (std::size_t i = 0; i < graph.inputs().size(); ++i)
    if (graph.node(graph.inputs()[i]).attributes.string("name") == name) return i;
  FAIL("no input " << name);
  return 0;
}

// The rows in another order: row t is old row (t + 2) % T.
Tensor turned(const Tensor& x) {
  Tensor out = x;
  const std::int64_t width = x.size() / x.shape()[0];
  for (std::int64_t i = 0; i < x.size(); ++i) out.set(i, x.get((i + 2 * width) % x.size()));
  return out;
}

double largest_difference(const Tensor& x, const Tensor& y, std::int64_t elements) {
  double out = 0;
  for (std::int64_t i = 0; i < elements; ++i) out = std::max(out, std::abs(x.get(i) - y.get(i)));
  return out;
}

// What turning the rows of x changes, beyond turning those of y.
double order_matters(const Graph& graph) {
  std::vector<Tensor> inputs = random_inputs(graph, {{"T", rows}}, 3);
  const Tensor expected = turned(evaluate(graph, inputs)[0]);
  Tensor& x = inputs[index_of(graph, "x")];
  x = turned(x);
  const Tensor found = evaluate(graph, inputs)[0];
  return largest_difference(found, expected, found.size());
}

// What a change of the last row does to the rows before it.
double later_row_matters(const Graph& graph) {
  std::vector<Tensor> inputs = random_inputs(graph, {{"T", rows}}, 3);
  const Tensor before = evaluate(graph, inputs)[0];
  Tensor& x = inputs[index_of(graph, "x")];
  for (std::int64_t i = 0; i < 4; ++i) x.set((rows - 1) * 4 + i, 2.0 - static_cast<double>(i));
  const Tensor after = evaluate(graph, inputs)[0];
  CHECK(largest_difference(before, after, before.size()) > 1e-3);
  return largest_difference(before, after, (rows - 1) * 4);
}

}  // namespace

TEST_CASE("without positions an encoder does not see the order of its rows, with them it does") {
  CHECK(order_matters(encoder("x")) < 1e-12);
  CHECK(order_matters(encoder("x", ", pre_norm: false")) < 1e-12);
  for (const std::string input : {"sinusoidal_positions(x)", "learned_positions[9](x)"})
    CHECK(order_matters(encoder(input)) > 1e-3);
  for (const std::string settings : {", rotary: true", ", bias: alibi[2, T]()"})
    CHECK(order_matters(encoder("x", settings)) > 1e-3);
}

TEST_CASE("rotary positions and ALiBi see distances, not places") {
  // The scores of rows that are all alike.
  const Graph graph = program(
                          "model M(a: real[4], b: real[4]) {\n"
                          "  q = rotary_positions(transpose(spread(a, 6)))\n"
                          "  k = rotary_positions(transpose(spread(b, 6)))\n"
                          "  return scores: q @ transpose(k), bias: alibi[2, 6]()\n}")
                          .model("M", Mode::eval);
  const std::vector<Tensor> found = evaluate(graph, random_inputs(graph, {}, 3));
  const Tensor &scores = found[0], &bias = found[1];
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t s = 0; s < 6; ++s) {
      const std::int64_t first = t > s ? (t - s) * 6 : s - t;  // as far apart, from place 0 on
      CHECK(scores.get(t * 6 + s) == Approx(scores.get(first)).epsilon(1e-12));
      CHECK(bias.get(t * 6 + s) == Approx(static_cast<double>(-std::abs(t - s)) / 16));
      CHECK(bias.get(36 + t * 6 + s) == Approx(static_cast<double>(-std::abs(t - s)) / 256));
    }
  CHECK(std::abs(scores.get(1) - scores.get(6)) > 1e-3);
}

TEST_CASE("under a causal mask a row does not depend on later ones") {
  for (const std::string settings : {"", ", rotary: true", ", pre_norm: false"}) {
    CHECK(later_row_matters(encoder("x", settings + ", mask: causal_mask[T]()")) < 1e-12);
    CHECK(later_row_matters(encoder("x", settings)) > 1e-3);
  }
}

TEST_CASE("a row that sees nothing gives zeros, and its gradients are zero") {
  // Row 0 sees nothing, row 1 sees row 0, row 2 sees rows 0 and 1.
  const std::string mask = "spread(iota(3), 3) > iota(3)";
  for (const std::string& how :
       {", mask: " + mask, ", bias: where(" + mask + ", 0.0, -infinity)"}) {
    Graph graph = program(
                      "model M(q: real[2, 3, 4], k: real[2, 3, 4], v: real[2, 3, 4]) {\n"
                      "  return y: attention(q, k, v" +
                      how + ")\n}")
                      .model("M", Mode::eval);
    const std::vector<Tensor> inputs = random_inputs(graph, {}, 3);
    Graph loss = asymmetric_loss(graph);
    DifferentiateOptions options;
    options.wrt = {"q", "k", "v"};
    const Graph gradients = differentiate(loss, options);
    const std::vector<Tensor> y = evaluate(graph, inputs);
    const std::vector<Tensor> found = evaluate(gradients, inputs);
    const auto of = [&](const std::string& name) -> const Tensor& {
      for (std::size_t i = 0; i < gradients.outputs().size(); ++i)
        if (gradients.outputs()[i].name == name) return found[i];
      FAIL("no output " << name);
      return found[0];
    };
    for (std::int64_t head = 0; head < 2; ++head)
      for (std::int64_t i = 0; i < 4; ++i) {
        CHECK(y[0].get(head * 12 + i) == 0);
        CHECK(of("grad:q").get(head * 12 + i) == 0);      // of row 0
        CHECK(of("grad:k").get(head * 12 + 8 + i) == 0);  // nobody sees row 2
        CHECK(of("grad:v").get(head * 12 + 8 + i) == 0);
        CHECK(y[0].get(head * 12 + 4 + i) != 0);
        CHECK(of("grad:v").get(head * 12 + i) != 0);
      }
    for (const Tensor& tensor : found)
      for (std::int64_t i = 0; i < tensor.size(); ++i) CHECK(std::isfinite(tensor.get(i)));
  }
}
