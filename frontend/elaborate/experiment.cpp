// A whole file: its names, its models and losses, its blocks.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "frontend/elaborate/clauses.h"
#include "frontend/elaborate/elaborator.h"
#include "frontend/elaborate/imports.h"
#include "frontend/parser.h"
#include "frontend/standard_library.h"

namespace treadle {

using namespace elaboration;
using namespace syntax;

struct Experiment::Source {
  std::vector<std::shared_ptr<const Module>> library;
  ModuleScope standard, names;
  std::vector<std::unique_ptr<ModuleScope>> imported;
  ElaborateOptions options;
  std::vector<TrainBlock> blocks;  // trains, then evals
};

namespace {

void throw_errors(const Reporter& reporter) {
  std::vector<Diagnostic> errors;
  for (const Diagnostic& diagnostic : reporter.all())
    if (diagnostic.severity == Severity::error) errors.push_back(diagnostic);
  if (!errors.empty()) throw UserError(std::move(errors));
}

bool mentions(const SourceRange& range, const std::string& name) {
  const std::string text = source_text(range);
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    const bool begins = at == 0 || !word(text[at - 1]);
    const bool ends = at + name.size() == text.size() || !word(text[at + name.size()]);
    if (begins && ends) return true;
  }
  return false;
}

bool reads_field(const DataSpec& data, const Node& input, const std::string& field) {
  const std::string name = input.attributes.string("name");
  const auto renamed = data.fields.find(name);
  return (renamed == data.fields.end() ? name : renamed->second) == field;
}

// The inputs that only the loss reads: targets that the data set gives.
void add_targets(GraphMaker& maker, const TrainBlock& block, Scope& scope) {
  const Graph& graph = maker.b().graph();
  const DType real = maker.real();
  const auto wanted = [&](const std::string& name) {
    if (scope.names.contains(name)) return false;
    bool out = mentions(block.loss->range, name);
    for (const Expr* report : block.reports) out = out || mentions(report->range, name);
    return out;
  };
  const auto add = [&](const std::string& name, const Type& type,
                       const std::optional<Dim>& classes) {
    if (!wanted(name)) return;
    Attributes more;
    if (classes) more.set("classes", Dims{*classes});
    TensorValue value = maker.extra_input(name, type, std::move(more));
    value.classes = classes;
    scope.names[name] = {{value}, Binding::Kind::argument, block.spec.data.range, true, false};
  };
  const Type result = graph.outputs().empty() ? Type{} : graph.output_type(0);
  const std::optional<Dim> classes =
      result.rank() > 0 ? std::optional<Dim>(result.dims.back()) : std::nullopt;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op != Op::input || !node.attributes.has("classes") ||
        node.attributes.string("role", "") == "state")
      continue;
    const Type type = node.types[0];
    const Dim vocabulary = node.attributes.dim("classes");
    if (block.spec.data.kind == "text" || block.spec.data.kind == "lines")
      add("next", type, vocabulary);
    if (block.spec.data.kind == "pairs") {
      if (!reads_field(block.spec.data, node, "target")) continue;
      add("next", type, vocabulary);
    }
    if (block.spec.data.kind == "copy") add("answer", type, vocabulary);
    if (block.spec.data.kind == "pronouns") add("refers", type, vocabulary);
    break;
  }
  if (block.spec.data.kind == "chords")
    if (const Value notes = graph.input("notes"); notes.valid())
      add("next", graph.type(notes), std::nullopt);
  add("label", {DType::i32, {}}, classes);
  const DataSpec& data = block.spec.data;
  for (const auto& [name, columns] : data.columns)
    if (columns.is_single)
      add(name, {real, {}}, std::nullopt);
    else if (!columns.is_range)
      add(name, {real, {Dim(static_cast<std::int64_t>(columns.columns.size()))}}, std::nullopt);
  if (data.kind == "npy") {  // what a loss compares has the type of the result
    add("y", result.with_dtype(real), std::nullopt);
    for (const auto& [name, file] : data.settings) add(name, result.with_dtype(real), std::nullopt);
  }
  if (data.kind == "sparse")
    if (const Value x = graph.input("x"); x.valid()) add("truth", graph.type(x), std::nullopt);
  add("target", {real, {}}, std::nullopt);
}

