#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <numeric>
#include <optional>

#include "driver/commands.h"
#include "driver/generator.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "runtime/checkpoint.h"
#include "runtime/random.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run;
  std::optional<std::string> from;
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k, max;
  std::optional<std::uint64_t> seed;
  bool greedy = false;
  LanguageOptions language;
};

// One choice among logits: the temperature divides them, top_k and top_p leave
// the likeliest (Holtzman et al. 2020 for top_p).
std::int32_t choose(std::span<const double> logits, const GenerateSpec& spec, double uniform) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  if (spec.greedy || spec.temperature <= 0) return order.front();
  if (spec.top_k > 0 && static_cast<std::size_t>(spec.top_k) < order.size())
    order.resize(static_cast<std::size_t>(spec.top_k));
  std::vector<double> weights;
  const double top = logits[static_cast<std::size_t>(order.front())];
  for (const std::int32_t i : order)
    weights.push_back(std::exp((logits[static_cast<std::size_t>(i)] - top) / spec.temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    kept += weights[i];
    if (kept >= spec.top_p * total) {
      weights.resize(i + 1);
      break;
    }
  }
  total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double left = uniform * total;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if ((left -= weights[i]) < 0) return order[i];
  return order[weights.size() - 1];
}

int run_generate(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  if (experiment.generates.empty())
    throw_user_error("T0845", fmt::format("'{}' has no generate block", options.file),
                     "generate MODEL { from \"\\n\"; temperature 0.8; max 500 }");
  GenerateSpec spec = experiment.generates.front();
  if (options.from) spec.from = *options.from;
  if (options.temperature) spec.temperature = *options.temperature;
  if (options.top_k) spec.top_k = *options.top_k;
  if (options.max) spec.max = *options.max;
  if (options.seed) spec.seed = static_cast<std::int64_t>(*options.seed);
  spec.greedy = spec.greedy || options.greedy;
  const Graph graph = experiment.model(spec.model, Mode::eval);
  const Checkpoint saved = load_run(options.run, graph);
  const auto text = saved.texts.find("vocabulary");
  if (text == saved.texts.end())
    throw_user_error("T0846", fmt::format("the run '{}' holds no vocabulary", options.run),
                     "generate continues a run on a text");
  const Vocabulary vocabulary = Vocabulary::from_json(text->second, options.run);
  std::vector<std::int32_t> tokens = vocabulary.encode(spec.from);
  if (tokens.empty())
    throw_user_error("T0847", "generation starts from at least one token", "from \"\\n\"",
                     spec.range);
  Generator generator(graph, saved.parameters);
  if (generator.blocked()) {
    Diagnostic note = *generator.blocked();
    note.severity = Severity::warning;
    note.hints = {"the whole text is read again for each token"};
    std::cerr << render(note);
  }
  RandomStream random(static_cast<std::uint64_t>(spec.seed), "generate");
  std::cout << spec.from;
  std::vector<double> logits;
  for (const std::int32_t token : tokens) logits = generator.next(token);
  for (std::int64_t i = 0; i < spec.max; ++i) {
    const std::int32_t token = choose(logits, spec, random.next_uniform());
    tokens.assign(1, token);
    std::cout << vocabulary.decode(tokens) << std::flush;
    if (i + 1 < spec.max) logits = generator.next(token);
  }
  std::cout << "\n";
  return 0;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue a text with a trained model");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run, "The folder of its training run")->required();
  command->add_option("--from", options->from, "The text to continue");
  command->add_option("--temperature", options->temperature, "Below 1: safer; above: wilder")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", options->top_k, "Choose among the k likeliest")
      ->check(CLI::PositiveNumber);
  command->add_option("--max", options->max, "How many tokens")->check(CLI::PositiveNumber);
  command->add_option("--seed", options->seed, "Of the choices");
  command->add_flag("--greedy", options->greedy, "Always the likeliest");
  add_language_options(*command, options->language);
  command->callback([options, &action] { action = [options] { return run_generate(*options); }; });
}

}  // namespace treadle
