#include "passes/recompute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "ir/diagnostic.h"
#include "passes/differentiate.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

constexpr std::int64_t usual_chunk = 64;
// What a chunk keeps stays in cache till its gradient reads it where it is no more than
// that. (An LSTM of 128, 32 sequences of 16,000 steps: 1.23 times as long as with all
// kept in chunks of 18 steps, 1.44 times in chunks of 73.) Of few steps the sums of the
// weights' gradients would take as long as the steps.
constexpr double cached_bytes = 2 * 1024.0 * 1024.0;
constexpr double fewest_steps = 16;
double bytes_of(const Type& type, const DimEnv& sizes) {
  double out = static_cast<double>(size_of(type.dtype));
  for (const Dim& dim : type.dims) out *= static_cast<double>(dim.evaluate(sizes));
  return out;
}

// What is alive at once at the most: results of loops and products. Others
// become parts of kernels or are small beside these.
double peak_bytes(const Graph& graph, const DimEnv& sizes) {
  std::vector<NodeId> last(graph.size(), 0);
  for (NodeId id = 0; id < graph.size(); ++id) {
    last[id] = std::max(last[id], id);
    // what reads a view reads what lies behind it
    for (const Value v : graph.node(id).operands) last[v.node] = std::max(last[v.node], id);
  }
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;)
    for (const Value v : graph.node(id).operands) {
      const Op op = graph.node(id).op;
      if (op != Op::scan && op != Op::matmul && op != Op::reduce_sum)
        last[v.node] = std::max(last[v.node], last[id]);
    }
  std::vector<double> ends(graph.size() + 1, 0);
  double now = 0, peak = 0;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (node.op == Op::scan || node.op == Op::matmul) {
      double bytes = 0;
      for (const Type& type : node.types) bytes += bytes_of(type, sizes);
      now += bytes;
      ends[last[id]] += bytes;
    }
    peak = std::max(peak, now);
    now -= ends[id];
  }
  return peak;
}

// The scan alone, and its gradients by what is trained, after the loops have
// lost what need not be in them.
Graph scan_with_gradient(const Graph& graph, NodeId id, const std::vector<bool>& trained,
                         const std::vector<std::uint32_t>& uses) {
  const Node& node = graph.node(id);
  Graph out;
  out.stage = graph.stage;
  Builder b(out);
  std::vector<Value> operands;
  DifferentiateOptions options;
  for (const Value v : node.operands) {
    const std::string name = fmt::format("operand {}", operands.size());
    operands.push_back(b.input(name, graph.type(v), {{"shared", true}}));
    if (trained[v.node] && is_float(graph.type(v).dtype)) options.wrt.push_back(name);
  }
  Node least = node;
  least.attributes.set("least_residuals", true);
  const Value first = b.clone(least, std::move(operands));
  Value loss;
  for (std::uint32_t i = 0; i < node.types.size(); ++i) {
    const Type& type = node.types[i];
    if (uses[i] == 0 || !is_float(type.dtype)) continue;
    const Value weight = b.input(fmt::format("weight {}", i), type, {{"shared", true}});
    Value term = b.mul(Value{first.node, i}, weight);
    Integers axes;
    for (std::size_t d = 0; d < type.rank(); ++d) axes.push_back(static_cast<std::int64_t>(d));
    if (!axes.empty()) term = b.reduce_sum(term, axes);
    term = b.cast(term, DType::f64);
    loss = loss.valid() ? b.add(loss, term) : term;
  }
  if (!loss.valid() || options.wrt.empty()) return {};
  b.output("loss", loss);
  return simplify(hoist_scan(simplify(differentiate(out, options))));
}

class Cutter {
 public:
  Cutter(const Graph& graph, const DimEnv& sizes, std::vector<RecomputeChoice>* choices,
         const WorkingMemory& memory)
      : graph_(graph), sizes_(sizes), choices_(choices), memory_(memory), uses_(count_uses(graph)) {
    std::vector<Value> parameters;
    for (const NodeId id : graph.inputs())
      if (graph.node(id).op != Op::input) parameters.push_back({id, 0});
    trained_ = reached_from(graph, parameters);
  }