bool depends_on_input(const Graph& graph, Value v) {
  std::vector<bool> seen(graph.size(), false);
  std::vector<NodeId> open{v.node};
  while (!open.empty()) {
    const NodeId id = open.back();
    open.pop_back();
    if (seen[id]) continue;
    seen[id] = true;
    if (graph.node(id).op == Op::input) return true;
    for (const Value operand : graph.node(id).operands) open.push_back(operand.node);
  }
  return false;
}

void additive_terms(const Expr& expr, std::vector<const Expr*>& terms) {
  if (const auto* binary = as<Binary>(expr); binary && binary->op == BinaryOp::add) {
    additive_terms(*binary->left, terms);
    additive_terms(*binary->right, terms);
    return;
  }
  terms.push_back(&expr);
}

TensorValue scalar(GraphMaker& maker, const Expr& expr, Scope& scope, std::string_view what) {
  const TensorValue value = maker.eval_tensor(expr, scope);
  if (value.type.rank() != 0)
    maker.fail("T0360", expr.range, fmt::format("{} of one example is a number", what),
               fmt::format("this is {}", maker.show_type(value)), {"take its mean or its sum"});
  return value;
}

// The length of what is predicted; without `next` that of the first sequence.
void add_weight(GraphMaker& maker) {
  Graph& graph = maker.b().graph();
  Value counted = graph.input("next");
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    const bool is_data = node.op == Op::input && !node.attributes.has("role");
    if (!counted.valid() && is_data && node.types[0].rank() > 0) counted = {id, 0};
  }
  if (counted.valid())
    graph.add_output("loss.weight", maker.b().dimension(graph.type(counted).dims[0], maker.real()));
}

void add_loss(GraphMaker& maker, const TrainBlock& block, Scope& scope) {
  add_targets(maker, block, scope);
  Graph& graph = maker.b().graph();
  std::vector<const Expr*> terms;
  additive_terms(*block.loss, terms);
  Value loss, penalty;
  for (const Expr* term : terms) {
    const TensorValue value = scalar(maker, *term, scope, "the loss");
    Value& sum = depends_on_input(graph, value.value) ? loss : penalty;
    sum = sum.valid() ? maker.b().add(sum, value.value) : value.value;
  }
  if (!loss.valid())
    maker.fail("T0361", block.loss->range, "this loss does not depend on the data");
  scope.names["loss"] = {
      {maker.tensor(loss)}, Binding::Kind::local, block.loss->range, true, false};
  std::vector<std::pair<std::string, Value>> reports;
  for (std::size_t i = 0; i < block.reports.size(); ++i)
    reports.emplace_back("report." + block.spec.reports[i].name,
                         scalar(maker, *block.reports[i], scope, "a report").value);
  graph.add_output("loss", loss);
  if (penalty.valid()) graph.add_output("penalty", penalty);
  for (const auto& [name, value] : reports) graph.add_output(name, value);
  if (block.spec.per_token) add_weight(maker);
}

const ModuleScope::Definition* find_model(const ModuleScope& names, const std::string& name) {
  const auto found = names.definitions.find(name);
  return found == names.definitions.end() || found->second.syntax->kind != Definition::Kind::model
             ? nullptr
             : &found->second;
}

}  // namespace

