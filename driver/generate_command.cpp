#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "driver/commands.h"
#include "driver/decoding.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run;
  std::vector<std::string> from;
  std::optional<std::string> prompts, stop;
  std::optional<double> temperature, top_p, length_penalty;
  std::optional<std::int64_t> top_k, max, beam;
  std::optional<std::uint64_t> seed;
  bool greedy = false, json = false;
  LanguageOptions language;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::vector<std::string> prompts_of(const Options& options, const GenerateSpec& spec) {
  if (options.prompts) return lines_of(read_file(*options.prompts));
  return options.from.empty() ? spec.from : options.from;
}

DecodingOptions decoding(const Options& options, const GenerateSpec& spec,
                         const Vocabulary& vocabulary) {
  DecodingOptions out;
  out.greedy = spec.greedy || options.greedy;
  out.temperature = options.temperature.value_or(spec.temperature);
  out.top_k = options.top_k.value_or(spec.top_k);
  out.top_p = options.top_p.value_or(spec.top_p);
  out.max = options.max.value_or(spec.max);
  out.seed = options.seed.value_or(static_cast<std::uint64_t>(spec.seed));
  out.beam = options.beam.value_or(spec.beam);
  out.length_penalty = options.length_penalty.value_or(spec.length_penalty);
  const std::string stop = options.stop.value_or(spec.stop);
  if (stop.empty()) return out;
  const std::vector<std::int32_t> tokens = vocabulary.encode(stop);
  if (tokens.size() != 1)
    throw_user_error("T0883",
                     fmt::format("generation stops at one token; '{}' is {}", stop, tokens.size()),
                     "stop \"\\n\"", spec.range);
  out.stop = tokens.front();
  return out;
}

void print(const std::string& prompt, const Continuation& c, const Vocabulary& vocabulary,
           bool json) {
  const std::string text = vocabulary.decode(c.tokens);
  if (!json) {
    std::cout << prompt << text << "\n";
    return;
  }
  nlohmann::ordered_json line;
  line["prompt"] = prompt;
  line["text"] = text;
  line["log_probability"] = c.log_probability;
  line["stopped"] = c.stopped;
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

int run_generate(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  if (experiment.generates.empty())
    throw_user_error("T0845", fmt::format("'{}' has no generate block", options.file),
                     "generate MODEL { from \"\\n\"; temperature 0.8; max 500 }");
  const GenerateSpec& spec = experiment.generates.front();
  const Graph graph = experiment.model(spec.model, Mode::eval);
  const Checkpoint saved = load_run(options.run, graph);
  const auto text = saved.texts.find("vocabulary");
  if (text == saved.texts.end())
    throw_user_error("T0846", fmt::format("the run '{}' holds no vocabulary", options.run),
                     "generate continues a run on a text");
  const Vocabulary vocabulary = Vocabulary::from_json(text->second, options.run);
  const std::vector<std::string> prompts = prompts_of(options, spec);
  std::vector<std::vector<std::int32_t>> tokens;
  for (const std::string& prompt : prompts) {
    tokens.push_back(vocabulary.encode(prompt));
    if (tokens.back().empty())
      throw_user_error("T0847", "generation starts from at least one token", "from \"\\n\"",
                       spec.range);
  }
  if (tokens.empty())
    throw_user_error("T0847", "generation starts from at least one token", "from \"\\n\"",
                     spec.range);
  const DecodingOptions decode = decoding(options, spec, vocabulary);
  Generator generator(graph, saved.parameters);
  if (!generator.given_inputs().empty())
    throw_user_error(
        "T0844", fmt::format("generation cannot feed the input '{}'", generator.given_inputs()[0]),
        "a model that generates reads token(V)[T] and a state", spec.range);
  if (generator.blocked()) {
    Diagnostic note = *generator.blocked();
    note.severity = Severity::warning;
    note.hints = {"the whole text is read again for each token"};
    std::cerr << render(note);
  }
  if (decode.beam > 0) {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      for (const Continuation& c : beam_search(generator, tokens[i], {}, decode))
        print(prompts[i], c, vocabulary, options.json);
    return 0;
  }
  // One continuation is shown as it grows.
  const bool streams = tokens.size() == 1 && !options.json;
  if (streams) std::cout << prompts[0] << std::flush;
  const auto show = [&](std::size_t, std::int32_t token) {
    if (streams) std::cout << vocabulary.decode(std::span(&token, 1)) << std::flush;
  };
  const std::vector<Continuation> found = sample(generator, tokens, {}, decode, show);
  if (streams)
    std::cout << "\n";
  else
    for (std::size_t i = 0; i < found.size(); ++i)
      print(prompts[i], found[i], vocabulary, options.json);
  return 0;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue a text with a trained model");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run, "The folder of its training run")->required();
  command->add_option("--from", options->from, "The text to continue; several go side by side")
      ->allow_extra_args(false);
  command->add_option("--prompts", options->prompts, "A file with a text to continue on each line")
      ->excludes("--from");
  command->add_option("--temperature", options->temperature, "Below 1: safer; above: wilder")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", options->top_k, "Choose among the k likeliest")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--top-p", options->top_p,
                   "Choose among the likeliest that together have this probability")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--max", options->max, "How many tokens")->check(CLI::PositiveNumber);
  command->add_option("--stop", options->stop, "A token that ends a continuation");
  command->add_option("--beam", options->beam, "Search with this many hypotheses, print them all")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--length-penalty", options->length_penalty,
                   "A hypothesis is worth its log probability / length^this")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options->seed, "Of the choices");
  command->add_flag("--greedy", options->greedy, "Always the likeliest");
  command->add_flag("--json", options->json, "One line of JSON for each continuation");
  add_language_options(*command, options->language);
  command->callback([options, &action] { action = [options] { return run_generate(*options); }; });
}

}  // namespace treadle
