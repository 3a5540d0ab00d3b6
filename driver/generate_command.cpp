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
#include "driver/translation.h"
#include "driver/vocabularies.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run, model;
  std::vector<std::string> from, source;
  std::optional<std::string> prompts, source_file, stop;
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
  // Who asks for greedy choices or draws does not want the block's beam.
  const bool draws = options.greedy || options.temperature || options.top_k || options.top_p;
  out.beam = options.beam.value_or(draws ? 0 : spec.beam);
  out.length_penalty = options.length_penalty.value_or(spec.length_penalty);
  out.classes = vocabulary.size();
  const std::string stop = options.stop.value_or(spec.stop);
  out.stop = vocabulary.index(stop.empty() ? end_token : stop);
  if (stop.empty() || out.stop) return out;
  const std::vector<std::int32_t> tokens = vocabulary.encode(stop);
  if (tokens.size() != 1)
    throw_user_error("T0883",
                     fmt::format("generation stops at one token; '{}' is {}", stop, tokens.size()),
                     "stop \"\\n\"", spec.range);
  out.stop = tokens.front();
  return out;
}

// `before` is what the continuation belongs to: {"prompt", TEXT} or {"source", TEXT}.
void print_json(const std::pair<std::string, std::string>& before, const Continuation& c,
                const Vocabulary& vocabulary) {
  nlohmann::ordered_json line;
  line[before.first] = before.second;
  line["text"] = vocabulary.decode(c.tokens);
  line["log_probability"] = c.log_probability;
  line["stopped"] = c.stopped;
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

const GenerateSpec& block_of(const Experiment& experiment, const Options& options) {
  for (const GenerateSpec& spec : experiment.generates)
    if (options.model.empty() || spec.model == options.model) return spec;
  throw_user_error("T0845",
                   options.model.empty() ? fmt::format("'{}' has no generate block", options.file)
                                         : fmt::format("'{}' has no generate block of '{}'",
                                                       options.file, options.model),
                   "generate MODEL { from \"\\n\"; temperature 0.8; max 500 }");
}

// Where the vocabulary has a mark for the beginning, every text begins with it.
Tokens prompt_tokens(const std::string& text, const Vocabulary& vocabulary,
                     const GenerateSpec& spec) {
  Tokens out;
  if (const auto begin = vocabulary.index(begin_token)) out.push_back(*begin);
  const Tokens rest = vocabulary.encode(text);
  out.insert(out.end(), rest.begin(), rest.end());
  if (out.empty())
    throw_user_error("T0847", "generation starts from at least one token", "from \"\\n\"",
                     spec.range);
  return out;
}

// A run and what `generate` was asked of it.
struct Generation {
  const Options& options;
  const GenerateSpec& spec;
  Generator& generator;
  const Vocabularies& vocabularies;
};

void continue_texts(const Generation& g, const Vocabulary& vocabulary) {
  std::vector<std::string> prompts = prompts_of(g.options, g.spec);
  if (prompts.empty() && vocabulary.index(begin_token)) prompts.emplace_back();
  std::vector<Tokens> tokens;
  for (const std::string& prompt : prompts)
    tokens.push_back(prompt_tokens(prompt, vocabulary, g.spec));
  if (tokens.empty())
    throw_user_error("T0847", "generation starts from at least one token", "from \"\\n\"",
                     g.spec.range);
  const DecodingOptions decode = decoding(g.options, g.spec, vocabulary);
  const bool spaced = vocabulary.unit() == TokenUnit::word;
  const auto print = [&](std::size_t i, const Continuation& c) {
    if (g.options.json) return print_json({"prompt", prompts[i]}, c, vocabulary);
    const bool space = spaced && !prompts[i].empty() && !c.tokens.empty();
    std::cout << prompts[i] << (space ? " " : "") << vocabulary.decode(c.tokens) << "\n";
  };
  if (decode.beam > 0) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::vector<std::vector<Continuation>> found =
          beam_search(g.generator, 1, tokens[i], {}, decode);
      for (const Continuation& c : found[0]) print(i, c);
    }
    return;
  }
  // One continuation is shown as it grows.
  const bool streams = tokens.size() == 1 && !g.options.json;
  if (streams) std::cout << prompts[0] << std::flush;
  bool first = streams && prompts[0].empty();
  const auto show = [&](std::size_t, std::int32_t token) {
    if (!streams) return;
    std::cout << (spaced && !first ? " " : "") << vocabulary.decode(std::span(&token, 1))
              << std::flush;
    first = false;
  };
  const std::vector<Continuation> found = sample(g.generator, tokens, {}, decode, show);
  if (streams)
    std::cout << "\n";
  else
    for (std::size_t i = 0; i < found.size(); ++i) print(i, found[i]);
}