const std::vector<DataKind>& data_kinds() {
  static const std::vector<DataKind> kinds{
      {"text",
       {{"text", "token(V)[T]"}, {"next", "token(V)[T]"}},
       {"window", "lanes", "tokens", "vocabulary", "max_tokens", "min_count"}},
      {"idx", {{"image", "real[rows, columns]"}, {"label", "token(classes)"}}, {}},
      {"digits", {{"image", "real[16, 16]"}, {"label", "token(10)"}}, {"examples"}},
      {"csv",
       {{"features", "real[F]"}, {"target", "real"}, {"label", "token(classes)"}},
       {"separator", "skip", "window"}},
      {"npy", {{"x", "real[...]"}, {"y", "real[...]"}}, {}},
      {"lines",
       {{"text", "token(V)[T]"}, {"next", "token(V)[T]"}, {"label", "token(classes)"}},
       {"tokens", "vocabulary", "max_tokens", "min_count"}},
      {"pairs",
       {{"source", "token(V)[S]"}, {"target", "token(W)[T]"}, {"next", "token(W)[T]"}},
       {"tokens", "source_vocabulary", "target_vocabulary", "max_tokens", "min_count"}},
      {"frames", {{"frames", "real[T, columns]"}, {"label", "token(classes)"}}, {"counts"}},
      {"chords", {{"notes", "real[T, 88]"}, {"next", "real[T, 88]"}}, {}},
      {"adding", {{"numbers", "real[T, 2]"}, {"target", "real"}}, {"examples", "length"}},
      {"copy", {{"symbols", "token(10)[T]"}, {"answer", "token(10)[T]"}}, {"examples", "delay"}},
      {"pronouns", {{"text", "token(V)[T]"}, {"refers", "token(V)[T]"}}, {"examples"}},
      {"sparse",
       {{"x", "real[N]"}, {"target", "real"}, {"truth", "real[N]"}},
       {"examples", "width", "nonzero", "noise"}},
      {"wave", {{"x", "real"}, {"target", "real"}}, {"examples", "noise"}},
  };
  return kinds;
}

std::int64_t DataSpec::integer(std::string_view name, std::int64_t otherwise) const {
  const auto found = settings.find(std::string(name));
  if (found == settings.end()) return otherwise;
  if (const auto* value = std::get_if<std::int64_t>(&found->second.value)) return *value;
  throw_user_error("T0403", fmt::format("'{}' is a whole number", name), {}, found->second.range);
}
double DataSpec::real(std::string_view name, double otherwise) const {
  const auto found = settings.find(std::string(name));
  if (found == settings.end()) return otherwise;
  if (const auto* value = std::get_if<double>(&found->second.value)) return *value;
  return static_cast<double>(integer(name, 0));
}
std::string DataSpec::string(std::string_view name, std::string otherwise) const {
  const auto found = settings.find(std::string(name));
  if (found == settings.end()) return otherwise;
  if (const auto* value = std::get_if<std::string>(&found->second.value)) return *value;
  throw_user_error("T0403", fmt::format("'{}' is a text", name), {}, found->second.range);
}
double OptimizerSpec::setting(std::string_view setting_name, double otherwise) const {
  const auto found = settings.find(std::string(setting_name));
  return found == settings.end() ? otherwise : found->second;
}

namespace {

GraphOptions graph_options(const ElaborateOptions& options, Mode mode,
                           const std::map<std::string, std::int64_t>& dims) {
  GraphOptions out{options.real, mode, options.dims, 0};
  for (const auto& [name, value] : dims) out.dims[name] = value;
  return out;
}

// Runs `make` and gives the finished graph; mistakes go to the reporter.
template <typename Make>
std::optional<Graph> make_graph(const ModuleScope& names, GraphOptions options, Reporter& reporter,
                                Make&& make) {
  GraphMaker maker(names, std::move(options), reporter);
  try {
    make(maker);
    return maker.finish();
  } catch (const Failure&) {
    return std::nullopt;
  } catch (const UserError& error) {
    for (const Diagnostic& diagnostic : error.diagnostics()) reporter.add(diagnostic);
    return std::nullopt;
  }
}

void make_loss(GraphMaker& maker, const ModuleScope& names, const TrainBlock& block) {
  const auto* model = find_model(names, block.spec.model);
  if (!model)
    maker.fail("T0206", block.spec.range, fmt::format("there is no model '{}'", block.spec.model));
  Scope scope;
  maker.model(*model, scope);
  scope.module = &names;  // the loss is this file's, wherever the model stands
  add_loss(maker, block, scope);
}

// Parameters from which no path leads to the loss that a gradient can take.
void warn_without_gradient(const Graph& graph, Reporter& reporter) {
  std::vector<bool> reached(graph.size(), false);
  for (const Output& output : graph.outputs())
    if (output.name == "loss" || output.name == "penalty") reached[output.value.node] = true;
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
    const Node& node = graph.node(id);
    if (!reached[id] || node.op == Op::stop_gradient || !is_float(node.types[0].dtype)) continue;
    for (const Value v : node.operands) reached[v.node] = true;
  }
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op != Op::parameter || reached[id] || !node.location ||
        node.location.file->path.starts_with("std/"))
      continue;
    Diagnostic warning;
    warning.severity = Severity::warning;
    warning.code = "T0505";
    warning.range = node.location;
    warning.message = fmt::format("the parameter '{}' gets no gradient from the loss",
                                  node.attributes.string("name"));
    warning.hints.push_back("it keeps its initial value in training");
    reporter.add(std::move(warning));
  }
}