  void scan(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    const LocationScope scope(b, node.location);
    Node copy = node;
    const auto body =
        std::make_shared<const Graph>(recompute(*node.regions[0], sizes_, choices_, memory_));
    copy.regions[0] = body;
    copy.attributes.erase("remat");
    const std::vector<Value> operands = map.all(node.operands);
    const ScanView view(copy);
    // Chunks are alike; the steps of such a scan are not.
    if (!view.bounds.empty() || view.length.is_ragged())
      throw_user_error("T0378", "remat cannot cut a scan over sequences of different lengths",
                       "leave remat out, or give sequences of one length", node.location);
    const auto budget = static_cast<double>(node.attributes.integer("remat"));
    std::vector<Value> out;
    // A part without time is one step, computed again as a whole or not at all.
    const bool part = view.carries + view.sequences == 0;
    if (part && !fits(id, budget)) copy.attributes.set("recompute", true);
    if (part) {
      const Value first = b.clone(copy, operands);
      for (std::uint32_t i = 0; i < node.types.size(); ++i) out.push_back({first.node, i});
    } else if (const auto cut = choose(id, view, budget)) {
      ScanBlocks blocks;
      blocks.steps = cut->first;
      blocks.count = cut->second;
      blocks.block = block_of(view, body, cut->first);
      blocks.more.set("recompute", true);
      blocks.more_left.set("least_residuals", true);
      out = scan_in_blocks(b, view, body, operands, blocks);
    } else {
      const Value first = b.clone(copy, operands);
      for (std::uint32_t i = 0; i < node.types.size(); ++i) out.push_back({first.node, i});
    }
    for (std::uint32_t i = 0; i < out.size(); ++i) map.set({id, i}, out[i]);
  }

 private:
  // A step of the outer loop: `steps` steps of the inner one.
  static Region block_of(const ScanView& view, const Region& body, std::int64_t steps) {
    Graph out;
    out.stage = body->stage;
    Builder b(out);
    Builder::ScanSpec spec;
    for (std::size_t i = 0; i < body->inputs().size(); ++i) {
      Type type = body->type(body->input_value(i));
      if (i >= view.first_sequence()) type.dims.insert(type.dims.begin(), Dim(steps));
      const Value v = b.argument(std::move(type));
      (i < view.first_carry()      ? spec.constants
       : i < view.first_sequence() ? spec.carries
                                   : spec.sequences)
          .push_back(v);
    }
    spec.length = Dim(steps);
    spec.reverse = view.reverse;
    spec.body = body;
    spec.more.set("least_residuals", true);
    for (const Value v : b.scan(std::move(spec))) out.add_output("", v);
    return std::make_shared<const Graph>(std::move(out));
  }

  bool known(const Graph& graph) const {
    const std::set<std::string> symbols = graph.symbols();
    return std::all_of(symbols.begin(), symbols.end(),
                       [&](const std::string& symbol) { return sizes_.contains(symbol); });
  }

  double bytes_of_step(const Graph& alone) const {
    return memory_ ? memory_(alone, sizes_) : peak_bytes(alone, sizes_);
  }

  bool fits(NodeId id, double budget) {
    const Graph alone = scan_with_gradient(graph_, id, trained_, uses_[id]);
    if (alone.size() == 0 || !known(alone)) return alone.size() == 0;
    RecomputeChoice choice;
    choice.location = graph_.node(id).location;
    choice.steps = 1;
    choice.whole = choice.kept = bytes_of_step(alone);
    const bool fit = choice.whole <= budget;
    if (!fit) {
      choice.chunk = choice.chunked = 1;
      choice.kept = 0;
    }
    if (choices_ != nullptr) choices_->push_back(choice);
    return fit;
  }

