#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "driver/attention_maps.h"
#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/data_fields.h"
#include "driver/model_runner.h"
#include "driver/options.h"
#include "driver/parameters.h"
#include "driver/plot/svg.h"
#include "driver/plot/terminal.h"
#include "driver/text_inputs.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "runtime/atomic_file.h"
#include "runtime/png.h"
#include "runtime/readers/npy.h"
#include "runtime/readers/text.h"
#include "runtime/safetensors.h"
#include "runtime/team.h"

namespace treadle {
namespace {

struct Options {
  std::string file, run, model, output, result, show;
  std::vector<std::string> inputs, texts;
  AttentionChoice attention;
  LanguageOptions language;
  MachineOptions machine;
  std::uint64_t seed = 0;
};

using Tensors = std::map<std::string, Tensor>;

bool is_state(const Node& node) { return node.attributes.string("role", "") == "state"; }

std::string declared(const Node& input) {
  return fmt::format("{}: {}", input.attributes.string("name"), to_string(input.types[0]));
}

// What the user may give: data and states, not the numbers that random draws read.
std::vector<const Node*> given_inputs(const Graph& graph) {
  std::vector<const Node*> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (is_data_input(node) || (node.op == Op::input && is_state(node))) out.push_back(&node);
  }
  return out;
}

std::string list_of(const std::vector<const Node*>& inputs) {
  std::string out;
  for (const Node* input : inputs) out += (out.empty() ? "" : ", ") + declared(*input);
  return "its inputs are " + out;
}

// name=file.npy, or name=- for standard input; added to `out`.
void read_inputs(const Graph& graph, const std::vector<std::string>& words, Tensors& out) {
  const std::vector<const Node*> inputs = given_inputs(graph);
  bool stdin_is_read = false;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == word.size())
      throw_user_error("T0852", fmt::format("'{}' does not give an input", word),
                       "write --input NAME=FILE.npy");
    const std::string name = word.substr(0, equals), file = word.substr(equals + 1);
    const bool known = std::any_of(inputs.begin(), inputs.end(), [&](const Node* input) {
      return input->attributes.string("name") == name;
    });
    if (!known)
      throw_user_error("T0853", fmt::format("the model has no input '{}'", name), list_of(inputs));
    if (out.contains(name))
      throw_user_error("T0852", fmt::format("the input '{}' is given twice", name));
    if (file == "-" && std::exchange(stdin_is_read, true))
      throw_user_error("T0852", "standard input can be read once only");
    if (file == "-") {
      const std::string bytes{std::istreambuf_iterator<char>(std::cin), {}};
      out.emplace(name, parse_npy(bytes, "<stdin>"));
    } else {
      out.emplace(name, read_npy(file));
    }
  }
}

void require_all(const Graph& graph, const Tensors& tensors) {
  const std::vector<const Node*> texts = token_inputs(graph);
  for (const Node* input : given_inputs(graph)) {
    const std::string name = input->attributes.string("name");
    if (is_state(*input) || tensors.contains(name)) continue;
    const bool is_text = std::find(texts.begin(), texts.end(), input) != texts.end();
    throw_user_error("T0854", fmt::format("the input '{}' is missing: {}", name, declared(*input)),
                     fmt::format("--input {}=FILE.npy", name) +
                         (is_text ? fmt::format(", or --text {}=\"...\"", name) : ""),
                     input->location);
  }
}

// Numbers may change their precision, but not become class indices.
void fit_elements(const Graph& graph, Tensors& tensors) {
  for (const Node* input : given_inputs(graph)) {
    const std::string name = input->attributes.string("name");
    const auto found = tensors.find(name);
    if (found == tensors.end()) continue;
    Tensor& tensor = found->second;
    const DType wanted = input->types[0].dtype;
    if (is_float(wanted) != is_float(tensor.dtype()))
      throw_user_error(
          "T0855",
          fmt::format("the input '{}' is {}, its file holds {}", name, to_string(input->types[0]),
                      to_string(tensor.dtype())),
          is_float(wanted) ? "save it as float32 or float64" : "save it as int32 or int64");
    if (const std::int64_t classes = classes_of(graph, name); classes > 0)
      require_class_indices(tensor, classes, name);
    tensor = tensor.cast(wanted);
  }
}