// The names in cells and blocks of the file, whether anything uses them or not.
void check_names(const ModuleScope& names, const GraphOptions& options, Reporter& reporter) {
  const std::set<std::string> of_names{"T0201", "T0202", "T0203", "T0204"};
  for (const auto& [name, definition] : names.definitions) {
    if (definition.syntax->kind == Definition::Kind::model) continue;
    Reporter found;
    make_graph(names, options, found,
               [&](GraphMaker& maker) { maker.definition_alone(definition); });
    for (const Diagnostic& diagnostic : found.all())
      if (of_names.contains(diagnostic.code)) reporter.add(diagnostic);
  }
}

std::int64_t truncation(const TrainSpec& spec) {
  return spec.truncation.kind == TruncationSpec::Kind::window ? spec.truncation.window : 0;
}

}  // namespace

Graph Experiment::model(std::string_view name, Mode mode,
                        const std::map<std::string, std::int64_t>& dims) const {
  Reporter reporter;
  const auto* found = find_model(source_->names, std::string(name));
  if (!found) throw_user_error("T0206", fmt::format("there is no model '{}'", name));
  auto graph = make_graph(source_->names, graph_options(source_->options, mode, dims), reporter,
                          [&](GraphMaker& maker) {
                            Scope scope;
                            maker.model(*found, scope);
                          });
  throw_errors(reporter);
  return std::move(*graph);
}

Graph Experiment::loss(const TrainSpec& spec, Mode mode,
                       const std::map<std::string, std::int64_t>& dims) const {
  Reporter reporter;
  const TrainBlock* block = nullptr;
  for (const TrainBlock& candidate : source_->blocks)
    if (candidate.spec.range.begin == spec.range.begin && candidate.spec.model == spec.model)
      block = &candidate;
  ensure(block, "elaborate", "a train block that is not of this file");
  GraphOptions options = graph_options(source_->options, mode, dims);
  options.truncate = truncation(spec);
  auto graph = make_graph(source_->names, std::move(options), reporter,
                          [&](GraphMaker& maker) { make_loss(maker, source_->names, *block); });
  throw_errors(reporter);
  return std::move(*graph);
}

const TrainSpec* Experiment::find_train(std::string_view model) const {
  for (const TrainSpec& spec : trains)
    if (model.empty() || spec.model == model) return &spec;
  return nullptr;
}

