#include "passes/join_gradients.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

class Joiner {
 public:
  explicit Joiner(const Graph& graph) : graph_(graph) {}

  Graph run() {
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (const auto attention = joined_gradients(id)) joins_.emplace(*attention, id);
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      const Node& node = graph_.node(id);
      if (parts_.contains({id, 0})) return true;
      if (node.op == Op::attention_gradient) {
        copy_node(b, graph_, id, map);
        if (const auto found = joins_.find(id); found != joins_.end()) join(b, found->second, map);
        return true;
      }
      copy_node(b, with_regions(node, join_gradients), id, map);
      return true;
    });
  }

 private:
  // The gradient that a value is with its axes in another order, if it is one.
  std::optional<Value> gradient(Value v) const {
    const Op op = graph_.node(v.node).op;
    if (op == Op::attention_gradient) return v;
    if (op != Op::transpose && op != Op::reshape) return std::nullopt;
    return gradient(graph_.node(v.node).operands[0]);
  }

  // The attention whose gradients, some of them or all, each once, the concatenation is.
  std::optional<NodeId> joined_gradients(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.op != Op::concat || !read_by_product(id)) return std::nullopt;
    std::set<Value> gradients;
    for (const Value part : node.operands) {
      const auto of = gradient(part);
      if (!of || graph_.node(part.node).op == Op::attention_gradient) return std::nullopt;
      gradients.insert(*of);
    }
    if (gradients.size() != node.operands.size()) return std::nullopt;
    const NodeId attention = gradients.begin()->node;
    const bool one = std::all_of(gradients.begin(), gradients.end(),
                                 [&](const Value v) { return v.node == attention; });
    return one ? std::optional(attention) : std::nullopt;
  }
  bool read_by_product(NodeId id) const {
    return std::any_of(graph_.nodes().begin(), graph_.nodes().end(), [&](const Node& node) {
      return node.op == Op::matmul && std::find(node.operands.begin(), node.operands.end(),
                                                Value{id, 0}) != node.operands.end();
    });
  }

  Value again(Builder& b, Value v, const ValueMap& map) const {
    const Node& node = graph_.node(v.node);
    if (node.op == Op::attention_gradient) return map[v];
    const LocationScope scope(b, node.location);
    return b.clone(node, {again(b, node.operands[0], map)});
  }

  void join(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    std::vector<Value> parts;
    for (const Value part : node.operands) parts.push_back(again(b, part, map));
    const LocationScope scope(b, node.location);
    const Value joined = b.clone(node, std::move(parts));
    map.set({id, 0}, joined);
    parts_.insert({id, 0});
    const std::int64_t axis = node.attributes.integer("axis");
    Dim start(0);
    for (const Value part : node.operands) {
      const Dim& extent = graph_.type(part).dims[static_cast<std::size_t>(axis)];
      map.set(part, b.slice(joined, axis, start, extent));
      parts_.insert(part);
      start = start + extent;
    }
  }

  const Graph& graph_;
  std::map<NodeId, NodeId> joins_;  // concatenations, by attention
  std::set<Value> parts_;           // and their parts, as they are done
};

}  // namespace

Graph join_gradients(const Graph& graph) { return without_dead_nodes(Joiner(graph).run()); }

}  // namespace treadle
