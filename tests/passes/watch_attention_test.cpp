// Which softmaxes are attention, what they are called, and that their weights
// are those of the softmax.
#include "passes/watch_attention.h"

#include <fmt/format.h>

#include "ir/eval/evaluate.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

WatchedAttentions watched(const std::string& body) {
  return watch_attention(
      program("model M(x: real[T, 4], y: real[S, 4]) {\n" + body + "\n}\n").model("M", Mode::eval));
}

std::size_t found(const std::string& body) { return watched(body).attentions.size(); }

}  // namespace

TEST_CASE("a softmax that weighs other values along its axis is attention") {
  CHECK(found("return r: softmax(x @ transpose(y)) @ y") == 1);
  CHECK(found("return r: transpose(y) @ transpose(softmax(x @ transpose(y)))") == 1);
  CHECK(found("return r: sum(spread(softmax(x[:, 0]), 4) * x, axis: 0)") == 1);
  CHECK(found("return r: (2 * softmax(x @ transpose(y), axis: 0)) @ y") == 0);  // the other axis
  CHECK(found("return r: transpose(softmax(x @ transpose(y), axis: 0)) @ x") == 1);
  CHECK(found("return r: softmax(x @ transpose(y))") == 0);
  CHECK(found("a = softmax(x @ transpose(y))\n  return r: -sum(a * log(a))") == 0);
  CHECK(found("a = softmax(x @ transpose(y))\n  b = softmax(y @ transpose(x))\n"
              "  return r: a @ y, q: b @ x") == 2);
}

TEST_CASE("an attention is called after the instance that its parameters share") {
  const WatchedAttentions all = watched(
      "x = EncoderLayer[2](x)\n  m = MultiHead[2](x, memory: y)\n"
      "  q, k, v = split(dense[12](x), 3)\n  w = softmax(q @ transpose(k)) @ v\n"
      "  return a: m, b: w, c: attention(dense[4](x), dense[4](y), y)");
  REQUIRE(all.attentions.size() == 4);
  CHECK(all.attentions[0].path == "encoder_layer.attention");
  CHECK(all.attentions[1].path == "multi_head");
  CHECK(all.attentions[2].path == "dense");
  CHECK(all.attentions[3].path.empty());
  CHECK(all.attentions[0].keys == 2);
  CHECK(all.attentions[0].value_inputs == std::set<std::string>{"x"});
  CHECK(all.attentions[1].value_inputs == std::set<std::string>{"y"});
  CHECK(all.graph.outputs().size() == 4);
}

TEST_CASE("the weights of steps within steps come out, each with its rows") {
  const char* const text = R"(
cell Inner[S](x: real[2], (h, keys): (real[2], real[S, 2])) {
  h = softmax(keys @ (x + h)) @ keys
  yield h, (h, keys)
}
cell Outer[R, S](x: real[R, 2], (h, keys): (real[2], real[S, 2])) {
  rows, _ = scan Inner over x from (h, keys)
  h = mean(rows, axis: 0)
  yield h, (h, keys)
}
model M(x: real[T, 3, 2], keys: real[S, 2]) {
  ys, _ = scan Outer over x from (zeros, keys)
  return y: ys
}
)";
  const Graph model = program(text).model("M", Mode::eval);
  const WatchedAttentions all = watch_attention(model);
  REQUIRE(all.attentions.size() == 1);
  CHECK(all.attentions[0].scans == 2);
  CHECK(all.attentions[0].keys == 2);
  CHECK(all.attentions[0].value_inputs == std::set<std::string>{"keys"});
  const DimEnv env{{"T", 2}, {"S", 5}};
  const std::vector<Tensor> inputs = inputs_for(all.graph, env);
  const Tensor weights = evaluate(all.graph, inputs)[0];
  REQUIRE(weights.shape() == Shape{2, 3, 5});
  // The same by hand.
  const Tensor &x = inputs[0], &keys = inputs[1];
  double h[2] = {};
  for (std::int64_t t = 0; t < 2; ++t) {
    double mean[2] = {}, inner[2] = {h[0], h[1]};
    for (std::int64_t r = 0; r < 3; ++r) {
      double e[5], sum = 0;
      for (std::int64_t s = 0; s < 5; ++s) {
        double score = 0;
        for (std::int64_t j = 0; j < 2; ++j)
          score += keys.get(s * 2 + j) * (x.get((t * 3 + r) * 2 + j) + inner[j]);
        sum += e[s] = std::exp(score);
      }
      inner[0] = inner[1] = 0;
      for (std::int64_t s = 0; s < 5; ++s) {
        CHECK(weights.get((t * 3 + r) * 5 + s) == Approx(e[s] / sum).epsilon(1e-12));
        for (std::int64_t j = 0; j < 2; ++j) inner[j] += e[s] / sum * keys.get(s * 2 + j);
      }
      for (std::int64_t j = 0; j < 2; ++j) mean[j] += inner[j] / 3;
    }
    h[0] = mean[0], h[1] = mean[1];
  }
}
