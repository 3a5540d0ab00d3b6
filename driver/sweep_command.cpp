#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "driver/options.h"
#include "driver/plot/svg.h"
#include "driver/plot/terminal.h"
#include "driver/sweep.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/progress.h"

namespace treadle {
namespace {

struct Options {
  SweepOptions sweep;
  std::string over, output;
};

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// "K=1,2,4"
void read_over(const std::string& text, SweepOptions& out) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos) out.dim = text.substr(0, equals);
  for (std::size_t at = equals; at < text.size(); at = text.find(',', at + 1)) {
    std::int64_t value = 0;
    const char* begin = text.data() + at + 1;
    const auto read = std::from_chars(begin, text.data() + text.size(), value);
    const auto next = static_cast<std::size_t>(read.ptr - text.data());
    if (read.ec != std::errc() || value < 1 || (next < text.size() && text[next] != ',')) {
      out.values.clear();
      break;
    }
    out.values.push_back(value);
  }
  if (out.dim.empty() || out.values.empty())
    throw_user_error("T0830", fmt::format("'{}' does not name a dim and its values", text),
                     "write --over K=1,2,4,8");
}

void print(const SweepPoint& point) {
  std::cout << fmt::format("{:>6} {:>11} {:>11.5f} {:>11.5f} {:>11.5f} {:>11.5f}", point.value,
                           point.parameters, mean(point.training), mean(point.evaluation),
                           point.bias_squared, point.variance)
            << std::endl;
}

Chart chart_of(const std::vector<SweepPoint>& points, const SweepOptions& options) {
  Chart out;
  out.title = fmt::format("Bias and variance by size, {} runs each", options.seeds);
  out.x.label = "parameters";
  out.y = {"squared error", true, {}, {}};
  const auto add = [&](std::string label, Curve::Style style, auto value) {
    Curve curve;
    curve.label = std::move(label);
    curve.style = style;
    for (const SweepPoint& point : points) {
      curve.x.push_back(static_cast<double>(point.parameters));
      curve.y.push_back(value(point));
    }
    out.curves.push_back(std::move(curve));
  };
  add("eval loss", Curve::Style::solid, [](const SweepPoint& p) { return mean(p.evaluation); });
  add("bias²", Curve::Style::solid, [](const SweepPoint& p) { return p.bias_squared; });
  add("variance", Curve::Style::solid, [](const SweepPoint& p) { return p.variance; });
  add("training loss", Curve::Style::dashed, [](const SweepPoint& p) { return mean(p.training); });
  return out;
}

int run_sweep(Options options) {
  read_over(options.over, options.sweep);
  std::cout << fmt::format("{:>6} {:>11} {:>11} {:>11} {:>11} {:>11}\n", options.sweep.dim,
                           "parameters", "training", "eval", "bias^2", "variance");
  const std::vector<SweepPoint> points = sweep(options.sweep, print);
  const Chart chart = chart_of(points, options.sweep);
  if (options.output.empty())
    std::cout << "\n" << terminal_text(chart, {}, is_terminal(stdout));
  else
    write_file_atomically(options.output, svg(std::vector<Chart>{chart}));
  return 0;
}

}  // namespace

void add_sweep_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sweep",
      "Train a model in several sizes, on several draws of its data; draw bias and "
      "variance");
  command->add_option("file", options->sweep.file, "The program (.tdl), with an eval block")
      ->required();
  command->add_option("--over", options->over, "A dim and its values: K=1,2,4,8")->required();
  command->add_option("--seeds", options->sweep.seeds, "Runs of each size")
      ->check(CLI::Range(1, 100000));
  command->add_option("--model", options->sweep.model, "Which train block's model; else the first");
  command->add_option("--data", options->sweep.data, "The folder of the data files");
  command->add_option("-o,--output", options->output,
                      "An SVG file; without it the chart is printed");
  add_language_options(*command, options->sweep.language);
  add_machine_options(*command, options->sweep.machine);
  command->callback([options, &action] { action = [options] { return run_sweep(*options); }; });
}

}  // namespace treadle
