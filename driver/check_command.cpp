#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> dims;
};

void print_table(const Graph& graph) {
  std::int64_t total = 0;
  for (const ParameterRow& row : parameter_table(graph)) {
    const std::int64_t count = row.type.count().constant().value_or(0);
    total += count;
    std::cout << fmt::format("  {:<28} {:<18} {:>10}  ~ {}\n", row.name, to_string(row.type), count,
                             row.initialiser);
  }
  std::cout << fmt::format("  {:<28} {:<18} {:>10}\n", "all parameters", "", total);
}

// As it is written in a program: token(V)[T].
std::string shown_type(const Node& input) {
  const Type& type = input.types[0];
  if (!input.attributes.has("classes")) return to_string(type);
  const std::string of = fmt::format("token({})", input.attributes.dim("classes").to_string());
  return type.rank() == 0 ? of : fmt::format("{}[{}]", of, to_string(type.dims));
}

void print_signature(const Graph& graph) {
  for (const NodeId id : graph.inputs())
    if (graph.node(id).op == Op::input)
      std::cout << fmt::format("  input  {:<21} {}\n", graph.node(id).attributes.string("name"),
                               shown_type(graph.node(id)));
  for (const Output& output : graph.outputs())
    std::cout << fmt::format("  output {:<21} {}\n", output.name,
                             to_string(graph.type(output.value)));
}

int run_check(const Options& options) {
  ElaborateOptions language;
  for (const auto& [name, value] : parse_dims(options.dims)) language.dims[name] = value;
  const Experiment experiment = load_experiment(options.file, language);
  for (const Diagnostic& warning : experiment.warnings) std::cerr << render(warning);
  for (const ModelInfo& info : experiment.models) {
    const Graph graph = experiment.model(info.name, Mode::eval);
    std::cout << "model " << info.name << "\n";
    print_signature(graph);
    print_table(graph);
  }
  return 0;
}

}  // namespace

void add_check_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("check", "Check a program; show its models and their parameters");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("-D", options->dims, "Value of a dim: -D H=64");
  command->callback([options, &action] { action = [options] { return run_check(*options); }; });
}

}  // namespace treadle