// How many examples the inputs hold; nothing for one without a batch's dimension.
std::optional<std::int64_t> batch_size(const Graph& graph, const Tensors& tensors) {
  std::optional<std::int64_t> size;
  const Node* first = nullptr;
  for (const Node* input : given_inputs(graph)) {
    const auto found = tensors.find(input->attributes.string("name"));
    if (found == tensors.end()) continue;
    const Shape& shape = found->second.shape();
    const std::size_t rank = input->types[0].rank();
    const bool batched = shape.size() == rank + 1;
    if (!batched && shape.size() != rank)
      throw_user_error(
          "T0855",
          fmt::format("the input '{}' is {}, its file has the shape [{}]",
                      input->attributes.string("name"), to_string(input->types[0]),
                      fmt::join(shape, ", ")),
          fmt::format("one example has {} dimensions, a batch has {}", rank, rank + 1));
    const auto own = batched ? std::optional<std::int64_t>(shape[0]) : std::nullopt;
    if (first != nullptr && own != size)
      throw_user_error(
          "T0855",
          fmt::format("the inputs '{}' and '{}' hold different numbers of examples",
                      first->attributes.string("name"), input->attributes.string("name")),
          "either each is one example, or all are batches of the same size");
    size = own;
    first = input;
  }
  return size;
}

std::string number_text(const Tensor& tensor, std::int64_t i) {
  if (!is_float(tensor.dtype())) return fmt::format("{}", tensor.get_integer(i));
  if (tensor.dtype() == DType::f64) return fmt::format("{}", tensor.get(i));
  return fmt::format("{}", static_cast<float>(tensor.get(i)));
}

// A line with name and type, then a line for each row.
void print_tensor(const std::string& name, const Tensor& tensor) {
  std::cout << fmt::format("{}: {}[{}]\n", name, to_string(tensor.dtype()),
                           fmt::join(tensor.shape(), ", "));
  const std::int64_t width = tensor.shape().empty() ? 1 : tensor.shape().back();
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    std::cout << number_text(tensor, i) << ((i + 1) % width == 0 ? '\n' : ' ');
}

// Before anything runs: what is asked for can be written.
void check_output(const Graph& graph, const Options& options) {
  std::string names;
  bool known = options.result.empty();
  for (const Output& output : graph.outputs()) {
    names += (names.empty() ? "" : ", ") + output.name;
    known = known || output.name == options.result;
  }
  if (!known)
    throw_user_error("T0856", fmt::format("the model has no result '{}'", options.result),
                     "its results are " + names);
  if (options.output.empty() || options.output.ends_with(".safetensors")) return;
  const bool picture = options.output.ends_with(".png");
  if (!picture && !options.output.ends_with(".npy"))
    throw_user_error("T0856",
                     fmt::format("'{}' is none of .npy, .png and .safetensors", options.output),
                     "the name's end says the form of the file");
  if (options.result.empty() && graph.outputs().size() > 1)
    throw_user_error("T0856",
                     fmt::format("a {} file holds one tensor, the model has several results",
                                 picture ? ".png" : ".npy"),
                     "write a .safetensors file, or choose with --result: " + names);
}

void write_results(NamedTensors results, const Options& options) {
  if (options.output.empty())
    for (const auto& [name, tensor] : results.tensors) print_tensor(name, tensor);
  else if (options.output.ends_with(".npy"))
    write_npy(options.output, results.tensors.front().second);
  else if (options.output.ends_with(".png"))
    write_png(options.output, image_sheet(results.tensors.front().second));
  else
    write_safetensors(options.output, results);
}

// The parameters, and what the run says of its texts.
Checkpoint checkpoint_for(const Graph& graph, const Options& options) {
  if (!options.run.empty()) return load_run(options.run, graph);
  Checkpoint out;
  out.parameters = initial_parameters(graph, options.seed);
  return out;
}

void write_maps(const std::vector<HeatMapGroup>& groups, const Options& options) {
  if (!options.output.empty()) return write_file_atomically(options.output, svg(groups));
  for (const HeatMapGroup& group : groups)
    for (HeatMap map : group.maps) {
      map.title = map.title.empty() ? group.title : group.title + ", " + map.title;
      std::cout << terminal_text(map) << "\n";
    }
}

// Before anything runs, as check_output.
void check_maps_output(const Options& options) {
  if (!options.result.empty())
    throw_user_error("T0856", "--result chooses a result, --show attention shows none",
                     "choose with --attention and --head");
  if (!options.output.empty() && !options.output.ends_with(".svg"))
    throw_user_error("T0856", fmt::format("'{}' is no .svg file", options.output),
                     "attention is drawn as SVG; without -o it is printed");
}

