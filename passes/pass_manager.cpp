#include "passes/pass_manager.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numeric>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"
#include "ir/verify.h"
#include "passes/batch.h"
#include "passes/bf16_products.h"
#include "passes/carry_sums.h"
#include "passes/chain_products.h"
#include "passes/derive_step.h"
#include "passes/differentiate.h"
#include "passes/expand_composites.h"
#include "passes/expand_derivatives.h"
#include "passes/fuse_attention.h"
#include "passes/fuse_gates.h"
#include "passes/fuse_pointwise.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"
#include "passes/join_gradients.h"
#include "passes/join_stacks.h"
#include "passes/place.h"
#include "passes/recompute.h"
#include "passes/simplify.h"
#include "passes/sink_transposes.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

constexpr std::array passes{
#define PASS(name, doc, expression, argument, keeps)                                 \
  Pass{name, doc,                                                                    \
       [](const Graph& graph, std::int64_t k, const PassContext& context) -> Graph { \
         return (void)k, (void)context, expression;                                  \
       },                                                                            \
       argument, Keeps::keeps},
#include "passes/passes.def"
};

// Every symbol small, and no two alike.
DimEnv small_dims(const Graph& graph) {
  DimEnv env;
  std::int64_t extent = 2;
  for (const std::string& symbol : graph.symbols()) env[symbol] = extent++;
  return env;
}

void compare(const std::string& name, const Tensor& x, const Tensor& y) {
  ensure(x.shape() == y.shape(), "verify", "output '" + name + "' changed its shape");
  const double tolerance = x.dtype() == DType::f64 ? 1e-10 : 1e-4;
  double largest = 1;
  for (std::int64_t k = 0; k < x.size(); ++k)
    if (std::isfinite(x.get(k))) largest = std::max(largest, std::abs(x.get(k)));
  for (std::int64_t k = 0; k < x.size(); ++k) {
    const double a = x.get(k), b = y.get(k);
    ensure(a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance * largest,
           "verify", fmt::format("'{}' changed: element {} was {} and is {}", name, k, a, b));
  }
}

// The gradients, by every input of real numbers, of the sum of all elements of
// the named outputs; the named outputs themselves come first.
Graph with_gradients(Graph graph, const std::vector<std::string>& names) {
  Builder b(graph);
  std::vector<Output> outputs;
  Value sum;
  for (const std::string& name : names) {
    const Value v = graph.output(name);
    outputs.push_back({name, v});
    if (!is_float(graph.type(v).dtype)) continue;
    Integers axes(graph.type(v).rank());
    std::iota(axes.begin(), axes.end(), 0);
    const Value term = b.cast(b.reduce_sum(v, axes), DType::f64);
    sum = sum.valid() ? b.add(sum, term) : term;
  }
  std::vector<std::string> inputs;
  for (const NodeId id : graph.inputs())
    if (is_float(graph.node(id).types[0].dtype))
      inputs.push_back(graph.node(id).attributes.string("name"));
  if (sum.valid() && !inputs.empty()) outputs.push_back({"verified sum", sum});
  graph.set_outputs(outputs);
  if (outputs.size() == names.size()) return graph;
  return differentiate(graph, {"verified sum", inputs, "gradient by "});
}

bool has_fused_node(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return op_def(node.op).family == Family::fused ||
           std::any_of(node.regions.begin(), node.regions.end(),
                       [](const Region& r) { return has_fused_node(*r); });
  });
}

// Outputs of one name agree, and so do their gradients; a pass may add outputs.
// A pass that changes the inputs (batch, derive-step) or rounds is not compared, and
// what is fused has no gradients any more.
void compare_numerically(const Graph& before, const Graph& after, const Pass& pass) {
  if (pass.keeps == Keeps::nothing || before.inputs().size() != after.inputs().size()) return;
  for (std::size_t i = 0; i < before.inputs().size(); ++i)
    if (before.type(before.input_value(i)) != after.type(after.input_value(i))) return;
  std::vector<std::string> names;
  for (const Output& output : before.outputs())
    if (after.output(output.name).valid()) names.push_back(output.name);
  const bool gradients =
      pass.keeps == Keeps::gradients && !has_fused_node(before) && !has_fused_node(after);
  const auto checked = [&](Graph graph) {
    if (gradients) return with_gradients(std::move(graph), names);
    std::vector<Output> outputs;
    for (const std::string& name : names) outputs.push_back({name, graph.output(name)});
    graph.set_outputs(outputs);
    return graph;
  };
  const Graph first = checked(before), second = checked(after);
  const std::vector<Tensor> inputs = random_inputs(before, small_dims(before), 1);
  const std::vector<Tensor> x = evaluate(first, inputs), y = evaluate(second, inputs);
  for (std::size_t i = 0; i < x.size(); ++i) compare(first.outputs()[i].name, x[i], y[i]);
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
  if (observer.verify_numeric) compare_numerically(graph, out, *call.pass);
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
