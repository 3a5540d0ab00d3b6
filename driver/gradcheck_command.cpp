#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "driver/gradcheck.h"
#include "ir/diagnostic.h"
#include "ir/eval/random_inputs.h"

namespace treadle {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> dims;
  int order = 1;
  std::uint64_t seed = 1;
  bool after_each_pass = false;
};

// One line a pass: the tensor that is furthest off.
void print_stages(const std::vector<GradcheckRow>& rows) {
  std::vector<std::string> stages;
  for (const GradcheckRow& row : rows) {
    const std::string key = fmt::format("{:>5} {}", row.order, row.after);
    if (std::find(stages.begin(), stages.end(), key) != stages.end()) continue;
    stages.push_back(key);
    std::size_t count = 0;
    const GradcheckRow* worst = nullptr;
    const auto off = [](const GradcheckRow& r) { return r.error / std::max(r.largest, 1e-300); };
    for (const GradcheckRow& other : rows) {
      if (other.order != row.order || other.after != row.after) continue;
      ++count;
      if (worst == nullptr || (worst->passed && !other.passed) ||
          (worst->passed == other.passed && off(other) > off(*worst)))
        worst = &other;
    }
    std::cout << fmt::format(
        "after {:<18} {:>5} {:>12.3e} {:>12.3e}  {}\n", row.after, row.order, worst->error,
        worst->largest,
        worst->passed ? fmt::format("ok: {} tensors", count) : "WRONG: " + worst->name);
  }
}

int run_gradcheck(const Options& options) {
  const DimEnv env = parse_dims(options.dims);
  const Graph graph = load_graph(options.file, DType::f64, env);
  for (const std::string& symbol : graph.symbols())
    if (!env.contains(symbol))
      throw_user_error("T0831", fmt::format("the dimension '{}' has no value", symbol),
                       fmt::format("add -D {}=5", symbol));
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (is_float(node.types[0].dtype) && node.types[0].dtype != DType::f64)
      throw_user_error("T0832",
                       fmt::format("'{}' is {}: gradients are checked in f64",
                                   node.attributes.string("name", ""), to_string(node.types[0])));
  }
  const Value loss = graph.output("loss");
  const Graph checked =
      loss.valid() && graph.type(loss).rank() == 0 ? graph : asymmetric_loss(graph);
  GradcheckOptions settings;
  settings.order = options.order;
  settings.seed = options.seed;
  settings.after_each_pass = options.after_each_pass;
  bool passed = true;
  std::vector<GradcheckRow> later;
  std::vector<GradcheckRow> rows =
      gradcheck(checked, random_inputs(checked, env, options.seed), settings);
  std::cout << fmt::format("{:<24} {:>5} {:>12} {:>12}\n", "tensor", "order", "error", "largest");
  for (GradcheckRow& row : rows) {
    if (!row.after.empty()) {
      passed = passed && row.passed;
      later.push_back(std::move(row));
      continue;
    }
    std::cout << fmt::format("{:<24} {:>5} {:>12.3e} {:>12.3e}  {}\n", row.name, row.order,
                             row.error, row.largest, row.passed ? "ok" : "WRONG");
    passed = passed && row.passed;
  }
  print_stages(later);
  return passed ? 0 : exit_check_failed;
}

}  // namespace

void add_gradcheck_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("gradcheck", "Hold gradients against finite differences, in f64");
  command
      ->add_option("file", options->file,
                   "A program (.tdl), or a graph (.tir; - is standard input)")
      ->required();
  command->add_option("-D", options->dims, "Value of a dimension: -D T=5");
  command->add_option("--order", options->order, "2: second derivatives too")
      ->check(CLI::Range(1, 2));
  command->add_flag("--after-each-pass", options->after_each_pass,
                    "The gradients after each pass too, and compiled");
  command->add_option("--seed", options->seed, "Of the random inputs and directions");
  command->callback([options, &action] { action = [options] { return run_gradcheck(*options); }; });
}

}  // namespace treadle
