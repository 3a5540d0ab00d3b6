// The gradient by the state at each step, and the gain of a step, against
// formulas written out by hand.
#include "driver/gradient_flow.h"

#include <cmath>
#include <vector>

#include "driver/parameters.h"
#include "ir/eval/evaluate.h"
#include "passes/differentiate.h"
#include "passes/watch_scans.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

const char* const network = R"(
cell Net(x: real, h: real[2]) {
  param U: real[2, 2] ~ normal(0, 1)
  param w: real[2]    ~ normal(0, 1)
  h = tanh(x * w + h @ U)
  yield h, h
}
model M(x: real[T]) {
  hs, last = scan Net over x
  return answer: sum(hs[:, 0]) + 3 * sum(hs[1:, 1] * hs[:T-1, 1])
}
train M {
  data npy("x.npy", "y.npy")
  loss answer * y
}
)";

// Two examples of four steps, and what is found by hand for each.
struct ByHand {
  std::vector<double> gradient, gain;  // [example * steps + t]
};

constexpr std::int64_t examples = 2, steps = 4;

ByHand by_hand(const Tensor& u, const Tensor& w, const Tensor& x, const Tensor& y) {
  ByHand out;
  for (std::int64_t e = 0; e < examples; ++e) {
    double h[steps + 1][2] = {};
    for (std::int64_t t = 0; t < steps; ++t)
      for (int j = 0; j < 2; ++j)
        h[t + 1][j] = std::tanh(x.get(e * steps + t) * w.get(j) + h[t][0] * u.get(j) +
                                h[t][1] * u.get(2 + j));
    double later[2] = {};  // d loss / d h_(t+1), the whole effect
    std::vector<double> gradient(steps);
    for (std::int64_t t = steps; t >= 1; --t) {
      double g[2] = {y.get(e), 0};
      if (t > 1) g[1] += 3 * h[t - 1][1] * y.get(e);
      if (t < steps) g[1] += 3 * h[t + 1][1] * y.get(e);
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2 && t < steps; ++j)
          g[i] += later[j] * (1 - h[t + 1][j] * h[t + 1][j]) * u.get(i * 2 + j);
      gradient[static_cast<std::size_t>(t - 1)] = std::hypot(g[0], g[1]);
      later[0] = g[0], later[1] = g[1];
    }
    out.gradient.insert(out.gradient.end(), gradient.begin(), gradient.end());
    for (std::int64_t t = 1; t <= steps; ++t) {
      double j[2][2];  // d h_t[b] / d h_(t-1)[a]
      for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b) j[a][b] = u.get(a * 2 + b) * (1 - h[t][b] * h[t][b]);
      const double sum =
          j[0][0] * j[0][0] + j[0][1] * j[0][1] + j[1][0] * j[1][0] + j[1][1] * j[1][1];
      const double det = j[0][0] * j[1][1] - j[0][1] * j[1][0];
      out.gain.push_back(std::sqrt((sum + std::sqrt(sum * sum - 4 * det * det)) / 2));
    }
  }
  return out;
}

Batch two_examples() {
  Batch batch;
  batch.examples = examples;
  Tensor x(DType::f64, {examples, steps}), y(DType::f64, {examples});
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, std::sin(1.7 * static_cast<double>(i) + 1));
  y.set(0, 0.7), y.set(1, -1.3);
  batch.fields.emplace("x", std::move(x));
  batch.fields.emplace("y", std::move(y));
  return batch;
}

}  // namespace

TEST_CASE("gradient flow is what the chain rule gives by hand") {
  const Experiment experiment = program(network);
  const Graph loss = experiment.loss(*experiment.find_train(), Mode::train);
  const std::map<std::string, Tensor> parameters = initial_parameters(loss, 3);
  const Batch batch = two_examples();
  const ByHand expected = by_hand(parameters.at("net.U"), parameters.at("net.w"),
                                  batch.fields.at("x"), batch.fields.at("y"));
  for (const char* backend : {"auto", "reference"}) {
    GradientFlowOptions options;
    options.machine.backend = backend;
    const GradientFlow flow = gradient_flow(loss, parameters, batch, options);
    REQUIRE(flow.scans.size() == 1);
    CHECK(flow.scans[0].source == "9: scan Net over x");
    REQUIRE(flow.scans[0].gradient.median.size() == steps);
    for (std::size_t t = 0; t < steps; ++t) {
      // The median of two is their mean.
      CHECK(flow.scans[0].gradient.median[t] ==
            Approx((expected.gradient[t] + expected.gradient[steps + t]) / 2).epsilon(1e-12));
      CHECK(flow.scans[0].gain.median[t] ==
            Approx((expected.gain[t] + expected.gain[steps + t]) / 2).epsilon(1e-6));
    }
  }
}

