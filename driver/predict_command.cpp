#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "driver/data_fields.h"
#include "driver/forecast.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "driver/plot/svg.h"
#include "driver/plot/terminal.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/file.h"
#include "runtime/progress.h"
#include "runtime/readers/csv.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run, model, data, output, x;
  std::vector<std::int64_t> horizons{1};
  bool all = false;
  LanguageOptions language;
  MachineOptions machine;
};

// What stands below the series: the row's number, or a column of the file.
std::vector<double> x_of(const TrainSpec& spec, const Options& options, const Series& series) {
  std::vector<double> out;
  if (options.x.empty()) {
    for (std::size_t row = 1; row <= series.values.size(); ++row)
      out.push_back(static_cast<double>(row));
    return out;
  }
  const std::filesystem::path file = data_file(spec.data, 0, options.data);
  const std::string text = read_file_or_gzip(file);
  CsvOptions csv;
  csv.separator = spec.data.string("separator", ",")[0];
  csv.skip_lines = static_cast<int>(spec.data.integer("skip", 0));
  csv.header = csv_head(text, csv, file.string()).is_header;
  csv.columns = {options.x};
  csv.dtype = DType::f64;
  const Tensor column = parse_csv(text, csv, file.string()).values;
  for (std::int64_t i = 0; i < column.size(); ++i) out.push_back(column.get(i));
  return out;
}

std::string ahead(std::int64_t k) { return fmt::format("{} step{} ahead", k, k == 1 ? "" : "s"); }

Chart chart_of(const Series& series, const Forecast& forecast, const Options& options,
               const std::vector<double>& x) {
  Chart out;
  out.title = fmt::format("{}: predictions and truth", series.column);
  out.x.label = options.x.empty() ? "row" : options.x;
  out.y.label = series.column;
  const auto first = static_cast<std::ptrdiff_t>(forecast.first);
  Curve truth;
  truth.label = "truth";
  truth.x.assign(x.begin() + first, x.end());
  truth.y.assign(series.values.begin() + first, series.values.end());
  out.curves.push_back(truth);
  for (const std::int64_t k : options.horizons) {
    Curve curve = truth;
    curve.label = ahead(k);
    curve.y = forecast.predictions[static_cast<std::size_t>(k - 1)];
    out.curves.push_back(std::move(curve));
  }
  const auto rows = static_cast<std::int64_t>(series.values.size());
  if (series.held_back > forecast.first && series.held_back < rows)
    out.rules.push_back(
        {Rule::Direction::vertical, x[static_cast<std::size_t>(series.held_back)], "held back"});
  return out;
}

int run_predict(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  const TrainSpec& spec = find_train_block(experiment, options.file, options.model);
  const Series series = read_series(spec, experiment.loss(spec, Mode::eval), options.data);
  const Graph model = experiment.model(spec.model, Mode::eval);
  ModelRunner runner(model, load_run(options.run, model).parameters,
                     compile_options(options.machine, options.language), options.machine.threads);
  const auto rows = static_cast<std::int64_t>(series.values.size());
  const bool held_back = !options.all && series.held_back < rows;
  const std::int64_t steps = *std::max_element(options.horizons.begin(), options.horizons.end());
  const Forecast made =
      forecast(runner, model, series, held_back ? series.held_back : series.window, steps);
  const std::vector<double> x = x_of(spec, options, series);
  const Chart chart = chart_of(series, made, options, x);
  if (options.output.empty())
    std::cout << terminal_text(chart, {}, is_terminal(stdout)) << "\n";
  else
    write_file_atomically(options.output, svg(std::vector<Chart>{chart}));
  std::cout << fmt::format("{}: {} {}rows\n", spec.model, rows - made.first,
                           held_back ? "held-back " : "");
  for (const std::int64_t k : options.horizons)
    std::cout << fmt::format("{:<16}  root mean square error {:<10.5g} of the last value {:.5g}\n",
                             ahead(k), root_mean_square_error(made, series, k),
                             last_value_error(made, series, k));
  return 0;
}

}  // namespace

void add_predict_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "predict", "Predict a series some steps ahead, and draw it against the truth");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run, "The folder of its training run")->required();
  command->add_option("--model", options->model, "Which train block's model; else the first");
  command->add_option("--data", options->data, "The folder of the data files");
  command
      ->add_option("--horizon", options->horizons,
                   "How many steps ahead, several by commas: 1,4,16")
      ->delimiter(',')
      ->check(CLI::Range(1, 100000));
  command->add_option("-x", options->x, "The column that stands below the chart: -x YEAR");
  command->add_flag("--all", options->all, "All rows, not only those that were held back");
  command->add_option("-o,--output", options->output,
                      "An SVG file; without it the chart is printed");
  add_language_options(*command, options->language);
  add_machine_options(*command, options->machine);
  command->callback([options, &action] { action = [options] { return run_predict(*options); }; });
}

}  // namespace treadle