Experiment elaborate(std::shared_ptr<const Module> module, const ElaborateOptions& options,
                     std::vector<Diagnostic>& diagnostics) {
  Experiment out;
  Reporter reporter;
  const auto source = std::make_shared<Experiment::Source>();
  source->options = options;
  source->standard.is_standard = true;
  SourceFiles files(source->standard, source->imported, reporter);
  for (const EmbeddedFile& file : standard_library_files()) {
    auto text = std::make_shared<SourceFile>();
    text->path = "std/" + std::string(file.name);
    text->text = std::string(file.text);
    source->library.push_back(std::make_shared<const Module>(parse_or_throw(std::move(text))));
    files.declare_standard(source->standard, *source->library.back());
  }
  if (!files.declare_program(source->names, module)) {
    diagnostics.insert(diagnostics.end(), reporter.all().begin(), reporter.all().end());
    return out;
  }
  struct Eval {
    const ClauseBlock* block;
    const Expr* model;
    SourceRange range;
  };
  std::vector<Eval> evals;
  for (const Declaration& declaration : module->declarations) {
    if (const auto* definition = std::get_if<Definition>(&declaration.node)) {
      if (definition->kind == Definition::Kind::model)
        out.models.push_back({definition->name.text, declaration.doc, definition->name.range});
      continue;
    }
    const auto* block = std::get_if<ClauseBlock>(&declaration.node);
    if (!block) continue;
    try {
      if (block->kind == ClauseBlock::Kind::test)
        out.tests.push_back(read_test(*block, declaration.range, source->names, options));
      for (const ExprPtr& model : block->subjects) {
        const SourceRange& range = declaration.range;
        if (block->kind == ClauseBlock::Kind::train) {
          source->blocks.push_back(read_train(*block, *model, range, source->names, options));
          out.trains.push_back(source->blocks.back().spec);
        } else if (block->kind == ClauseBlock::Kind::eval) {
          evals.push_back({block, model.get(), range});
        } else {
          out.generates.push_back(read_generate(*block, *model, range, source->names, options));
        }
      }
    } catch (const UserError& error) {
      for (const Diagnostic& diagnostic : error.diagnostics()) reporter.add(diagnostic);
    }
  }
  for (const auto& [name, definition] : source->names.definitions)
    if (definition.module != &source->names && definition.syntax->kind == Definition::Kind::model)
      out.models.push_back({name, "", definition.syntax->name.range});
  const std::vector<TrainBlock> trains = source->blocks;
  for (const auto& [block, model, range] : evals) {
    try {
      source->blocks.push_back(read_eval(*block, *model, range, source->names, options, trains));
      out.evals.push_back(source->blocks.back().spec);
    } catch (const UserError& error) {
      for (const Diagnostic& diagnostic : error.diagnostics()) reporter.add(diagnostic);
    }
  }
  for (const Mode mode : {Mode::train, Mode::eval}) {
    for (const ModelInfo& info : out.models)
      make_graph(source->names, graph_options(options, mode, {}), reporter, [&](GraphMaker& maker) {
        Scope scope;
        maker.model(*find_model(source->names, info.name), scope);
        for (const std::string& name : source->names.dim_order)
          out.dims[name] = maker.named_dim(name, source->names, {});
      });
    for (const TrainBlock& block : source->blocks) {
      const auto graph =
          make_graph(source->names, graph_options(options, mode, {}), reporter,
                     [&](GraphMaker& maker) { make_loss(maker, source->names, block); });
      if (graph && mode == Mode::train) warn_without_gradient(*graph, reporter);
    }
  }
  check_names(source->names, graph_options(options, Mode::eval, {}), reporter);
  for (const Diagnostic& diagnostic : reporter.all()) {
    diagnostics.push_back(diagnostic);
    if (diagnostic.severity == Severity::warning) out.warnings.push_back(diagnostic);
  }
  out.source_ = source;
  return out;
}

Experiment elaborate_or_throw(std::shared_ptr<const Module> module,
                              const ElaborateOptions& options) {
  std::vector<Diagnostic> diagnostics;
  Experiment out = elaborate(std::move(module), options, diagnostics);
  std::erase_if(diagnostics, [](const Diagnostic& d) { return d.severity != Severity::error; });
  if (!diagnostics.empty()) throw UserError(std::move(diagnostics));
  return out;
}

Experiment load_experiment(const std::string& path, const ElaborateOptions& options) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw_user_error("T0910", fmt::format("'{}' cannot be read", path));
  std::ostringstream text;
  text << stream.rdbuf();
  auto file = std::make_shared<SourceFile>();
  file->path = path;
  file->text = text.str();
  return elaborate_or_throw(std::make_shared<const Module>(parse_or_throw(std::move(file))),
                            options);
}

std::vector<ParameterRow> parameter_table(const Graph& graph) {
  std::vector<ParameterRow> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op == Op::parameter)
      out.push_back(
          {node.attributes.string("name"), node.types[0], node.attributes.string("initialiser")});
  }
  return out;
}

}  // namespace treadle
