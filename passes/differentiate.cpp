#include "passes/differentiate.h"

#include <algorithm>
#include <map>

#include "ir/diagnostic.h"
#include "passes/differentiate_scan.h"
#include "passes/expand_derivatives.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// Sums the cotangents that reach each value.
class Cotangents {
 public:
  explicit Cotangents(Builder& b) : b_(b) {}
  void add(Value of, Value cotangent) {
    ensure(b_.type(of) == b_.type(cotangent), "differentiate",
           "a gradient of type " + to_string(b_.type(cotangent)) + " for a value of type " +
               to_string(b_.type(of)));
    const auto [found, fresh] = map_.try_emplace(of, cotangent);
    if (!fresh) found->second = b_.add(found->second, cotangent);
  }
  Value get(Value of) const {
    const auto found = map_.find(of);
    return found == map_.end() ? Value{} : found->second;
  }

 private:
  Builder& b_;
  std::map<Value, Value> map_;
};

std::vector<Value> node_vjp(Builder& b, const Node& node, NodeId id,
                            const std::vector<Value>& cotangents, const std::vector<bool>& needs,
                            std::vector<ScanReplacement>& replaced) {
  std::vector<Value> outputs;
  for (std::uint32_t i = 0; i < node.types.size(); ++i) outputs.push_back({id, i});
  VjpContext context{b, node, node.operands, outputs, cotangents, needs};
  if (node.op == Op::scan) return scan_vjp(context, id, replaced);
  const OpDef& def = op_def(node.op);
  if (def.vjp == nullptr) return {};
  return def.vjp(context);
}

}  // namespace

std::vector<Value> gradients(Builder& b, std::span<const Seed> seeds, std::span<const Value> wrt,
                             std::vector<ScanReplacement>& replaced) {
  const auto end = static_cast<NodeId>(b.graph().size());
  const std::vector<bool> active =
      reached_from(b.graph(), std::vector<Value>(wrt.begin(), wrt.end()));
  Cotangents cotangents(b);
  NodeId last = 0;
  for (const Seed& seed : seeds) {
    cotangents.add(seed.value, seed.cotangent);
    last = std::max(last, seed.value.node + 1);
  }
  for (NodeId id = std::min(last, end); id-- > 0;) {
    if (!active[id]) continue;
    const Node node = b.graph().node(id);  // a copy: the graph grows below
    if (node.operands.empty()) continue;
    std::vector<Value> incoming;
    bool any = false;
    for (std::uint32_t i = 0; i < node.types.size(); ++i) {
      incoming.push_back(cotangents.get({id, i}));
      any = any || incoming.back().valid();
    }
    if (!any) continue;
    std::vector<bool> needs;
    for (const Value v : node.operands)
      needs.push_back(active[v.node] && is_float(b.type(v).dtype));
    const LocationScope scope(b, node.location);
    const std::vector<Value> out = node_vjp(b, node, id, incoming, needs, replaced);
    for (std::size_t i = 0; i < out.size(); ++i)
      if (out[i].valid() && needs[i]) cotangents.add(node.operands[i], out[i]);
  }
  std::vector<Value> out;
  for (const Value v : wrt) out.push_back(cotangents.get(v));
  return out;
}

