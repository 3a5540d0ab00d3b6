#include "passes/expand_composites.h"

#include "passes/graph_copy.h"

namespace treadle {
namespace {

bool has_composites(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (op_def(node.op).decompose != nullptr) return true;
    for (const Region& region : node.regions)
      if (has_composites(*region)) return true;
  }
  return false;
}

Graph expand_once(const Graph& graph) {
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage;
  Builder b(out);
  ValueMap map(graph);
  for (NodeId id = 0; id < graph.size(); ++id) {
    Node node = graph.node(id);
    LocationScope scope(b, node.location);
    if (const DecomposeRule decompose = op_def(node.op).decompose; decompose != nullptr) {
      const std::vector<Value> parts = decompose(b, node, map.all(node.operands));
      for (std::uint32_t i = 0; i < parts.size(); ++i) map.set({id, i}, parts[i]);
      continue;
    }
    if (node.regions.empty()) {
      copy_node(b, graph, id, map);
      continue;
    }
    for (Region& region : node.regions)
      region = std::make_shared<const Graph>(expand_composites(*region));
    const Value first = b.clone(node, map.all(node.operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
  }
  for (const Output& output : graph.outputs()) out.add_output(output.name, map[output.value]);
  return out;
}

}  // namespace

Graph expand_composites(const Graph& graph) {
  Graph out = graph;
  while (has_composites(out)) out = expand_once(out);
  return out;
}

}  // namespace treadle
