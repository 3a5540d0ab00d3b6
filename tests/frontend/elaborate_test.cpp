// Programs become graphs that mean what they say.
#include <cmath>

#include "frontend/elaborate.h"
#include "ir/eval/evaluate.h"
#include "ir/verify.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using test::module_of;
using test::program;

namespace {

// Every mistake and warning, "4:11 T0312" each.
std::vector<std::string> mistakes(const std::string& text) {
  std::vector<Diagnostic> diagnostics;
  elaborate(module_of(text), {}, diagnostics);
  std::vector<std::string> out;
  for (const Diagnostic& d : diagnostics) {
    const LineColumn at = line_column(*d.range.file, d.range.begin);
    out.push_back(std::to_string(at.line) + ":" + std::to_string(at.column) + " " + d.code);
  }
  return out;
}

Tensor filled(const Type& type, const DimEnv& env, double start) {
  Tensor out(type.dtype, evaluate_shape(type, env));
  for (std::int64_t i = 0; i < out.size(); ++i)
    out.set(i, std::sin(start + 0.7 * static_cast<double>(i)));
  return out;
}

}  // namespace

TEST_CASE("a scan of the library's LSTM is the recurrence written by hand") {
  const Experiment experiment = program(
      "model M(x: real[T, 2]) {\n"
      "  hs, (h, c) = scan LSTM[2, 3] over x\n"
      "  return hs: hs, h: h, c: c\n"
      "}\n");
  const Graph graph = experiment.model("M", Mode::eval);
  verify(graph);
  const DimEnv env{{"T", 4}};
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < graph.inputs().size(); ++i)
    inputs.push_back(filled(graph.type(graph.input_value(i)), env, static_cast<double>(i)));
  const Tensor &x = inputs[0], &w = inputs[1], &u = inputs[2], &b = inputs[3];
  const std::vector<Tensor> found = evaluate(graph, inputs);
  double h[3] = {}, c[3] = {};
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  for (int t = 0; t < 4; ++t) {
    double z[12];
    for (int j = 0; j < 12; ++j) {
      z[j] = b.get(j);
      for (int i = 0; i < 2; ++i) z[j] += x.get(t * 2 + i) * w.get(i * 12 + j);
      for (int i = 0; i < 3; ++i) z[j] += h[i] * u.get(i * 12 + j);
    }
    for (int j = 0; j < 3; ++j) {
      c[j] = sigmoid(z[3 + j]) * c[j] + sigmoid(z[j]) * std::tanh(z[6 + j]);
      h[j] = sigmoid(z[9 + j]) * std::tanh(c[j]);
      CHECK(std::abs(found[0].get(t * 3 + j) - h[j]) < 1e-13);
    }
  }
  for (int j = 0; j < 3; ++j) {
    CHECK(std::abs(found[1].get(j) - h[j]) < 1e-13);
    CHECK(std::abs(found[2].get(j) - c[j]) < 1e-13);
  }
}

TEST_CASE("numbers, subscripts and conditions mean what they say") {
  const Experiment experiment = program(
      "dim N = 3\n"
      "model M(x: real[4, N]) {\n"
      "  a = x[1:, 0] * 2 + 1\n"
      "  b = sum(x[-1]) / sqrt(N + 1)\n"
      "  c = x[0] if N == 3 else x[1]\n"
      "  d = where(x > 0, x, 0 * x)\n"
      "  return a: a, b: b, c: c, d: sum(d, axis: 0)\n"
      "}\n");
  const Graph graph = experiment.model("M", Mode::eval);
  const Tensor x = filled({DType::f64, {4, 3}}, {}, 0.3);
  const std::vector<Tensor> out = evaluate(graph, std::vector<Tensor>{x});
  for (int i = 0; i < 3; ++i) {
    CHECK(out[0].get(i) == x.get((i + 1) * 3) * 2 + 1);
    CHECK(out[2].get(i) == x.get(i));
    double positive = 0;
    for (int r = 0; r < 4; ++r) positive += std::max(0.0, x.get(r * 3 + i));
    CHECK(std::abs(out[3].get(i) - positive) < 1e-15);
  }
  CHECK(std::abs(out[1].get(0) - (x.get(9) + x.get(10) + x.get(11)) / 2) < 1e-15);
}

TEST_CASE("parameters are named by their path, and a named instance shares them") {
  const Experiment experiment = program(
      "block pair(x: real[N]) {\n"
      "  return dense[2](x) + dense[2](x)\n"
      "}\n"
      "model M(x: real[3]) {\n"
      "  let shared = dense[2]\n"
      "  return y: shared(x) + shared(x) + pair(x)\n"
      "}\n");
  std::vector<std::string> names;
  for (const ParameterRow& row : parameter_table(experiment.model("M", Mode::eval)))
    names.push_back(row.name);
  CHECK(names == std::vector<std::string>{"shared.W", "shared.b", "pair.dense.W", "pair.dense.b",
                                          "pair.dense_2.W", "pair.dense_2.b"});
}

