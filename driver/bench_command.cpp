#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/inspect/costs.h"
#include "driver/inspect/kernels.h"
#include "driver/inspect/stages.h"
#include "driver/machine_peak.h"
#include "driver/options.h"
#include "driver/profile_trace.h"
#include "driver/rehearsal.h"
#include "driver/step_profile.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/training_step.h"
#include "runtime/atomic_file.h"
#include "runtime/safetensors.h"
#include "runtime/team.h"

namespace treadle {
namespace {

struct Options {
  std::string file, part = "step", tensors, trace;
  LanguageOptions language;
  MachineOptions machine;
  int rounds = 30;
  bool json = false, serve = false, profile = false;
};

// What is measured: a graph of batches, and what it updates in place.
struct Work {
  Graph graph;
  std::vector<InPlaceUpdate> updates;
  DimEnv extents;
  bool inference = false;  // with parameters that stay, as in a session
};

Work work_of(const Options& options) {
  const InspectedProgram program =
      load_inspected(options.file, options.language, options.part != "forward");
  Work out;
  out.extents = program.extents;
  out.extents.emplace("B", 1);
  if (options.part == "forward") {
    out.graph = batch(program.graph);
    out.inference = true;
  } else if (!program.trains) {
    throw_user_error("T0840", fmt::format("'{}' has no train block", options.file),
                     "--part forward runs a model without one");
  } else if (options.part == "gradient") {
    out.graph = differentiate(batched_loss(program.graph));
    std::vector<Output> asked;
    for (const Output& output : out.graph.outputs())
      if (output.name == "loss" || output.name.starts_with("grad:")) asked.push_back(output);
    out.graph.set_outputs(std::move(asked));
  } else {
    const TrainingStep step =
        make_training_step(program.graph, program.optimizer, {}, out.extents, working_memory);
    out.graph = step.graph;
    out.updates = in_place_updates(step);
  }
  for (const std::string& symbol : out.graph.symbols())
    if (!out.extents.contains(symbol))
      throw_user_error("T0831", fmt::format("the dimension '{}' has no value", symbol),
                       fmt::format("add -D {}=100", symbol));
  return out;
}

CompileOptions options_of(const Work& work, const Options& options) {
  CompileOptions out = compile_options(options.machine, options.language);
  return work.inference ? with_fixed_parameters(std::move(out), work.graph) : out;
}

// The values of what the options say is fixed.
FixedValues fixed_values(const CompileOptions& options, const Graph& graph,
                         const std::vector<Tensor>& inputs) {
  std::map<std::string, Tensor> out;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = graph.node(graph.inputs()[i]).attributes.string("name");
    if (std::find(options.fixed.begin(), options.fixed.end(), name) != options.fixed.end())
      out.emplace(name, inputs[i]);
  }
  return std::make_shared<const std::map<std::string, Tensor>>(std::move(out));
}

// A program to which fixed values are given.
std::unique_ptr<Program> with_values(std::unique_ptr<Program> program, const FixedValues& values) {
  program->fix(values);
  return program;
}

// The work once more, compiled so that it measures its kernels.
class ProfiledWork {
 public:
  ProfiledWork(const Work& work, const CompileOptions& options, std::vector<Tensor>& inputs,
               const FixedValues& fixed, Team& team)
      : program_(with_values(compile(work.graph, work.updates,
                                     {options.backend,
                                      {},
                                      {},
                                      &profile_,
                                      options.bf16_products,
                                      options.bf16_pairs,
                                      options.fixed}),
                             fixed)),
        rehearsal_(*program_, inputs, work.extents, team) {
    rehearsal_.milliseconds();
  }
  void run() {
    rehearsal_.milliseconds();
    runs_.push_back(profile_.times());
  }
  const std::vector<RunTimes>& runs() const { return runs_; }
  // Of one run more, behind one that makes the room for its spans.
  std::string trace(std::span<const KernelRow> rows) {
    profile_.keep_spans();
    rehearsal_.milliseconds();
    rehearsal_.milliseconds();
    return trace_json(profile_, rows);
  }

