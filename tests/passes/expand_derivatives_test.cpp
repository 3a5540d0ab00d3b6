// grad, jvp and hvp in programs, against differences and against one another.
#include "passes/expand_derivatives.h"

#include <cmath>

#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

const DimEnv env{{"T", 4}};

Graph model(const std::string& text) { return program(text).model("M", Mode::eval); }

using Results = std::map<std::string, Tensor>;
Results run(const Graph& graph, const std::vector<Tensor>& inputs) {
  const Graph expanded = expand_derivatives(graph);
  const std::vector<Tensor> found = evaluate(expanded, inputs);
  Results out;
  for (std::size_t i = 0; i < found.size(); ++i) out[expanded.outputs()[i].name] = found[i];
  return out;
}
Results run(const std::string& text) {
  const Graph graph = model(text);
  return run(graph, inputs_for(graph, env));
}

void require_same(const Tensor& a, const Tensor& b, double tolerance) {
  std::string why;
  const bool same = close(a, b, tolerance, &why);
  INFO(why);
  CHECK(same);
}

double inner(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) sum += a.get(i) * b.get(i);
  return sum;
}

// Output `name` at x + step * direction, x being the graph's input of that name.
Tensor moved(const Graph& graph, std::vector<Tensor> inputs, const std::string& name,
             const std::string& x, const Tensor& direction, double step) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (graph.node(graph.inputs()[i]).attributes.string("name") == x)
      for (std::int64_t k = 0; k < inputs[i].size(); ++k)
        inputs[i].set(k, inputs[i].get(k) + step * direction.get(k));
  return run(graph, inputs).at(name);
}

// Along the direction, by central differences of fourth order.
Tensor slope(const Graph& graph, const std::vector<Tensor>& inputs, const std::string& name,
             const std::string& x, const Tensor& direction) {
  constexpr double h = 1e-3;
  const auto at = [&](double step) { return moved(graph, inputs, name, x, direction, step); };
  const Tensor a = at(-2 * h), b = at(-h), c = at(h), d = at(2 * h);
  Tensor out(a.dtype(), a.shape());
  for (std::int64_t i = 0; i < out.size(); ++i)
    out.set(i, (a.get(i) - 8 * b.get(i) + 8 * c.get(i) - d.get(i)) / (12 * h));
  return out;
}

// Models of x: real[T, 3] that end in the rows `y`.
const std::map<std::string, std::string> bodies = {
    {"LSTM", "  y, _ = scan LSTM[3, 4] over x\n"},
    {"LSTM, two layers", "  y, _ = scan stack 2 of LSTM[3, 3] over x\n"},
    {"GRU, reversed", "  y, _ = scan reverse GRU[3, 2] over x\n"},
    {"peephole LSTM", "  y, _ = scan PeepholeLSTM[3, 2] over x\n"},
    {"both directions", "  y = BiLSTM[2](x)\n"},
    {"attention",
     "  q, k, c = split(dense[6](x), 3)\n  y = softmax(q @ transpose(k) / sqrt(2)) @ c\n"},
};

std::string with(const std::string& body, const std::string& rest) {
  return "model M(x: real[T, 3], v: real[T, 3], u: real[T, 3]) {\n" + body +
         "  value = sum(sin(y) * (1 + 0.3 * y))\n" + rest + "}\n";
}

}  // namespace

TEST_CASE("grad in a program equals finite differences, and so do its own gradients") {
  for (const auto& [name, body] : bodies) {
    INFO(name);
    const Graph graph = model(with(body, "  return value: value, slope: grad(value, x)\n"));
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const Results found = run(graph, inputs);
    const Tensor& direction = inputs[1];
    CHECK(inner(found.at("slope"), direction) ==
          Approx(slope(graph, inputs, "value", "x", direction).get(0)).epsilon(1e-8));
    GradcheckOptions options;
    options.order = 2;
    const Graph loss = asymmetric_loss(graph);
    for (const GradcheckRow& row : gradcheck(loss, inputs_for(loss, env), options)) {
      INFO(row.name << " order " << row.order << ": " << row.error << " of " << row.largest);
      CHECK(row.passed);
    }
  }
}