TEST_CASE("examples of different lengths: each step counts those that have it") {
  const Experiment experiment = program(
      "model M(x: real[T, 2]) {\n  _, h = scan RNN[2, 3] over x\n  return answer: sum(h)\n}\n"
      "train M {\n  data npy(\"x.npy\", \"y.npy\")\n  loss answer * y\n}\n");
  const Graph loss = experiment.loss(*experiment.find_train(), Mode::train);
  const std::map<std::string, Tensor> parameters = initial_parameters(loss, 1);
  const std::vector<std::int64_t> lengths{5, 3, 0};
  const RaggedLayout layout(lengths);
  Batch all;
  all.examples = 3;
  all.lengths.emplace("T", lengths);
  Tensor rows(DType::f64, {8, 2}), y(DType::f64, {3});
  std::vector<GradientFlow> own;
  for (std::int64_t k = 0; k < 3; ++k) {
    y.set(k, 1.5 - static_cast<double>(k));
    if (lengths[static_cast<std::size_t>(k)] == 0) continue;
    Batch one;
    one.examples = 1;
    Tensor x(DType::f64, {1, lengths[static_cast<std::size_t>(k)], 2}), own_y(DType::f64, {1});
    own_y.set(0, y.get(k));
    for (std::int64_t i = 0; i < x.size(); ++i) {
      x.set(i, std::cos(static_cast<double>(7 * k + i)));
      rows.set(layout.position(i / 2, k) * 2 + i % 2, x.get(i));
    }
    one.fields.emplace("x", std::move(x));
    one.fields.emplace("y", std::move(own_y));
    own.push_back(gradient_flow(loss, parameters, one, {}));
  }
  all.fields.emplace("x", std::move(rows));
  all.fields.emplace("y", std::move(y));
  const GradientFlow flow = gradient_flow(loss, parameters, all, {});
  CHECK(flow.loss == Approx((own[0].loss + own[1].loss) / 3).epsilon(1e-12));
  const auto check = [&](const StepCurve& found, const StepCurve& longer, const StepCurve& other) {
    REQUIRE(found.median.size() == 5);
    for (std::size_t t = 0; t < 5; ++t) {
      const double expected = t < 3 ? (longer.median[t] + other.median[t]) / 2 : longer.median[t];
      CHECK(found.median[t] == Approx(expected).epsilon(1e-9));
    }
  };
  check(flow.scans[0].gradient, own[0].scans[0].gradient, own[1].scans[0].gradient);
  check(flow.scans[0].gain, own[0].scans[0].gain, own[1].scans[0].gain);
}

TEST_CASE("a window ends the gradient at its border") {
  const Experiment experiment = program(
      "model M(x: real[T, 2]) {\n  _, h = scan RNN[2, 3] over x\n  return answer: sum(h)\n}\n"
      "train M {\n  data npy(\"x.npy\", \"y.npy\")\n  loss answer * y\n}\n");
  const Graph loss = experiment.loss(*experiment.find_train(), Mode::train);
  Batch batch = two_examples();
  Tensor x(DType::f64, {examples, 7, 2});
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, std::cos(static_cast<double>(i)));
  batch.fields.at("x") = std::move(x);
  GradientFlowOptions options;
  options.truncation = 3;  // cuts before steps 4 and 7
  const GradientFlow cut = gradient_flow(loss, initial_parameters(loss, 1), batch, options);
  options.truncation.reset();
  const GradientFlow whole = gradient_flow(loss, initial_parameters(loss, 1), batch, options);
  const std::vector<double>& g = cut.scans[0].gradient.median;
  REQUIRE(g.size() == 7);
  for (std::size_t t = 0; t < 6; ++t) {
    CHECK(g[t] == 0);
    CHECK(whole.scans[0].gradient.median[t] > 0);
  }
  CHECK(g[6] == whole.scans[0].gradient.median[6]);
  CHECK(whole.loss == cut.loss);
}

TEST_CASE("probes change no value, and each has its own gradient") {
  const Graph loss = lstm_loss();
  const WatchedGraph watched = watch_scans(loss);
  REQUIRE(watched.scans.size() == 1);
  CHECK(watched.scans[0].probes.size() == 2);  // h and c
  std::vector<Tensor> inputs = inputs_for(loss, {{"T", 5}});
  const std::vector<Tensor> plain = evaluate(loss, inputs);
  std::vector<Tensor> with_probes;
  std::size_t next = 0;
  for (const NodeId id : watched.graph.inputs()) {
    const Node& node = watched.graph.node(id);
    const bool probe = node.attributes.string("name").find(".probe.") != std::string::npos;
    with_probes.push_back(probe ? Tensor(DType::f64, evaluate_shape(node.types[0], {{"T", 5}}))
                                : inputs[next++]);
  }
  CHECK(same_bits(evaluate(watched.graph, with_probes)[0], plain[0]));
}