void translate_sources(const Generation& g, const std::string& input) {
  std::vector<std::string> texts = g.options.source;
  if (g.options.source_file) texts = lines_of(read_file(*g.options.source_file));
  if (texts.empty())
    throw_user_error("T0533", fmt::format("'{}' reads a source: '{}'", g.spec.model, input),
                     "--source \"...\", or --source-file with one on each line", g.spec.range);
  const Vocabulary& from = g.vocabularies.at("source");
  const Vocabulary& to = g.vocabularies.at("target");
  std::vector<Tokens> sources;
  for (const std::string& text : texts) sources.push_back(from.encode(text));
  const std::vector<std::string> prompts = prompts_of(g.options, g.spec);
  if (prompts.size() > 1)
    throw_user_error("T0534", "all translations have the same beginning", "one text behind from",
                     g.spec.range);
  const Tokens prompt = prompt_tokens(prompts.empty() ? "" : prompts[0], to, g.spec);
  translate(g.generator, input, sources, prompt, decoding(g.options, g.spec, to),
            [&](std::size_t i, const Continuation& c) {
              if (g.options.json) return print_json({"source", texts[i]}, c, to);
              Tokens whole(prompt.begin() + 1, prompt.end());
              whole.insert(whole.end(), c.tokens.begin(), c.tokens.end());
              std::cout << to.decode(whole) << std::endl;
            });
}

// The model's input that reads the field "source" of the data.
std::string source_input(const Experiment& experiment, const std::string& model) {
  if (const TrainSpec* train = experiment.find_train(model))
    for (const auto& [input, field] : train->data.fields)
      if (field == "source") return input;
  return "source";
}

int run_generate(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  const GenerateSpec& spec = block_of(experiment, options);
  const Graph graph = experiment.model(spec.model, Mode::eval);
  const Checkpoint saved = load_run(options.run, graph);
  const Vocabularies vocabularies = vocabularies_of(saved.texts, options.run);
  const bool pairs = vocabularies.contains("source") && vocabularies.contains("target");
  if (!pairs && !vocabularies.contains("text"))
    throw_user_error("T0846", fmt::format("the run '{}' holds no vocabulary", options.run),
                     "generate continues a run on a text");
  Generator generator(graph, saved.parameters, compile_options({}, options.language));
  const std::string source = source_input(experiment, spec.model);
  for (const std::string& given : generator.given_inputs())
    if (!pairs || given != source)
      throw_user_error("T0844", fmt::format("generation cannot feed the input '{}'", given),
                       "a model that generates reads token(V)[T] and a state", spec.range);
  const bool translates = !generator.given_inputs().empty();
  if (!translates && (!options.source.empty() || options.source_file))
    throw_user_error("T0535", fmt::format("'{}' reads no source", spec.model),
                     "what is to be continued stands behind --from", spec.range);
  if (generator.blocked()) {
    Diagnostic note = *generator.blocked();
    note.severity = Severity::warning;
    note.hints = {"the whole text is read again for each token"};
    std::cerr << render(note);
  }
  const Generation generation{options, spec, generator, vocabularies};
  if (translates)
    translate_sources(generation, source);
  else
    continue_texts(generation, vocabularies.at(pairs ? "target" : "text"));
  return 0;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue a text with a trained model");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run, "The folder of its training run")->required();
  command->add_option("--model", options->model, "Which generate block's model; else the first");
  command->add_option("--source", options->source, "What to translate; several go side by side")
      ->allow_extra_args(false);
  command->add_option("--source-file", options->source_file, "A file with a source on each line")
      ->excludes("--source");
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
