#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>

#include "driver/commands.h"
#include "driver/gradcheck.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/derive_step.h"
#include "passes/expand_derivatives.h"

namespace treadle {
namespace {

struct Options {
  std::vector<std::string> files;
};

// What symbols are in a test that does not say.
constexpr std::int64_t usual_length = 5;
constexpr double step_tolerance = 1e-10;

DimEnv extents(const Graph& graph, const TestCheck& check) {
  DimEnv out;
  for (const std::string& symbol : graph.symbols()) {
    const auto given = check.dims.find(symbol);
    out[symbol] = given == check.dims.end() ? usual_length : given->second;
  }
  return out;
}

bool run_gradcheck(const Experiment& experiment, const TestCheck& check) {
  const TrainSpec* train = experiment.find_train(check.model);
  const Graph graph = train != nullptr ? experiment.loss(*train, Mode::eval, check.dims)
                                       : experiment.model(check.model, Mode::eval, check.dims);
  const Graph loss = train != nullptr ? graph : asymmetric_loss(graph);
  GradcheckOptions options;
  options.order = static_cast<int>(check.order);
  bool passed = true;
  for (const GradcheckRow& row :
       gradcheck(loss, random_inputs(loss, extents(loss, check), 1), options)) {
    if (row.passed) continue;
    passed = false;
    std::cout << fmt::format("    {} order {}: error {:.3e} of {:.3e}\n", row.name, row.order,
                             row.error, row.largest);
  }
  return passed;
}

Tensor row_of(const Tensor& all, std::int64_t t) {
  Shape shape = all.shape();
  shape[0] = 1;
  Tensor out(all.dtype(), shape);
  std::memcpy(out.data(), all.data() + static_cast<std::size_t>(t) * out.bytes(), out.bytes());
  return out;
}

// The model on a whole sequence, and its derived step on the rows one by one:
// row t of each output with rows, and at the end the others, must agree.
bool run_step_equals_full(const Experiment& experiment, const TestCheck& check) {
  const Graph graph = expand_derivatives(experiment.model(check.model, Mode::eval, check.dims));
  const std::string length = sequence_symbol(graph);
  if (length.empty())
    throw_user_error("T0848", fmt::format("'{}' reads no sequence to step through", check.model),
                     "model M(text: token(V)[T], s: state CELL = zeros)", check.range);
  const DerivedStep step = derive_step(graph, length);
  const DimEnv env = extents(graph, check);
  const std::vector<Tensor> inputs = random_inputs(graph, env, 1);
  const std::vector<Tensor> full = evaluate(graph, inputs);
  std::map<std::string, Tensor> known;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    known[graph.node(graph.inputs()[i]).attributes.string("name")] = inputs[i];
  known["position"] = Tensor(DType::i64, {});
  DimEnv with_capacity = env;
  with_capacity[step.capacity] = env.at(length);
  for (const NodeId id : step.graph.inputs()) {
    const Node& node = step.graph.node(id);
    if (node.attributes.string("role", "") == "cache")
      known[node.attributes.string("name")] =
          Tensor(node.types[0].dtype, evaluate_shape(node.types[0], with_capacity));
  }
  const auto run = [&](const Graph& part, const std::map<std::string, Tensor>& values) {
    std::vector<Tensor> operands;
    for (const NodeId id : part.inputs())
      operands.push_back(values.at(part.node(id).attributes.string("name")));
    return evaluate(part, operands);
  };
  const std::vector<Tensor> initial = run(step.start, known);
  for (std::size_t i = 0; i < initial.size(); ++i) known[step.start.outputs()[i].name] = initial[i];
  const Dim rows = Dim::symbol(length);
  double worst = 0;
  const auto compare = [&](const Tensor& a, const Tensor& b) {
    for (std::int64_t i = 0; i < a.size(); ++i)
      worst = std::max(worst, std::abs(a.get(i) - b.get(i)) / std::max(1.0, std::abs(b.get(i))));
  };
  for (std::int64_t t = 0; t < env.at(length); ++t) {
    std::map<std::string, Tensor> now = known;
    now.at("position").set_integer(0, t);
    for (const NodeId id : graph.inputs()) {
      const Dims& dims = graph.node(id).types[0].dims;
      const std::string name = graph.node(id).attributes.string("name");
      if (!dims.empty() && dims[0] == rows) now[name] = row_of(known.at(name), t);
    }
    const std::vector<Tensor> outputs = run(step.graph, now);
    std::map<std::string, Tensor> found;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      found[step.graph.outputs()[i].name] = outputs[i];
    for (std::size_t o = 0; o < full.size(); ++o) {
      const Dims& dims = graph.type(graph.outputs()[o].value).dims;
      const auto of_step = found.find(graph.outputs()[o].name);
      if (of_step == found.end()) continue;  // each row against each other
      if (!dims.empty() && dims[0] == rows)
        compare(of_step->second, row_of(full[o], t));
      else if (t + 1 == env.at(length))
        compare(of_step->second, full[o]);
    }
    for (auto& [name, value] : known)
      if (const auto next = found.find(name + ".next"); next != found.end()) value = next->second;
  }
  if (worst > step_tolerance)
    std::cout << fmt::format("    step and full differ by {:.3e}\n", worst);
  return worst <= step_tolerance;
}

int run_tests(const Options& options) {
  int passed = 0, failed = 0;
  for (const std::string& file : options.files) {
    ElaborateOptions language;
    language.real = DType::f64;
    const Experiment experiment = load_experiment(file, language);
    for (const TestSpec& test : experiment.tests) {
      bool good = true;
      for (const TestCheck& check : test.checks)
        good =
            (check.kind == TestCheck::Kind::gradcheck ? run_gradcheck(experiment, check)
                                                      : run_step_equals_full(experiment, check)) &&
            good;
      (good ? passed : failed) += 1;
      std::cout << fmt::format("{}: {}: {}\n", file, test.title, good ? "ok" : "FAILED");
    }
  }
  std::cout << fmt::format("{} passed, {} failed\n", passed, failed);
  return failed == 0 ? 0 : exit_check_failed;
}

}  // namespace

void add_test_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("test", "Run the test blocks of programs");
  command->add_option("files", options->files, "Programs (.tdl)")->required();
  command->callback([options, &action] { action = [options] { return run_tests(*options); }; });
}

}  // namespace treadle