Graph merge_scans(const Graph& graph, std::span<const ScanReplacement> replaced,
                  std::vector<NodeId>* moved) {
  std::map<NodeId, NodeId> augmented_of;
  std::map<NodeId, NodeId> original_of;
  for (const ScanReplacement& pair : replaced) {
    augmented_of[pair.original] = pair.augmented;
    original_of[pair.augmented] = pair.original;
  }
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage;
  Builder b(out);
  ValueMap map(graph);
  std::vector<NodeId> went(graph.size(), UINT32_MAX);
  std::vector<bool> live = live_nodes(graph);
  for (const ScanReplacement& pair : replaced)
    if (live[pair.original] || live[pair.augmented]) live[pair.original] = true;
  for (NodeId id = 0; id < graph.size(); ++id) {
    if (!live[id] || original_of.contains(id)) continue;
    const auto found = augmented_of.find(id);
    const NodeId source = found == augmented_of.end() ? id : found->second;
    // The augmented scan has the original's operands, so it may stand here; its
    // first outputs are the original's.
    const Value first = copy_node(b, graph, source, map);
    went[id] = went[source] = first.node;
    for (std::uint32_t i = 0; source != id && i < graph.node(id).types.size(); ++i)
      map.set({id, i}, {first.node, i});
  }
  for (const Output& output : graph.outputs()) out.add_output(output.name, map[output.value]);
  if (moved != nullptr) *moved = std::move(went);
  return out;
}

namespace {

struct Targets {
  std::vector<std::string> names;
  std::vector<Value> values;
};

Targets find_targets(const Graph& graph, const DifferentiateOptions& options) {
  Targets out;
  out.names = options.wrt;
  if (out.names.empty())
    for (const NodeId id : graph.inputs())
      if (graph.node(id).op == Op::parameter && is_float(graph.node(id).types[0].dtype))
        out.names.push_back(graph.node(id).attributes.string("name"));
  for (const std::string& name : out.names) {
    out.values.push_back(graph.input(name));
    if (!out.values.back().valid())
      throw_user_error("T0811",
                       "there is no parameter or input '" + name + "' to differentiate by");
  }
  return out;
}

// Adds the gradients of the scalar output to b's graph.
std::vector<Value> add_gradients(Builder& b, const Targets& targets, const std::string& output,
                                 std::vector<ScanReplacement>& replaced) {
  const Value loss = b.graph().output(output);
  if (!loss.valid()) throw_user_error("T0812", "there is no output '" + output + "'");
  if (b.type(loss).rank() != 0 || !is_float(b.type(loss).dtype))
    throw_user_error("T0813", "'" + output + "' is " + to_string(b.type(loss)) +
                                  "; only a scalar has a gradient");
  const std::vector<Seed> seeds{{loss, b.constant(b.type(loss), 1)}};
  std::vector<Value> out = gradients(b, seeds, targets.values, replaced);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!out[i].valid()) out[i] = b.constant(b.type(targets.values[i]), 0);
  return out;
}

}  // namespace

Graph differentiate(const Graph& graph, const DifferentiateOptions& options) {
  Graph work = expand_derivatives(graph);
  Builder b(work);
  const Targets targets = find_targets(work, options);
  std::vector<ScanReplacement> replaced;
  const std::vector<Value> found = add_gradients(b, targets, options.output, replaced);
  for (std::size_t i = 0; i < found.size(); ++i)
    work.add_output(options.prefix + targets.names[i], found[i]);
  if (work.stage == Stage::batched) work.stage = Stage::differentiated;
  return merge_scans(work, replaced);
}

Graph directional_slope(const Graph& graph, const DifferentiateOptions& options) {
  Graph work = expand_derivatives(graph);
  Builder b(work);
  const Targets targets = find_targets(work, options);
  std::vector<ScanReplacement> replaced;
  const std::vector<Value> found = add_gradients(b, targets, options.output, replaced);
  Value slope;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Type type = b.type(found[i]);
    const Value direction = b.input("direction:" + targets.names[i], type, {{"shared", true}});
    Integers axes;
    for (std::size_t d = 0; d < type.rank(); ++d) axes.push_back(static_cast<std::int64_t>(d));
    const Value product = b.mul(found[i], direction);
    const Value term = axes.empty() ? product : b.reduce_sum(product, axes);
    slope = slope.valid() ? b.add(slope, term) : term;
  }
  ensure(slope.valid(), "differentiate", "a slope by nothing");
  work.set_outputs({{"slope", slope}});
  return merge_scans(work, replaced);
}

}  // namespace treadle
