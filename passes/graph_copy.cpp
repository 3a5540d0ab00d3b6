#include "passes/graph_copy.h"

#include "ir/diagnostic.h"

namespace treadle {

ValueMap::ValueMap(const Graph& from) {
  map_.reserve(from.size());
  for (const Node& node : from.nodes()) map_.emplace_back(node.types.size());
}

Value ValueMap::operator[](Value v) const {
  const Value to = map_.at(v.node).at(v.index);
  ensure(to.valid(), "graph-copy", "a value is used before it is mapped");
  return to;
}

std::vector<Value> ValueMap::all(const std::vector<Value>& values) const {
  std::vector<Value> out;
  out.reserve(values.size());
  for (const Value v : values) out.push_back((*this)[v]);
  return out;
}

Value copy_node(Builder& to, const Graph& from, NodeId id, ValueMap& map) {
  return copy_node(to, from.node(id), id, map);
}

Value copy_node(Builder& to, const Node& node, NodeId id, ValueMap& map) {
  const Value first = to.clone(node, map.all(node.operands));
  for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
  return first;
}

Node with_regions(Node node, const std::function<Graph(const Graph&)>& rewrite) {
  for (Region& region : node.regions) region = std::make_shared<const Graph>(rewrite(*region));
  return node;
}

std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(graph.size(), false);
  for (const Output& output : graph.outputs()) live[output.value.node] = true;
  for (const NodeId id : graph.inputs()) live[id] = true;
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;)
    if (live[id])
      for (const Value v : graph.node(id).operands) live[v.node] = true;
  return live;
}

std::vector<bool> reached_from(const Graph& graph, const std::vector<Value>& sources) {
  std::vector<bool> reached(graph.size(), false);
  for (const Value v : sources) reached[v.node] = true;
  for (NodeId id = 0; id < graph.size(); ++id)
    for (const Value v : graph.node(id).operands)
      if (reached[v.node]) reached[id] = true;
  return reached;
}

Graph copy_graph(const Graph& graph, const ReplaceNode& replace) {
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage;
  Builder b(out);
  ValueMap map(graph);
  for (NodeId id = 0; id < graph.size(); ++id)
    if (!replace(b, id, map)) copy_node(b, graph, id, map);
  for (const Output& output : graph.outputs()) out.add_output(output.name, map[output.value]);
  return out;
}

namespace {
void collect_terms(const Graph& graph, Value v, bool root, const UseCounts& uses,
                   std::vector<Value>& terms) {
  const Node& node = graph.node(v.node);
  if (node.op != Op::add || (!root && uses[v.node][0] != 1)) {
    terms.push_back(v);
    return;
  }
  for (const Value operand : node.operands) collect_terms(graph, operand, false, uses, terms);
}
}  // namespace

std::vector<Value> addition_terms(const Graph& graph, Value root, const UseCounts& uses) {
  std::vector<Value> terms;
  collect_terms(graph, root, true, uses, terms);
  return terms;
}

std::vector<std::vector<NodeId>> live_users(const Graph& graph) {
  std::vector<std::vector<NodeId>> out(graph.size());
  const std::vector<bool> live = live_nodes(graph);
  for (NodeId id = 0; id < graph.size(); ++id)
    if (live[id])
      for (const Value v : graph.node(id).operands) out[v.node].push_back(id);
  return out;
}

Graph without_dead_nodes(const Graph& graph) {
  const std::vector<bool> live = live_nodes(graph);
  return copy_graph(graph, [&](Builder&, NodeId id, ValueMap&) { return !live[id]; });
}

}  // namespace treadle
