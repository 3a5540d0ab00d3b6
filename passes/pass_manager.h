// The passes by name, and running them one after another.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/placement.h"

namespace treadle {

// What passes are told from outside.
struct PassContext {
  BackendModels backends;  // for `place`
  // For `bf16-products`: the backend's products can round their operands themselves.
  bool rounding_products = false;
};

// What a pass leaves as it was, which is what --verify-each=numeric compares.
enum class Keeps : std::uint8_t { nothing, values, gradients };

struct Pass {
  std::string_view name;  // "hoist-scan"
  std::string_view doc;   // one line
  Graph (*run)(const Graph&, std::int64_t argument, const PassContext& context);
  bool takes_argument = false;  // "truncate-bptt(8)"
  Keeps keeps = Keeps::gradients;
};
std::span<const Pass> all_passes();

struct PassCall {
  const Pass* pass = nullptr;
  std::int64_t argument = 0;
};
// "batch,differentiate,hoist-scan". Throws UserError T0820 for an unknown name
// or a missing argument.
std::vector<PassCall> parse_pipeline(std::string_view text);

// What a run shows and checks.
struct PassObserver {
  bool verify_each = false;                       // structure, after every pass
  bool verify_numeric = false;                    // values and gradients on random inputs too
  int stop_after = -1;                            // run only so many passes
  std::string print_after;                        // a pass's name, or "all"
  std::function<void(const std::string&)> print;  // receives what is printed
  std::function<void(std::string_view pass, double ms)> time;  // after each pass
};

// A pass or the check behind it failed: what the driver writes as a reproducer.
struct PassFailure {
  std::string pass;
  std::string message;
  std::string input;  // the graph before the pass, as text
  std::string rest;   // the pipeline from the failed pass on
};

// Throws PassFailure for an internal error; a UserError passes through.
Graph run_pipeline(Graph graph, std::span<const PassCall> pipeline,
                   const PassObserver& observer = {}, const PassContext& context = {});

}  // namespace treadle
