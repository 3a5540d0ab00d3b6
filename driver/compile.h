// From a graph to a Program: the optimising pipeline, then a backend.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/placement.h"
#include "passes/pass_manager.h"
#include "passes/training_step.h"
#include "runtime/program.h"

namespace treadle {

class Profile;

struct CompileOptions {
  // "auto": LLVM, and oneDNN where the cost model says so; "llvm": LLVM alone;
  // "onednn": oneDNN for every product that it can run, LLVM for the rest;
  // "reference": the evaluator.
  std::string backend = "auto";
  std::string features;  // mask of the processor's features, backends/llvm/target.h
  std::optional<std::filesystem::path> cache;  // folder of compiled code
  // Filled by each run; it outlives the program, which is not kept in the cache.
  Profile* profile = nullptr;
  // Products of f32 are of bfloat16 operands, passes/bf16_products.h.
  bool bf16_products = false;
  // For tests: in pairs, as on a processor that has the instruction, wherever they run.
  bool bf16_pairs = false;
  // Inputs that keep their values from run to run, see Program::fix; most often
  // with_fixed_parameters.
  std::vector<std::string> fixed = {};
};

// For a graph whose parameters are not trained.
CompileOptions with_fixed_parameters(CompileOptions options, const Graph& graph);

// Where commands keep compiled code between runs: the folder of the environment
// variable TREADLE_CACHE; else `treadle` in $XDG_CACHE_HOME, or in ~/.cache. None
// where TREADLE_CACHE is "off", or there is no home.
std::optional<std::filesystem::path> code_cache_folder();

// What commands compile with: that cache.
CompileOptions cached(std::string backend = "auto");

// What the reference evaluator and the backends are given: loops hoisted, gates
// fused; with `bf16_products` attention is a node, as what stands in it is not rounded.
Graph optimise(const Graph& graph, bool bf16_products = false);
// The same in the form that the LLVM backend takes: no composite ops, pointwise
// work in kernels. Where this processor has the arithmetic, bfloat16 products round
// their operands themselves.
Graph lower(const Graph& graph, bool bf16_products = false);
// And with the products placed: what `compile` gives to LLVM.
Graph lower(const Graph& graph, const CompileOptions& options);
// What a graph takes as LLVM's program, for scans with a budget (passes/recompute.h).
double working_memory(const Graph& graph, const DimEnv& sizes);
// The passes of `lower` by name, then `place`.
inline constexpr std::string_view training_pipeline =
    "simplify,hoist-scan,fuse-gates,simplify,join-stacks,fuse-attention,expand-composites,simplify,"
    "sink-transposes,join-gradients,carry-sums,chain-products,fuse-pointwise,place";
inline constexpr std::string_view bf16_pipeline =
    "simplify,hoist-scan,fuse-gates,simplify,join-stacks,fuse-attention,bf16-products,"
    "expand-composites,simplify,sink-transposes,join-gradients,carry-sums,chain-products,fuse-"
    "pointwise,place";
constexpr std::string_view pipeline_of(bool bf16_products) {
  return bf16_products ? bf16_pipeline : training_pipeline;
}

// For `place`: LLVM, then oneDNN.
BackendModels backend_models();

// What passes are told that run for this machine.
PassContext machine_context();

// Throws UserError T0836 for an unknown backend, T0926 where the evaluator is to be profiled.
std::unique_ptr<Program> compile(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                 const CompileOptions& options = {});

// What a step updates in place.
std::vector<InPlaceUpdate> in_place_updates(const TrainingStep& step);

// A training step, its updates in place.
std::unique_ptr<Program> compile_step(const TrainingStep& step, const CompileOptions& options = {});
// Of make_evaluation_step, for evaluate_metrics.
std::unique_ptr<Program> compile_evaluation(const Graph& loss,
                                            const std::vector<std::string>& ragged,
                                            const CompileOptions& options);

}  // namespace treadle