TEST_CASE("jvp equals finite differences, and reverse mode transposed") {
  for (const auto& [name, body] : bodies) {
    INFO(name);
    const Graph graph = model(with(body,
                                   "  return y: y, along: jvp(y, x, v), pull: grad(value, x),\n"
                                   "    push: jvp(value, x, v)\n"));
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const Results found = run(graph, inputs);
    require_same(found.at("along"), slope(graph, inputs, "y", "x", inputs[1]), 1e-8);
    CHECK(found.at("push").get(0) == Approx(inner(found.at("pull"), inputs[1])).epsilon(1e-12));
  }
}

TEST_CASE("hvp is the jvp of grad, the gradient of a slope, and what differences give") {
  for (const auto& [name, body] : bodies) {
    INFO(name);
    const Graph graph = model(with(body,
                                   "  g = grad(value, x)\n"
                                   "  return g: g, hvp: hvp(value, x, v), forward: jvp(g, x, v),\n"
                                   "    reverse: grad(sum(g * v), x), other: hvp(value, x, u)\n"));
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const Results found = run(graph, inputs);
    require_same(found.at("forward"), found.at("hvp"), 1e-12);
    require_same(found.at("reverse"), found.at("hvp"), 1e-12);
    require_same(found.at("hvp"), slope(graph, inputs, "g", "x", inputs[1]), 1e-8);
    // symmetric: <u, H v> = <v, H u>
    CHECK(inner(inputs[2], found.at("hvp")) ==
          Approx(inner(inputs[1], found.at("other"))).epsilon(1e-12));
  }
}

TEST_CASE("derivatives of derivatives to the fourth order") {
  const Results found =
      run("model M(x: real) {\n"
          "  y = sin(x) * x\n"
          "  a = grad(y, x)\n"
          "  b = grad(a, x)\n"
          "  c = jvp(b, x, 1)\n"
          "  return x: x, fourth: grad(c, x), by_pair: grad(a * x, (x, a))\n"
          "}\n");
  const double x = found.at("x").get(0);
  CHECK(found.at("fourth").get(0) == Approx(x * std::sin(x) - 4 * std::cos(x)).epsilon(1e-12));
  const double a = std::sin(x) + x * std::cos(x), b = 2 * std::cos(x) - x * std::sin(x);
  CHECK(found.at("by_pair.0").get(0) == Approx(a + x * b).epsilon(1e-12));
  CHECK(found.at("by_pair.1").get(0) == Approx(x).epsilon(1e-12));
}

TEST_CASE("a gradient in a step is that of the step") {
  const std::string cells =
      "cell Swing[N](force: real[N], (q, p): (real[N], real[N])) {\n"
      "  energy = sum(square(p)) / 2 - sum(cos(q))\n"
      "  p = p - 0.1 * grad(energy, q) + force\n"
      "  energy = sum(square(p)) / 2 - sum(cos(q))\n"
      "  q = q + 0.1 * grad(energy, p)\n"
      "  yield q, (q, p)\n"
      "}\n"
      "cell Written[N](force: real[N], (q, p): (real[N], real[N])) {\n"
      "  p = p - 0.1 * sin(q) + force\n"
      "  q = q + 0.1 * p\n"
      "  yield q, (q, p)\n"
      "}\n";
  const auto with_cell = [&](const std::string& cell) {
    return model(cells + "model M(x: real[T, 3]) {\n  y, _ = scan " + cell +
                 "[3] over x\n  return y: y, g: grad(sum(square(y)), x), t: jvp(y, x, x)\n}\n");
  };
  const Graph a = with_cell("Swing"), b = with_cell("Written");
  const std::vector<Tensor> inputs = inputs_for(a, env);
  Results found = run(a, inputs), expected = run(b, inputs);
  for (const auto& [name, tensor] : expected) require_same(found.at(name), tensor, 1e-12);
}

