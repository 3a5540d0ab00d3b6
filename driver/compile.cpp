#include "driver/compile.h"

#include <fmt/format.h>

#include <array>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "ir/diagnostic.h"
#include "passes/fuse_gates.h"
#include "passes/hoist_scan.h"
#include "passes/pass_manager.h"
#include "passes/place.h"
#include "passes/simplify.h"
#include "runtime/reference_program.h"

namespace treadle {

Graph optimise(const Graph& graph) { return simplify(fuse_gates(hoist_scan(simplify(graph)))); }

Graph lower(const Graph& graph) {
  std::vector<PassCall> calls = parse_pipeline(training_pipeline);
  calls.pop_back();  // `place` is the backend's choice
  return run_pipeline(graph, calls);
}

BackendModels backend_models() {
  static const std::array<const BackendModel*, 2> models{&llvm_model(), &onednn_model()};
  return models;
}

namespace {
// oneDNN asks the processor itself, so code for a masked one is LLVM's alone.
Graph placed(const Graph& graph, const CompileOptions& options) {
  if (options.backend == "auto")
    return options.features.empty() ? place(graph, backend_models()) : graph;
  if (options.backend == "onednn") return place_all(graph, onednn_model());
  if (options.backend != "llvm")
    throw_user_error("T0836", fmt::format("there is no backend '{}'", options.backend),
                     "the backends are auto, llvm, onednn and reference");
  return graph;
}
}  // namespace

std::unique_ptr<Program> compile(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                 const CompileOptions& options) {
  if (options.backend == "reference") return make_reference_program(optimise(graph), updates);
  LlvmOptions llvm{options.features, options.cache, make_onednn_runner};
  return compile_llvm(placed(lower(graph), options), updates, llvm);
}

std::vector<InPlaceUpdate> in_place_updates(const TrainingStep& step) {
  std::vector<InPlaceUpdate> out;
  for (const Successor& s : step.updates) out.push_back({s.output, s.input});
  return out;
}

std::unique_ptr<Program> compile_step(const TrainingStep& step, const CompileOptions& options) {
  return compile(step.graph, in_place_updates(step), options);
}

}  // namespace treadle