int show_attention(const Graph& graph, Tensors tensors,
                   const std::map<std::string, Vocabulary>& vocabularies, const Options& options) {
  std::map<std::string, std::vector<std::string>> labels;
  for (const Node* input : token_inputs(graph)) {
    const std::string name = input->attributes.string("name");
    const auto vocabulary = vocabularies.find(name);
    labels.emplace(name,
                   token_labels(tensors.at(name),
                                vocabulary == vocabularies.end() ? nullptr : &vocabulary->second));
  }
  add_state_and_seeds(graph, tensors, {}, options.seed);
  write_maps(
      attention_maps(graph, tensors, labels, options.attention,
                     compile_options(options.machine, options.language), options.machine.threads),
      options);
  return 0;
}

int run_run(const Options& options) {
  const Experiment experiment = load_experiment(options.file, options.language.elaborate());
  if (experiment.models.empty())
    throw_user_error("T0842", "'" + options.file + "' has no model", "model NAME(...) { ... }");
  const std::string model = options.model.empty() ? experiment.models[0].name : options.model;
  Graph graph = experiment.model(model, Mode::eval);
  const bool shows = !options.show.empty();
  shows ? check_maps_output(options) : check_output(graph, options);
  const Checkpoint saved = checkpoint_for(graph, options);
  const std::map<std::string, Vocabulary> vocabularies = vocabularies_of(graph, saved, options.run);
  Tensors tensors;
  read_inputs(graph, options.inputs, tensors);
  add_texts(graph, options.texts, vocabularies, tensors);
  require_all(graph, tensors);
  fit_elements(graph, tensors);
  const std::optional<std::int64_t> examples = batch_size(graph, tensors);
  tensors.insert(saved.parameters.begin(), saved.parameters.end());
  if (shows && examples)
    throw_user_error("T0888",
                     fmt::format("attention is shown for one example, here are {}", *examples),
                     "give each input as one example, without the batch's dimension");
  if (shows) return show_attention(graph, std::move(tensors), vocabularies, options);
  if (examples) graph = batch(graph);
  add_state_and_seeds(graph, tensors, examples ? DimEnv{{"B", *examples}} : DimEnv{}, options.seed);
  const std::unique_ptr<Program> program =
      compile(graph, {}, compile_options(options.machine, options.language));
  std::vector<const Tensor*> inputs;
  for (const Slot& slot : program->inputs()) inputs.push_back(&tensors.at(slot.name));
  Team team(options.machine.threads);
  std::vector<Tensor> outputs = run(*program, inputs, team);
  NamedTensors results;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (const std::string& name = program->outputs()[i].name;
        options.result.empty() || options.result == name)
      results.tensors.emplace_back(name, std::move(outputs[i]));
  write_results(std::move(results), options);
  return 0;
}

}  // namespace

void add_run_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "Run a model on arrays or a text");
  command->add_option("file", options->file, "The program (.tdl)")->required();
  command->add_option("--run", options->run,
                      "The folder of a training run; without it parameters have first values");
  command->add_option("--model", options->model, "Which model; else the first");
  command->add_option("--input", options->inputs,
                      "NAME=FILE.npy, one example or a batch of them; - is standard input");
  command
      ->add_option("--text", options->texts,
                   "A text for the input of tokens; NAME=TEXT where there are several")
      ->allow_extra_args(false);
  command->add_option("--show", options->show, "attention: draw its weights for one example")
      ->check(CLI::IsMember({"attention"}));
  command
      ->add_option("--attention", options->attention.which,
                   "With --show: its number or a part of its name, as the drawing has it")
      ->allow_extra_args(false)
      ->needs("--show");
  command->add_option("--head", options->attention.heads, "With --show: this head, from 0")
      ->check(CLI::NonNegativeNumber)
      ->allow_extra_args(false)
      ->needs("--show");
  command->add_option("-o,--output", options->output,
                      "A .npy, .png or .safetensors file, .svg with --show; without it results are "
                      "printed");
  command->add_option("--result", options->result, "Write this result alone");
  command->add_option("--seed", options->seed, "Of first values and random draws");
  add_language_options(*command, options->language);
  add_machine_options(*command, options->machine);
  command->callback([options, &action] { action = [options] { return run_run(*options); }; });
}

}  // namespace treadle
