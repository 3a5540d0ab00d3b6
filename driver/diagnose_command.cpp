#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>

#include "driver/commands.h"
#include "driver/data_sets.h"
#include "driver/gradient_flow.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "driver/plot/svg.h"
#include "driver/plot/terminal.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/progress.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run, model, data, output;
  std::int64_t examples = 16;
  std::optional<std::uint64_t> seed;
  LanguageOptions language;
  MachineOptions machine;
};

Curve curve_of(std::string label, const StepCurve& steps, double scale, Curve::Style style,
               bool band) {
  Curve out;
  out.label = std::move(label);
  out.style = style;
  for (std::size_t t = 0; t < steps.median.size(); ++t) {
    out.x.push_back(static_cast<double>(t + 1));
    out.y.push_back(steps.median[t] * scale);
    if (band) out.low.push_back(steps.low[t] * scale);
    if (band) out.high.push_back(steps.high[t] * scale);
  }
  return out;
}

// What is known of one train block's model.
struct Diagnosis {
  std::string model;
  GradientFlow whole;
  std::optional<GradientFlow> truncated;
  std::int64_t window = 0;
  std::optional<double> clip_norm;

  double clip_scale() const { return std::min(1.0, *clip_norm / whole.parameter_norm); }
};

class Charts {
 public:
  explicit Charts(const std::string& file) {
    gradient.title = fmt::format("Gradient of the loss by the state at each step ({})", file);
    gradient.x.label = gain.x.label = "step";
    gradient.y = {"‖∂loss/∂h‖", true, {}, {}};
    gain.title = "Gain of a step: largest singular value of ∂h(t)/∂h(t−1)";
    gain.y.label = "gain";
    gain.rules.push_back({Rule::Direction::horizontal, 1, "1"});
  }

  void add(const Diagnosis& diagnosis) {
    for (std::size_t i = 0; i < diagnosis.whole.scans.size(); ++i) {
      const ScanFlow& scan = diagnosis.whole.scans[i];
      const std::string label = diagnosis.whole.scans.size() == 1
                                    ? diagnosis.model
                                    : fmt::format("{}:{}", diagnosis.model, scan.source);
      gradient.curves.push_back(curve_of(label, scan.gradient, 1, Curve::Style::solid, true));
      if (diagnosis.truncated)
        gradient.curves.push_back(
            curve_of(fmt::format("{}, tbptt window {}", label, diagnosis.window),
                     diagnosis.truncated->scans[i].gradient, 1, Curve::Style::dashed, false));
      if (diagnosis.clip_norm && diagnosis.clip_scale() < 1)
        gradient.curves.push_back(
            curve_of(fmt::format("{}, clip_norm {}", label, *diagnosis.clip_norm), scan.gradient,
                     diagnosis.clip_scale(), Curve::Style::dashed, false));
      if (!scan.gain.median.empty())
        gain.curves.push_back(curve_of(label, scan.gain, 1, Curve::Style::solid, true));
    }
  }

  std::vector<Chart> all() {
    std::vector<Chart> out{gradient};
    if (gain.curves.empty()) return out;
    // A relu's gain may be 0 and an unstable cell's large: powers of ten where
    // the range asks for them.
    double low = 1, high = 1;
    for (const Curve& curve : gain.curves)
      for (const double y : curve.y) low = std::min(low, y), high = std::max(high, y);
    gain.y.logarithmic = low > 0 && high / low > 100;
    out.push_back(gain);
    return out;
  }

 private:
  Chart gradient, gain;
};

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

