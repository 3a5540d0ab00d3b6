#include "driver/inspect/stages.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/pass_manager.h"
#include "runtime/file.h"

namespace treadle {
namespace {

bool has_parameter(const Graph& graph) {
  for (const NodeId id : graph.inputs())
    if (graph.node(id).op == Op::parameter) return true;
  return false;
}

InspectedProgram load_text_form(const std::string& path, const DimEnv& given) {
  InspectedProgram out;
  out.graph = load_graph(path);
  out.title = path;
  out.path = path;
  if (path != "-") out.text = read_file(path);
  out.trains = out.graph.output("loss").valid() && has_parameter(out.graph);
  out.extents = given;
  return out;
}

InspectedProgram load_program(const std::string& path, ElaborateOptions options,
                              const DimEnv& given, bool training) {
  InspectedProgram out;
  const std::map<std::string, Dim> dims = load_experiment(path, options).dims;
  for (const auto& [name, value] : given)
    (dims.contains(name) ? options.dims : out.extents)[name] = value;
  const Experiment experiment = load_experiment(path, options);
  out.path = path;
  out.text = read_file(path);
  const std::string file = std::filesystem::path(path).filename().string();
  const TrainSpec* train = experiment.find_train();
  if (train != nullptr && training) {
    out.title = fmt::format("{}: train {}", file, train->model);
    out.trains = true;
    out.graph = experiment.loss(*train, Mode::train);
    if (train->truncation.kind == TruncationSpec::Kind::window)
      out.graph = truncate_bptt(out.graph, train->truncation.window);
    out.optimizer = optimizer_settings(train->optimizer);
  } else {
    if (experiment.models.empty())
      throw_user_error("T0842", "'" + path + "' has no model", "model NAME(...) { ... }");
    const std::string& name = train != nullptr ? train->model : experiment.models[0].name;
    out.title = fmt::format("{}: model {}", file, name);
    out.graph = experiment.model(name, Mode::eval);
  }
  if (train != nullptr) {
    const std::set<std::string> symbols = out.graph.symbols();
    if (const auto window = train->data.integer("window", 0); window > 0 && symbols.size() == 1)
      out.extents.emplace(*symbols.begin(), window);
    out.extents.emplace("B", train->data.integer("lanes", train->batch));
  }
  return out;
}

}  // namespace

InspectedProgram load_inspected(const std::string& path, const LanguageOptions& language,
                                bool training) {
  const DimEnv given = parse_dims(language.dims);
  ElaborateOptions options = language.elaborate();
  options.dims.clear();
  InspectedProgram out = path.ends_with(".tdl") ? load_program(path, options, given, training)
                                                : load_text_form(path, given);
  out.bf16_products = language.bf16_products();
  std::set<std::string> known = out.graph.symbols();
  known.insert("B");
  for (const auto& [name, value] : given) {
    if (!out.extents.contains(name) || known.contains(name)) continue;
    std::string names;
    for (const std::string& symbol : known) names += (names.empty() ? "" : ", ") + symbol;
    throw_user_error("T0892", fmt::format("'{}' is no dim of the program and no symbol", name),
                     "its symbols are " + names);
  }
  return out;
}

CompiledStages compile_stages(const InspectedProgram& program) {
  CompiledStages out;
  const auto add = [&](std::string name, std::string doc, Graph graph) {
    out.stages.push_back({std::move(name), std::move(doc), std::move(graph)});
  };
  add("one example", "the program as it is written, for one example", program.graph);
  if (program.trains) {
    add("batched", "many examples at once; the loss is their mean",
        make_evaluation_step(program.graph).graph);
    const TrainingStep step = make_training_step(program.graph, program.optimizer);
    out.updates = in_place_updates(step);
    add("training step", "with the gradients and the optimizer's update", step.graph);
  } else {
    add("batched", "many examples at once", batch(program.graph));
  }
  for (const PassCall& call : parse_pipeline(pipeline_of(program.bf16_products)))
    add(std::string(call.pass->name), std::string(call.pass->doc),
        run_pipeline(out.stages.back().graph, std::span(&call, 1), {}, machine_context()));
  return out;
}

}  // namespace treadle
