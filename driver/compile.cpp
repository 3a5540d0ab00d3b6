#include "driver/compile.h"

#include <fmt/format.h>

#include "backends/llvm/compile.h"
#include "ir/diagnostic.h"
#include "passes/expand_composites.h"
#include "passes/fuse_gates.h"
#include "passes/fuse_pointwise.h"
#include "passes/hoist_scan.h"
#include "passes/simplify.h"
#include "runtime/reference_program.h"

namespace treadle {

Graph optimise(const Graph& graph) { return simplify(fuse_gates(hoist_scan(simplify(graph)))); }

Graph lower(const Graph& graph) {
  return fuse_pointwise(simplify(expand_composites(optimise(graph))));
}

std::unique_ptr<Program> compile(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                 const CompileOptions& options) {
  if (options.backend == "reference") return make_reference_program(optimise(graph), updates);
  if (options.backend != "llvm")
    throw_user_error("T0836", fmt::format("there is no backend '{}'", options.backend),
                     "the backends are llvm and reference");
  return compile_llvm(lower(graph), updates, {options.features, options.cache});
}

}  // namespace treadle