 private:
  Profile profile_;
  std::unique_ptr<Program> program_;
  Rehearsal rehearsal_;
  std::vector<RunTimes> runs_;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : work_(work_of(options)),
        compiled_(options_of(work_, options)),
        team_(options.machine.threads),
        inputs_(rehearsal_inputs(work_.graph, work_.updates, work_.extents)),
        fixed_(fixed_values(compiled_, work_.graph, inputs_)),
        program_(with_values(compile(work_.graph, work_.updates, compiled_), fixed_)),
        rehearsal_(*program_, inputs_, work_.extents, team_) {
    NamedTensors written;
    if (!options.tensors.empty())
      for (std::size_t i = 0; i < inputs_.size(); ++i)
        written.tensors.emplace_back("input:" + program_->inputs()[i].name, inputs_[i]);
    milliseconds();
    if (options.tensors.empty()) return;
    for (std::size_t i = 0; i < program_->outputs().size(); ++i)
      written.tensors.emplace_back("output:" + program_->outputs()[i].name, rehearsal_.output(i));
    write_safetensors(options.tensors, written);
  }

  double milliseconds() {
    const double out = rehearsal_.milliseconds();
    if (profiled_) profiled_->run();
    return out;
  }
  double peak() { return measured_peak_flops(team_); }

  // What milliseconds() does from now on is followed by a run that measures kernels.
  void start_profile() { profiled_.emplace(work_, compiled_, inputs_, fixed_, team_); }
  StepProfile profile() const {
    return profile_of(profiled_->runs(), profiled_kernels(), work_.extents);
  }
  std::string trace() {
    if (!profiled_) start_profile();
    return profiled_->trace(profiled_kernels());
  }

  // Flops of the products, and of all the rest.
  struct Flops {
    double products = 0, rest = 0;
  };
  Flops flops() const {
    Flops out;
    const Graph graph = lower(work_.graph, compiled_.bf16_products);
    const auto value = [&](const Dim& dim) { return value_of(dim, work_.extents).value_or(0); };
    for (NodeId id = 0; id < graph.size(); ++id) out.products += value(product_flops(graph, id));
    for (const KernelRow& row : compiled_kernels(graph, work_.updates, compiled_.fixed))
      out.rest += value(row.times * row.flops);
    out.rest -= out.products;
    return out;
  }
  const DimEnv& extents() const { return work_.extents; }
  std::size_t workspace() const { return program_->workspace_bytes(work_.extents, team_.size()); }

 private:
  std::vector<KernelRow> profiled_kernels() const {
    return compiled_kernels(lower(work_.graph, compiled_), work_.updates, compiled_.fixed);
  }

  Work work_;
  CompileOptions compiled_;
  Team team_;
  std::vector<Tensor> inputs_;
  FixedValues fixed_;
  std::unique_ptr<Program> program_;
  Rehearsal rehearsal_;
  std::optional<ProfiledWork> profiled_;
};

// The median and its 95 % interval, from order statistics: ranks
// n/2 +- 1.96 sqrt(n)/2 (Conover 1999, section 3.2).
struct Spread {
  double median, low, high;
};
Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  const auto at = [&](double rank) {
    const auto i = static_cast<std::int64_t>(std::floor(rank));
    return values[static_cast<std::size_t>(
        std::clamp<std::int64_t>(i, 0, static_cast<std::int64_t>(values.size()) - 1))];
  };
  const double half = 0.98 * std::sqrt(n);
  return {(at((n - 1) / 2) + at(n / 2)) / 2, at(n / 2 - half), at(n / 2 + half)};
}

// One request a line: "run N" answers with the milliseconds of N runs, "peak"
// with the flops a second of a loop of multiply-adds.
void serve(Bench& bench, const nlohmann::ordered_json& about) {
  std::cout << about.dump() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line == "peak") {
      std::cout << nlohmann::json(bench.peak()).dump() << std::endl;
      continue;
    }
    int rounds = 0;
    if (!line.starts_with("run ") || !CLI::detail::lexical_cast(line.substr(4), rounds) ||
        rounds < 1)
      throw_user_error("T0900", fmt::format("'{}' is no request", line), "run N, or peak");
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) times.push_back(bench.milliseconds());
    std::cout << nlohmann::json(times).dump() << std::endl;
  }
}

