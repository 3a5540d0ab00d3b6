#include "passes/pass_manager.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"
#include "ir/verify.h"
#include "passes/batch.h"
#include "passes/derive_step.h"
#include "passes/differentiate.h"
#include "passes/expand_composites.h"
#include "passes/fuse_gates.h"
#include "passes/fuse_pointwise.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"
#include "passes/place.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

constexpr std::array passes{
#define PASS(name, doc, expression, argument)                                        \
  Pass{name, doc,                                                                    \
       [](const Graph& graph, std::int64_t k, const PassContext& context) -> Graph { \
         return (void)k, (void)context, expression;                                  \
       },                                                                            \
       argument},
#include "passes/passes.def"
};

// Every symbol small, and no two alike.
DimEnv small_dims(const Graph& graph) {
  DimEnv env;
  std::int64_t extent = 2;
  for (const std::string& symbol : graph.symbols()) env[symbol] = extent++;
  return env;
}

// Outputs of one name agree; a pass may add outputs.
void compare_numerically(const Graph& before, const Graph& after) {
  if (before.inputs().size() != after.inputs().size()) return;
  for (std::size_t i = 0; i < before.inputs().size(); ++i)
    if (before.type(before.input_value(i)) != after.type(after.input_value(i))) return;
  const std::vector<Tensor> inputs = random_inputs(before, small_dims(before), 1);
  const std::vector<Tensor> x = evaluate(before, inputs);
  const std::vector<Tensor> y = evaluate(after, inputs);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < y.size(); ++j) {
      if (before.outputs()[i].name != after.outputs()[j].name) continue;
      ensure(x[i].shape() == y[j].shape(), "verify", "an output changed its shape");
      const double tolerance = x[i].dtype() == DType::f64 ? 1e-10 : 1e-4;
      double largest = 0;
      for (std::int64_t k = 0; k < x[i].size(); ++k)
        largest = std::max(largest, std::abs(x[i].get(k)));
      for (std::int64_t k = 0; k < x[i].size(); ++k)
        ensure(x[i].get(k) == y[j].get(k) || (std::isnan(x[i].get(k)) && std::isnan(y[j].get(k))) ||
                   std::abs(x[i].get(k) - y[j].get(k)) <= tolerance * std::max(1.0, largest),
               "verify",
               fmt::format("output '{}' changed: element {} was {} and is {}",
                           before.outputs()[i].name, k, x[i].get(k), y[j].get(k)));
    }
  }
}

std::string pipeline_text(std::span<const PassCall> calls) {
  std::string out;
  for (const PassCall& call : calls) {
    if (!out.empty()) out += ",";
    out += call.pass->name;
    if (call.pass->takes_argument) out += fmt::format("({})", call.argument);
  }
  return out;
}

Graph run_one(const Graph& graph, const PassCall& call, const PassObserver& observer,
              const PassContext& context) {
  Graph out = call.pass->run(graph, call.argument, context);
  if (observer.verify_each || observer.verify_numeric) verify(out);
  if (observer.verify_numeric) compare_numerically(graph, out);
  return out;
}

}  // namespace

std::span<const Pass> all_passes() { return passes; }

std::vector<PassCall> parse_pipeline(std::string_view text) {
  std::vector<PassCall> out;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const std::size_t open = word.find('(');
    const std::string_view name = word.substr(0, open);
    PassCall call;
    for (const Pass& pass : passes)
      if (pass.name == name) call.pass = &pass;
    if (call.pass == nullptr) {
      std::string known;
      for (const Pass& pass : passes)
        known += fmt::format("{}{}", known.empty() ? "" : ", ", pass.name);
      throw_user_error("T0820", fmt::format("there is no pass '{}'", name),
                       "the passes are " + known);
    }
    if (call.pass->takes_argument) {
      const std::string_view digits =
          open == std::string_view::npos ? std::string_view{} : word.substr(open + 1);
      const auto parsed =
          std::from_chars(digits.data(), digits.data() + digits.size(), call.argument);
      if (digits.empty() || parsed.ec != std::errc() || *parsed.ptr != ')' || call.argument <= 0)
        throw_user_error("T0820", fmt::format("the pass '{}' takes a positive number", name),
                         fmt::format("write {}(8)", name));
    } else if (open != std::string_view::npos) {
      throw_user_error("T0820", fmt::format("the pass '{}' takes no number", name));
    }
    out.push_back(call);
  }
  return out;
}

Graph run_pipeline(Graph graph, std::span<const PassCall> pipeline, const PassObserver& observer,
                   const PassContext& context) {
  for (std::size_t i = 0; i < pipeline.size(); ++i) {
    if (observer.stop_after >= 0 && static_cast<int>(i) >= observer.stop_after) break;
    const PassCall& call = pipeline[i];
    const auto start = std::chrono::steady_clock::now();
    Graph after;
    try {
      after = run_one(graph, call, observer, context);
    } catch (const InternalError& error) {
      throw PassFailure{std::string(call.pass->name), error.what(), print(graph),
                        pipeline_text(pipeline.subspan(i))};
    }
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    if (observer.time) observer.time(call.pass->name, taken.count());
    if (observer.print &&
        (observer.print_after == "all" || observer.print_after == call.pass->name)) {
      const bool same = same_graph(graph, after);
      observer.print(fmt::format("# after {}{}\n{}", call.pass->name, same ? " (unchanged)" : "",
                                 same ? "" : print(after)));
    }
    graph = std::move(after);
  }
  return graph;
}

}  // namespace treadle
