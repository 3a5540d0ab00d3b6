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
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    const LocationScope scope(b, node.location);
    if (const DecomposeRule decompose = op_def(node.op).decompose; decompose != nullptr) {
      const std::vector<Value> parts = decompose(b, node, map.all(node.operands));
      for (std::uint32_t i = 0; i < parts.size(); ++i) map.set({id, i}, parts[i]);
      return true;
    }
    copy_node(b, with_regions(node, expand_composites), id, map);
    return true;
  });
}

}  // namespace

Graph expand_composites(const Graph& graph) {
  Graph out = graph;
  while (has_composites(out)) out = expand_once(out);
  return out;
}

}  // namespace treadle
