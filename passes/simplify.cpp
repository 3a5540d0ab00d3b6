#include "passes/simplify.h"

#include <map>

#include "passes/expand_derivatives.h"
#include "passes/graph_copy.h"
#include "passes/prune_scans.h"
#include "passes/simplify_rules.h"

namespace treadle {
namespace {

constexpr int max_rounds = 64;

bool is_source(const Node& node) {
  return node.op == Op::input || node.op == Op::parameter || node.op == Op::argument;
}

bool same_regions(const Node& a, const Node& b) {
  if (a.regions.size() != b.regions.size()) return false;
  for (std::size_t i = 0; i < a.regions.size(); ++i)
    if (!same_graph(*a.regions[i], *b.regions[i])) return false;
  return true;
}

// Nodes that were built already, by op and operands.
class Known {
 public:
  // The first node equal to node `id` of `graph`, which is remembered when
  // there is none. Sources are only ever equal to themselves.
  NodeId first_equal(const Graph& graph, NodeId id) {
    const Node& node = graph.node(id);
    if (is_source(node)) return id;
    std::vector<NodeId>& bucket = buckets_[{node.op, node.operands}];
    for (const NodeId other : bucket)
      if (graph.node(other).attributes == node.attributes && same_regions(graph.node(other), node))
        return other;
    bucket.push_back(id);
    return id;
  }

 private:
  std::map<std::pair<Op, std::vector<Value>>, std::vector<NodeId>> buckets_;
};

Graph simplify_round(const Graph& graph);

Graph rewrite(const Graph& graph) {
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage;
  Builder b(out);
  ValueMap map(graph);
  Known known;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (is_source(node)) {
      copy_node(b, graph, id, map);
      continue;
    }
    const LocationScope scope(b, node.location);
    const std::vector<Value> operands = map.all(node.operands);
    if (node.types.size() == 1 && node.regions.empty()) {
      std::optional<Value> simpler = simplify_algebra(b, node, operands);
      if (!simpler) simpler = simplify_shapes(b, node, operands);
      if (simpler) {
        map.set({id, 0}, {known.first_equal(out, simpler->node), simpler->index});
        continue;
      }
    }
    Node copy = node;
    if (node.op == Op::scan)
      copy.regions[0] = std::make_shared<const Graph>(simplify_round(*node.regions[0]));
    const NodeId built = known.first_equal(out, b.clone(copy, operands).node);
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {built, i});
  }
  for (const Output& output : graph.outputs()) out.add_output(output.name, map[output.value]);
  return out;
}

Graph simplify_round(const Graph& graph) {
  return without_dead_nodes(prune_scans(without_dead_nodes(rewrite(graph))));
}

}  // namespace

Graph simplify(const Graph& graph) {
  // Before equal nodes become one: a derivative is by a node, not by what it computes.
  Graph now = expand_derivatives(graph);
  for (int round = 0; round < max_rounds; ++round) {
    Graph next = simplify_round(now);
    if (same_graph(next, now)) return now;
    now = std::move(next);
  }
  return now;
}

}  // namespace treadle