TEST_CASE("stacks, reverse scans and two sequences") {
  const Experiment experiment = program(
      "cell Both[H](a: real[H], b: real[H], h: real[H]) {\n"
      "  h = tanh(a - b + h)\n"
      "  yield h, h\n"
      "}\n"
      "model M(x: real[T, 2]) {\n"
      "  deep, _ = scan stack 2 of RNN[2, 2] over x\n"
      "  back, _ = scan reverse RNN[2, 2] over x\n"
      "  _, h = scan Both over (deep, back) from ones\n"
      "  return h: h\n"
      "}\n");
  const Graph graph = experiment.model("M", Mode::eval);
  verify(graph);
  CHECK(graph.input("stack[1].U").valid());
  CHECK(test::count_ops(graph, Op::scan) == 3);
}

TEST_CASE("a loss graph has its targets, its penalty and its reports") {
  const Experiment experiment = program(
      "model M(x: real[4]) { return logits: dense[3](x) }\n"
      "train M {\n"
      "  data csv(\"a.csv\")\n"
      "  loss cross_entropy(logits, label) + 0.5 * l2(params)\n"
      "  optimizer adamw(lr: cosine(0.01, warmup: 10), weight_decay: 0.1), clip_norm 2\n"
      "  report accuracy(logits, label)\n"
      "}\n");
  REQUIRE(experiment.trains.size() == 1);
  const TrainSpec& spec = experiment.trains[0];
  CHECK(spec.optimizer.learning_rate.kind == "cosine");
  CHECK(spec.optimizer.learning_rate.warmup == 10);
  CHECK(spec.optimizer.setting("weight_decay", 0) == 0.1);
  CHECK(spec.optimizer.clip_norm == 2.0);
  const Graph loss = experiment.loss(spec, Mode::train);
  CHECK(loss.output("loss").valid());
  CHECK(loss.output("penalty").valid());
  CHECK(loss.output("report.accuracy").valid());
  CHECK(loss.input("label").valid());
  const TrainingStep step = make_training_step(loss, {});
  CHECK(step.graph.output("next:dense.W").valid());
}

TEST_CASE("a block for several models is one for each") {
  const Experiment experiment = program(
      "model A(x: real[4]) { return y: sum(x) }\n"
      "model B(x: real[4]) {\n"
      "  param w: real[4] ~ ones\n"
      "  return y: x @ w\n"
      "}\n"
      "train A,\n"
      "  B {\n"
      "  data csv(\"a.csv\")\n"
      "  loss squared_error(y, target)\n"
      "}\n"
      "eval A, B \"later\" { data csv(\"b.csv\") }\n");
  REQUIRE(experiment.trains.size() == 2);
  CHECK(experiment.trains[0].model == "A");
  CHECK(experiment.find_train("B") == &experiment.trains[1]);
  CHECK_FALSE(experiment.loss(experiment.trains[0], Mode::train).input("w").valid());
  CHECK(experiment.loss(experiment.trains[1], Mode::train).input("w").valid());
  REQUIRE(experiment.evals.size() == 2);
  CHECK(experiment.evals[1].model == "B");
  CHECK(experiment.evals[1].title == "later");
  CHECK_FALSE(experiment.loss(experiment.evals[0], Mode::eval).input("w").valid());
  CHECK(experiment.loss(experiment.evals[1], Mode::eval).input("w").valid());
}

TEST_CASE("mistakes have a code and a place") {
  const std::string model = "model M(x: real[T, 4]) {\n";
  CHECK(mistakes(model + "  return y: tahn(x)\n}\n") == std::vector<std::string>{"2:13 T0201"});
  CHECK(mistakes(model + "  param W: real[3, 2]\n  return y: x @ W\n}\n") ==
        std::vector<std::string>{"3:13 T0312"});
  CHECK(mistakes(model + "  param b: real[3]\n  return y: x + b\n}\n") ==
        std::vector<std::string>{"3:13 T0310"});
  CHECK(mistakes(model + "  a = split(x, 3)\n  return y: x\n}\n") ==
        std::vector<std::string>{"2:7 T0353"});
  CHECK(mistakes(model + "  a = 1\n  return y: x\n}\n") == std::vector<std::string>{"2:3 T0501"});
  CHECK(mistakes(model + "  return y: x\n}\n" + model + "  return y: x\n}\n") ==
        std::vector<std::string>{"4:7 T0204"});
  CHECK(mistakes("block f(x: real[N]) { return f(x) }\n"
                 "model M(x: real[2]) { return y: f(x) }\n")
            .at(0)
            .ends_with("T0205"));
  CHECK(mistakes("cell C[H](x: real[H], h: real[H]) { yield h, x[1:] + h[1:] }\n"
                 "model M(x: real[T, 3]) {\n"
                 "  hs, _ = scan C over x\n"
                 "  return hs\n"
                 "}\n")
            .at(0)
            .ends_with("T0314"));
}

TEST_CASE("several mistakes are reported in one run") {
  CHECK(mistakes("model M(x: real[3]) {\n"
                 "  a = x + foo\n"
                 "  b = a * 2\n"
                 "  return y: x @ bar + b\n"
                 "}\n") == std::vector<std::string>{"2:11 T0201", "4:17 T0201"});
}