void print(const Diagnosis& diagnosis) {
  std::cout << fmt::format("{}: loss {:.4g}, norm of all gradients {:.4g}", diagnosis.model,
                           diagnosis.whole.loss, diagnosis.whole.parameter_norm);
  if (diagnosis.clip_norm)
    std::cout << fmt::format(", scaled by {:.4g} (clip_norm {})", diagnosis.clip_scale(),
                             *diagnosis.clip_norm);
  std::cout << "\n";
  for (std::size_t i = 0; i < diagnosis.whole.scans.size(); ++i) {
    const ScanFlow& scan = diagnosis.whole.scans[i];
    const std::vector<double>& g = scan.gradient.median;
    if (g.empty()) continue;
    std::cout << fmt::format(
        "  line {}\n    gradient by the state  {:.3g} at step 1, {:.3g} at step {}\n", scan.source,
        g.front(), g.back(), g.size());
    if (!scan.gain.median.empty())
      std::cout << fmt::format("    gain of a step         {:.3g} (geometric mean), up to {:.3g}\n",
                               geometric_mean(scan.gain.median),
                               *std::max_element(scan.gain.high.begin(), scan.gain.high.end()));
    if (!diagnosis.truncated) continue;
    const std::vector<double>& cut = diagnosis.truncated->scans[i].gradient.median;
    const auto zeros = std::count(cut.begin(), cut.end(), 0.0);
    std::cout << fmt::format("    tbptt window {}         {} of {} steps get no gradient\n",
                             diagnosis.window, zeros, cut.size());
  }
}

Diagnosis diagnose(const Experiment& experiment, TrainSpec spec, const Options& options) {
  Diagnosis out;
  out.model = spec.model;
  out.clip_norm = spec.optimizer.clip_norm;
  if (options.seed) spec.seed = static_cast<std::int64_t>(*options.seed);
  spec.batch = options.examples;
  if (spec.data.kind == "text") spec.data.settings["lanes"] = {options.examples, {}};
  const Graph loss = experiment.loss(spec, Mode::train);
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  const std::map<std::string, Tensor> parameters = options.run.empty()
                                                       ? initial_parameters(loss, seed)
                                                       : load_run_as(options.run, loss).parameters;
  const DataSets data = open_data(spec, loss, options.data);
  const Batch batch = data.training->batch(0, 0);
  GradientFlowOptions flow{std::nullopt, true, seed, options.machine};
  out.whole = gradient_flow(loss, parameters, batch, flow);
  if (spec.truncation.kind != TruncationSpec::Kind::window) return out;
  out.window = spec.truncation.window;
  flow.truncation = out.window;
  flow.gain = false;
  out.truncated = gradient_flow(loss, parameters, batch, flow);
  return out;
}

int run_diagnose(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  const TrainSpec& first = find_train_block(experiment, options.file, options.model);
  const bool one = !options.model.empty() || !options.run.empty();
  const std::size_t slash = options.file.find_last_of('/');
  Charts charts(slash == std::string::npos ? options.file : options.file.substr(slash + 1));
  std::vector<Diagnosis> found;
  for (const TrainSpec& spec : experiment.trains) {
    if (one && &spec != &first) continue;
    found.push_back(diagnose(experiment, spec, options));
    charts.add(found.back());
  }
  const std::vector<Chart> all = charts.all();
  if (options.output.empty())
    for (const Chart& chart : all)
      std::cout << terminal_text(chart, {}, is_terminal(stdout)) << "\n";
  else
    write_file_atomically(options.output, svg(all));
  for (const Diagnosis& diagnosis : found) print(diagnosis);
  return 0;
}

}  // namespace

void add_diagnose_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  options->language.precision = "f64";  // what vanishes is small
  CLI::App* command = app.add_subcommand(
      "diagnose", "Draw how the gradient flows back through time, and the gain of each step");
  command->add_option("file", options->file, "The program (.tdl); all its train blocks")
      ->required();
  command->add_option("--run", options->run,
                      "The folder of a training run; without it parameters have first values");
  command->add_option("--model", options->model, "The train block of this model alone");
  command->add_option("--data", options->data, "The folder of the data files");
  command->add_option("--examples", options->examples, "Of the first batch: so many")
      ->check(CLI::Range(1, 100000));
  command->add_option("--seed", options->seed, "Of data, order and first values");
  command->add_option("-o,--output", options->output,
                      "An SVG file; without it the charts are printed");
  add_language_options(*command, options->language, Precisions::f32_f64);
  add_machine_options(*command, options->machine);
  command->callback([options, &action] { action = [options] { return run_diagnose(*options); }; });
}

}  // namespace treadle