TEST_CASE("values and tangents run through one loop, and so do values and gradients") {
  const Graph graph =
      model(with(bodies.at("LSTM"), "  return y: y, along: jvp(y, x, v), value: value\n"));
  CHECK(count_ops(expand_derivatives(graph), Op::scan) == 1);
  const Graph twice = model(with(bodies.at("LSTM"), "  return value: value, g: grad(value, x)\n"));
  CHECK(count_ops(expand_derivatives(twice), Op::scan) == 2);
  // a direction that depends on the values themselves needs them first
  const Graph after =
      model(with(bodies.at("LSTM"), "  d = x * value\n  return y: y, along: jvp(y, x, d)\n"));
  const std::vector<Tensor> inputs = inputs_for(after, env);
  const Results found = run(after, inputs);
  Tensor direction = inputs[0];
  const double value = run(graph, inputs).at("value").get(0);
  for (std::int64_t i = 0; i < direction.size(); ++i) direction.set(i, direction.get(i) * value);
  require_same(found.at("along"), slope(after, inputs, "y", "x", direction), 1e-8);
}

TEST_CASE("gradients of each example of a batch are those of the examples one by one") {
  const Graph graph = model(
      "model M(x: real[T, 3]) {\n"
      "  param W: real[3, 2] ~ xavier\n"
      "  _, (h, _) = scan LSTM[2, 2] over x @ W\n"
      "  value = sum(square(h))\n"
      "  return by_weights: grad(value, W), norm: sqrt(l2(grad(value, params)))\n"
      "}\n");
  const Graph many = batch(graph);
  const std::vector<Tensor> inputs = inputs_for(many, {{"B", 3}, {"T", 5}});
  const std::vector<Tensor> together = evaluate(many, inputs);
  REQUIRE(together[0].shape() == Shape{3, 3, 2});
  REQUIRE(together[1].shape() == Shape{3});
  for (std::int64_t example = 0; example < 3; ++example) {
    std::vector<Tensor> own = inputs;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (many.node(many.inputs()[i]).op != Op::input) continue;
      own[i] = Tensor(inputs[i].dtype(), {5, 3});
      for (std::int64_t k = 0; k < 15; ++k) own[i].set(k, inputs[i].get(example * 15 + k));
    }
    const Results one = run(graph, own);
    for (std::int64_t k = 0; k < 6; ++k)
      CHECK(together[0].get(example * 6 + k) == Approx(one.at("by_weights").get(k)).epsilon(1e-12));
    CHECK(together[1].get(example) == Approx(one.at("norm").get(0)).epsilon(1e-12));
  }
}

TEST_CASE("stop_gradient stops grad and jvp too") {
  const Results found =
      run("model M(x: real[3]) {\n"
          "  y = sum(x * stop_gradient(square(x)))\n"
          "  return g: grad(y, x), t: jvp(y, x, ones), s: stop_gradient(square(x)),\n"
          "    total: sum(stop_gradient(square(x)))\n"
          "}\n");
  require_same(found.at("g"), found.at("s"), 0);
  CHECK(found.at("t").get(0) == Approx(found.at("total").get(0)).epsilon(1e-15));
}

TEST_CASE("derivatives that cannot be are mistakes with a code") {
  const auto codes = [](const std::string& body) {
    return codes_of("model M(x: real[3], k: token(5)) {\n" + body + "}\n");
  };
  using Codes = std::set<std::string>;
  CHECK(codes("  return g: grad(x, x)\n").contains("T0371"));
  CHECK(codes("  return g: grad(sum(x), k)\n").contains("T0372"));
  CHECK(codes("  return g: grad(sum(x), 3)\n").contains("T0372"));
  CHECK(codes("  return g: grad(sum(real(argmax(x))), x)\n").contains("T0373"));
  CHECK(codes("  return g: grad(sum(real(x > 0)), x)\n").contains("T0373"));
  CHECK(codes("  return g: jvp(x, x, k)\n").contains("T0375"));
  CHECK(codes("  return g: jvp(x, x, x[1:])\n").contains("T0375"));
  CHECK(codes("  return g: grad(sum(x))\n").contains("T0334"));
  CHECK(codes("  return g: grad(sum(x), stop_gradient(x)), k: k\n") == Codes{"T0511"});
  CHECK(codes("  return g: grad(sum(stop_gradient(x)), x), k: k\n") == Codes{"T0511"});
  CHECK(codes("  return g: grad(sum(x), x), k: k\n").empty());
  CHECK(codes_of("cell C[H](x: real[H], h: real[H]) {\n  param w: real[H] ~ ones\n"
                 "  h = h * w + x\n  yield grad(sum(h), w), h\n}\n"
                 "model M(x: real[T, 3]) { return y: scan C[3] over x }\n")
            .contains("T0374"));
}
