#include "driver/compile.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "driver/calibration.h"
#include "ir/diagnostic.h"
#include "passes/bf16_products.h"
#include "passes/fuse_attention.h"
#include "passes/fuse_gates.h"
#include "passes/hoist_scan.h"
#include "passes/pass_manager.h"
#include "passes/place.h"
#include "passes/simplify.h"
#include "runtime/reference_program.h"

namespace treadle {

Graph optimise(const Graph& graph, bool bf16_products) {
  const Graph out = simplify(fuse_gates(hoist_scan(simplify(graph))));
  return bf16_products ? simplify(treadle::bf16_products(fuse_attention(out))) : out;
}

namespace {
Graph lower_for(const Graph& graph, bool bf16_products, bool rounding_products) {
  std::vector<PassCall> calls = parse_pipeline(pipeline_of(bf16_products));
  calls.pop_back();  // `place` is the backend's choice
  return run_pipeline(graph, calls, {}, {{}, rounding_products});
}

// oneDNN, where it is to run all that it can, is given rounded operands.
bool rounding_products(const CompileOptions& options) {
  if (!options.bf16_products || options.backend == "onednn") return false;
  return options.bf16_pairs || multiplies_bfloat16(options.features);
}
}  // namespace

Graph lower(const Graph& graph, bool bf16_products) {
  return lower_for(graph, bf16_products, bf16_products && multiplies_bfloat16());
}

double working_memory(const Graph& graph, const DimEnv& sizes) {
  return static_cast<double>(planned_bytes(lower(graph), sizes));
}

PassContext machine_context() { return {backend_models(), multiplies_bfloat16()}; }

BackendModels backend_models() {
  static const PlacementModels owned(machine_calibration());
  static const std::array<const BackendModel*, 2> models{owned.llvm.get(), owned.onednn.get()};
  return models;
}

std::optional<std::filesystem::path> code_cache_folder() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string_view(text != nullptr ? text : "");
  };
  const std::string_view chosen = value("TREADLE_CACHE");
  if (chosen == "off") return std::nullopt;
  if (!chosen.empty()) return chosen;
  // The XDG base directory specification: a relative path is to be ignored.
  const std::filesystem::path base = value("XDG_CACHE_HOME"), home = value("HOME");
  if (base.is_absolute()) return base / "treadle";
  if (home.is_absolute()) return home / ".cache" / "treadle";
  return std::nullopt;
}

CompileOptions with_fixed_parameters(CompileOptions options, const Graph& graph) {
  for (const NodeId id : graph.inputs())
    if (const Node& node = graph.node(id); node.op == Op::parameter)
      options.fixed.push_back(node.attributes.string("name"));
  return options;
}

CompileOptions cached(std::string backend) { return {std::move(backend), {}, code_cache_folder()}; }

namespace {
// oneDNN asks the processor itself, so code for a masked one is LLVM's alone.
Graph placed(const Graph& graph, const CompileOptions& options) {
  if (options.backend == "auto")
    return options.features.empty() ? place(graph, backend_models()) : graph;
  return options.backend == "onednn" ? place_all(graph, onednn_model()) : graph;
}

void require_backend(const std::string& name) {
  if (name != "auto" && name != "llvm" && name != "onednn")
    throw_user_error("T0836", fmt::format("there is no backend '{}'", name),
                     "the backends are auto, llvm, onednn and reference");
}
}  // namespace

Graph lower(const Graph& graph, const CompileOptions& options) {
  return placed(lower_for(graph, options.bf16_products, rounding_products(options)), options);
}

std::unique_ptr<Program> compile(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                 const CompileOptions& options) {
  if (options.backend == "reference") {
    if (options.profile != nullptr)
      throw_user_error("T0926", "the evaluator runs node by node and has no kernels to time",
                       "leave --backend away, or name llvm or onednn");
    return make_reference_program(optimise(graph, options.bf16_products), updates);
  }
  require_backend(options.backend);
  LlvmOptions llvm{options.features, options.cache, make_onednn_runner, {}, {}};
  llvm.lower = [&](const Graph& whole) { return treadle::lower(whole, options); };
  llvm.lowering = fmt::format("{} {} {}{}", pipeline_of(options.bf16_products), options.backend,
                              options.features, options.bf16_pairs ? " pairs" : "");
  llvm.profile = options.profile;
  llvm.fixed = options.fixed;
  if (options.backend == "auto" && options.features.empty())
    llvm.lowering += seconds_text(machine_calibration());
  return compile_llvm(graph, updates, llvm);
}

std::vector<InPlaceUpdate> in_place_updates(const TrainingStep& step) {
  std::vector<InPlaceUpdate> out;
  for (const Successor& s : step.updates) out.push_back({s.output, s.input});
  return out;
}

std::unique_ptr<Program> compile_step(const TrainingStep& step, const CompileOptions& options) {
  return compile(step.graph, in_place_updates(step), options);
}

std::unique_ptr<Program> compile_evaluation(const Graph& loss,
                                            const std::vector<std::string>& ragged,
                                            const CompileOptions& options) {
  const TrainingStep step = make_evaluation_step(loss, ragged);
  return compile_step(step, with_fixed_parameters(options, step.graph));
}

}  // namespace treadle
