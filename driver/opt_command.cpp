#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "driver/compile.h"
#include "ir/text_printer.h"
#include "ir/verify.h"
#include "passes/pass_manager.h"

namespace treadle {
namespace {

struct Options {
  std::string file, pipeline, print_after, verify;
  int stop_after = -1;
  bool time = false;
};

int run_opt(const Options& options) {
  Graph graph = load_graph(options.file);
  verify(graph);
  PassObserver observer;
  observer.verify_each = options.verify == "structure";
  observer.verify_numeric = options.verify == "numeric";
  observer.stop_after = options.stop_after;
  observer.print_after = options.print_after;
  observer.print = [](const std::string& text) { std::cerr << text; };
  if (options.time)
    observer.time = [](std::string_view pass, double ms) {
      std::cerr << fmt::format("{:<16} {:9.3f} ms\n", pass, ms);
    };
  const std::vector<PassCall> pipeline = parse_pipeline(options.pipeline);
  std::cout << print(run_pipeline(std::move(graph), pipeline, observer, {backend_models()}));
  return 0;
}

}  // namespace

void add_opt_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("opt", "Run passes on a graph in text form");
  command->add_option("file", options->file, "The graph (.tir), or - for standard input")
      ->required();
  command->add_option("-p,--passes", options->pipeline, "Passes, separated by commas");
  command->add_option("--print-after", options->print_after,
                      "Print the graph after this pass, or 'all'");
  command
      ->add_option("--verify-each", options->verify,
                   "Check the graph after each pass; =numeric also compares results")
      ->expected(0, 1)
      ->default_str("structure")
      ->check(CLI::IsMember({"structure", "numeric"}));
  command->add_option("--stop-after", options->stop_after, "Run only the first N passes");
  command->add_flag("--time-passes", options->time, "Show how long each pass takes");
  command->callback([options, &action] { action = [options] { return run_opt(*options); }; });
}

}  // namespace treadle
