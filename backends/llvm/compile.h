// From a graph to native code.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/llvm/matmul_kernel.h"
#include "ir/graph.h"
#include "ir/product_cost.h"
#include "runtime/node_runner.h"
#include "runtime/program.h"

namespace treadle {

class Profile;

struct LlvmOptions {
  std::string features;                        // mask of the host's features, see target.h
  std::optional<std::filesystem::path> cache;  // folder of compiled objects
  NodeRunnerFactory runners;                   // of the products that carry the attribute `backend`
  // The graph in the form that is compiled; not asked for where its code is in
  // the cache. `lowering` says all that the result depends on besides the graph.
  std::function<Graph(const Graph&)> lower;
  std::string lowering;
  // Filled by each run; it outlives the program, which is not kept in the cache.
  Profile* profile = nullptr;
  // Names of inputs that keep their values from run to run (Program::fix). What follows
  // from them alone, packed weights above all, is then computed once.
  std::vector<std::string> fixed = {};
  int compile_threads = 0;  // that generate code side by side; 0: one a processor
};

struct CompileStats {
  std::uint64_t compilations = 0;  // programs that code was generated for, in this process
  std::uint64_t cache_hits = 0;    // programs whose code came from the cache
};
CompileStats llvm_compile_stats();

// One native function that all threads of the team run together. The graph, once
// lowered, holds no composite ops (passes/expand_composites.h) and no bf16 matmul. Its
// symbols stay symbolic: one program serves every value of them.
// Out-of-range indices: gather reads 0, scatter_add adds nothing.
std::unique_ptr<Program> compile_llvm(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                      const LlvmOptions& options = {});

// Bytes of working memory that compile_llvm's program takes on one thread, for a graph
// that is lowered already. No code is generated.
std::size_t planned_bytes(const Graph& lowered, const DimEnv& sizes);

// What this backend's own f32 products cost, for `place`.
std::shared_ptr<const ProductModel> make_llvm_model(const MatmulTile& tile, StepSeconds seconds);
// What is known of processors with vectors of that length.
StepSeconds llvm_step_seconds(int vector_bytes);

// Has the processor, but for what the mask `features` (or TREADLE_CPU_FEATURES) takes
// away, instructions that multiply bfloat16 operands? Then matmuls with
// {operands = bf16} take half of the time; elsewhere they are slower than those of
// operands that were rounded before.
bool multiplies_bfloat16(const std::string& features = {});

// "22.1.8"
std::string llvm_version();

// What `treadle dump` shows: the module after its optimisation, and its assembly.
std::string llvm_ir_text(const Graph& graph, const LlvmOptions& options = {});
std::string assembly_text(const Graph& graph, const LlvmOptions& options = {});

}  // namespace treadle