  // Steps of a chunk and the number of chunks; nothing when all is to be kept.
  std::optional<std::pair<std::int64_t, Dim>> choose(NodeId id, const ScanView& view,
                                                     double budget) {
    const Node& node = graph_.node(id);
    const Graph alone = scan_with_gradient(graph_, id, trained_, uses_[id]);
    if (alone.size() == 0) return std::nullopt;
    if (!known(alone)) return std::pair(usual_chunk, view.length.floor_div(usual_chunk));
    RecomputeChoice choice;
    choice.location = node.location;
    choice.steps = view.length.evaluate(sizes_);
    choice.whole = choice.kept = bytes_of_step(alone);
    const auto steps = static_cast<double>(choice.steps);
    const double step = choice.whole / std::max(steps, 1.0);
    double carried = 0;
    for (std::size_t i = 0; i < view.carries; ++i)
      carried += bytes_of(graph_.type(node.operands[view.first_carry() + i]), sizes_);
    if (choice.whole <= budget || choice.steps < 2) {
      if (choices_ != nullptr) choices_->push_back(choice);
      return std::nullopt;
    }
    // K steps at once and T / K carried values: the least is at sqrt(T c / s).
    const double best = std::sqrt(steps * carried / step);
    // Shorter chunks may take an eighth of the budget for what is carried.
    const double in_cache =
        std::max({cached_bytes / step, fewest_steps, steps * carried / (budget / 8)});
    choice.chunk =
        std::clamp<std::int64_t>(std::llround(std::min(best, in_cache)), 1, choice.steps);
    const auto chunk = static_cast<double>(choice.chunk);
    const double least = chunk * step + steps / chunk * carried;
    if (least > budget)
      throw_user_error("T0377",
                       fmt::format("a budget of {} is too small for this scan", size_text(budget)),
                       fmt::format("{} steps need at least {}; without remat {}", choice.steps,
                                   size_text(least), size_text(choice.whole)),
                       node.location);
    // What the budget leaves keeps steps that are then not computed again. The
    // share is a fraction of the length, so that other lengths are cut alike.
    constexpr std::int64_t parts = 1024;
    const double share = (budget - least) / (choice.whole - least);
    auto in_chunks =
        parts - static_cast<std::int64_t>(std::floor(std::clamp(share, 0.0, 1.0) * parts));
    Dim count;
    for (;; ++in_chunks) {  // whole chunks: one more when what is left is too much
      count = (view.length * Dim(in_chunks)).floor_div(parts * choice.chunk);
      choice.chunked = count.evaluate(sizes_) * choice.chunk;
      const auto chunked = static_cast<double>(choice.chunked);
      choice.kept = std::max(chunk, steps - chunked) * step + chunked / chunk * carried;
      if (choice.kept <= budget || in_chunks == parts) break;
    }
    if (choices_ != nullptr) choices_->push_back(choice);
    return std::pair(choice.chunk, count);
  }

  const Graph& graph_;
  const DimEnv& sizes_;
  std::vector<RecomputeChoice>* choices_;
  const WorkingMemory& memory_;
  std::vector<std::vector<std::uint32_t>> uses_;
  std::vector<bool> trained_;
};

bool has_budget(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return node.attributes.has("remat") ||
           std::any_of(node.regions.begin(), node.regions.end(),
                       [](const Region& region) { return has_budget(*region); });
  });
}

}  // namespace

std::string size_text(double bytes) {
  constexpr double kibibyte = 1024, mebibyte = 1024 * kibibyte;
  return bytes < mebibyte ? fmt::format("{:.1f} KiB", bytes / kibibyte)
                          : fmt::format("{:.1f} MiB", bytes / mebibyte);
}

Graph recompute(const Graph& graph, const DimEnv& sizes, std::vector<RecomputeChoice>* choices,
                const WorkingMemory& memory) {
  if (!has_budget(graph)) return graph;
  Cutter cutter(graph, sizes, choices, memory);
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.attributes.has("remat")) {
      cutter.scan(b, id, map);
      return true;
    }
    if (node.regions.empty() || !has_budget(*node.regions[0])) return false;
    Node copy = node;
    copy.regions[0] =
        std::make_shared<const Graph>(recompute(*node.regions[0], sizes, choices, memory));
    const Value first = b.clone(copy, map.all(node.operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
    return true;
  });
}

}  // namespace treadle
