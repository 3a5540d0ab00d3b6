// Copying nodes from one graph into another, which is how every pass works.
#pragma once
#include <functional>
#include <vector>

#include "ir/builder.h"

namespace treadle {

// Where the values of one graph went in another.
class ValueMap {
 public:
  explicit ValueMap(const Graph& from);
  bool has(Value v) const { return map_[v.node][v.index].valid(); }
  Value operator[](Value v) const;  // InternalError when it went nowhere
  void set(Value from, Value to) { map_[from.node][from.index] = to; }
  std::vector<Value> all(const std::vector<Value>& values) const;

 private:
  std::vector<std::vector<Value>> map_;
};

// Copies node `id` of `from` on mapped operands and maps its outputs.
Value copy_node(Builder& to, const Graph& from, NodeId id, ValueMap& map);
// The same for `node`, which is to stand where node `id` stood.
Value copy_node(Builder& to, const Node& node, NodeId id, ValueMap& map);
// The node with `rewrite` of each of its regions.
Node with_regions(Node node, const std::function<Graph(const Graph&)>& rewrite);

// Rebuilds `graph` node by node. `replace` maps the outputs of a node itself (or
// drops it) and returns true, or returns false to have it copied.
using ReplaceNode = std::function<bool(Builder& to, NodeId id, ValueMap& map)>;
Graph copy_graph(const Graph& graph, const ReplaceNode& replace);

// What a tree of additions adds up, in order: `root`, when it is an `add`, is
// taken apart, and so is every `add` below it that nothing else reads.
using UseCounts = std::vector<std::vector<std::uint32_t>>;
std::vector<Value> addition_terms(const Graph& graph, Value root, const UseCounts& uses);

// True for every node that reaches one of the outputs. Whole graphs and
// regions keep their sources whatever they reach.
std::vector<bool> live_nodes(const Graph& graph);
// Who of these reads each node, as often as it does.
std::vector<std::vector<NodeId>> live_users(const Graph& graph);
// True for every node that depends on one of `sources`.
std::vector<bool> reached_from(const Graph& graph, const std::vector<Value>& sources);

// The graph without dead nodes (sources stay). Dead outputs of scans stay too.
Graph without_dead_nodes(const Graph& graph);

}  // namespace treadle