int run_bench(const Options& options) {
  Bench bench(options);
  const Bench::Flops flops = bench.flops();
  nlohmann::ordered_json out{{"file", options.file},
                             {"part", options.part},
                             {"threads", options.machine.threads},
                             {"extents", bench.extents()},
                             {"product_flops", flops.products},
                             {"other_flops", flops.rest},
                             {"workspace_bytes", bench.workspace()}};
  if (options.serve) {
    serve(bench, out);
    return 0;
  }
  if (options.profile) bench.start_profile();
  std::vector<double> times, peaks;
  for (int i = 0; i < options.rounds; ++i) {
    times.push_back(bench.milliseconds());
    if (i % 10 == 0) peaks.push_back(bench.peak());
  }
  const Spread time = spread_of(times);
  const double peak = spread_of(peaks).median;
  const double rate = flops.products / (time.median * 1e-3);
  out["milliseconds"] = {{"median", time.median}, {"low", time.low}, {"high", time.high}};
  out["product_flops_per_second"] = rate;
  out["peak_flops_per_second"] = peak;
  std::optional<StepProfile> profile;
  if (options.profile) {
    profile = bench.profile();
    out["profile"] = profile_json(*profile);
  }
  if (!options.trace.empty()) {
    AtomicFile file(options.trace);
    file.write(bench.trace());
    file.commit();
  }
  if (options.json) {
    std::cout << out.dump() << "\n";
    return 0;
  }
  std::string extents;
  for (const auto& [name, value] : bench.extents())
    extents += fmt::format("{}{} = {}", extents.empty() ? "" : ", ", name, value);
  std::cout << fmt::format("{} of {}, {}\n", options.part, options.file, extents);
  std::cout << fmt::format("{:.3f} ms, median of {} (95 %: {:.3f} to {:.3f})\n", time.median,
                           options.rounds, time.low, time.high);
  std::cout << fmt::format("{} flops in products, {} in the rest\n", short_number(flops.products),
                           short_number(flops.rest));
  std::cout << fmt::format("{}flops a second in products", short_number(rate));
  if (peak > 0)
    std::cout << fmt::format(": {:.1f} % of this machine's {}", 100 * rate / peak,
                             short_number(peak));
  std::cout << "\n";
  if (profile) std::cout << "\n" << profile_text(*profile, peak);
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time a model or its training step on random data, against the machine's peak");
  command->add_option("file", options->file, "The program (.tdl) or graph (.tir)")->required();
  command
      ->add_option("--part", options->part,
                   "The model alone, its weights packed once before; loss and gradients; or the "
                   "whole training step")
      ->check(CLI::IsMember({"forward", "gradient", "step"}));
  command->add_option("--rounds", options->rounds, "How many runs are timed")
      ->check(CLI::PositiveNumber);
  command->add_option("--tensors", options->tensors,
                      "Write what goes in and what comes out (.safetensors)");
  command->add_flag("--json", options->json, "One line of JSON");
  CLI::Option* profile = command->add_flag(
      "--profile", options->profile,
      "Say where the time goes, by kernel and by line, and how long the threads wait");
  CLI::Option* trace = command->add_option(
      "--trace", options->trace,
      "Write one run, kernel by kernel on each thread, for ui.perfetto.dev (.json)");
  command
      ->add_flag("--serve", options->serve,
                 "Time on request: a line 'run N' on standard input is answered with a JSON "
                 "list of milliseconds, 'peak' with flops a second")
      ->excludes(profile)
      ->excludes(trace);
  add_language_options(*command, options->language);
  add_machine_options(*command, options->machine);
  command->callback([options, &action] { action = [options] { return run_bench(*options); }; });
}

}  // namespace treadle
