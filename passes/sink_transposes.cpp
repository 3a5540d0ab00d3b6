#include "passes/sink_transposes.h"

#include <algorithm>
#include <optional>

#include "ir/op_def.h"
#include "passes/graph_copy.h"
#include "passes/simplify_rules.h"

namespace treadle {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

bool is_reduction(Op op) { return op == Op::reduce_sum || op == Op::reduce_max; }

class Sinker {
 public:
  explicit Sinker(const Graph& graph) : graph_(graph), sunk_(graph.size()), moved_(graph.size()) {}

  Graph run() {
    find_users();
    for (NodeId id = 0; id < graph_.size(); ++id) sunk_[id] = common_permutation(graph_.node(id));
    // A node that stays makes those that read it stay, and those that it reads.
    for (bool changed = true; changed;) {
      changed = false;
      for (NodeId id = 0; id < graph_.size(); ++id) {
        if (!sunk_[id]) continue;
        if (common_permutation(graph_.node(id)) == sunk_[id] && readers_follow(id)) continue;
        sunk_[id].reset();
        changed = true;
      }
    }
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      const Node& node = graph_.node(id);
      const LocationScope scope(b, node.location);
      if (sunk_[id]) {
        emit_pointwise(b, id, map);
      } else if (is_reduction(node.op) && sunk_permutation(node.operands[0])) {
        emit_reduction(b, id, map);
      } else if (node.op == Op::transpose && sunk_permutation(node.operands[0])) {
        emit_transpose(b, id, map);
      } else {
        copy_node(b, with_regions(node, sink_transposes), id, map);
      }
      return true;
    });
  }

 private:
  void find_users() {
    users_.resize(graph_.size());
    for (NodeId id = 0; id < graph_.size(); ++id)
      for (const Value v : graph_.node(id).operands) users_[v.node].push_back(id);
    is_output_.resize(graph_.size());
    for (const Output& output : graph_.outputs()) is_output_[output.value.node] = true;
  }

  // The permutation behind which `v` moved, if it did.
  const std::optional<Integers>& sunk_permutation(Value v) const { return sunk_[v.node]; }

  // The permutation of a transpose, or of a node that is to move.
  std::optional<Integers> permutation_of(Value v) const {
    const Node& node = graph_.node(v.node);
    if (node.op == Op::transpose) return whole_permutation(node);
    return sunk_[v.node];
  }

  // Of a transpose and of what its operand moved behind.
  Integers whole_permutation(const Node& transpose) const {
    Integers out = transpose.attributes.integers("permutation");
    if (const auto& first = sunk_permutation(transpose.operands[0]))
      for (std::int64_t& axis : out) axis = (*first)[at(axis)];
    return out;
  }

  // Can `v` be had with its axes before the transpose for nothing?
  bool is_free(Value v, const Integers& permutation) const {
    const Node& node = graph_.node(v.node);
    if (node.op == Op::broadcast) return broadcast_axes(node, permutation).has_value();
    return splat_element(graph_, v) != nullptr;
  }

  // By which the operands of a pointwise node are transposed: all alike, at least
  // one of them.
  std::optional<Integers> common_permutation(const Node& node) const {
    if (!op_def(node.op).pointwise() || node.types.size() != 1) return {};
    std::optional<Integers> common;
    for (const Value v : node.operands) {
      if (graph_.type(v).rank() != node.types[0].rank()) return {};
      const auto permutation = permutation_of(v);
      if (!permutation) continue;
      if (common && *common != *permutation) return {};
      common = permutation;
    }
    if (!common) return {};
    for (const Value v : node.operands)
      if (!permutation_of(v) && !is_free(v, *common)) return {};
    return common;
  }

  // The axes of a broadcast whose result is to be transposed back; nothing where
  // they would not ascend.
  static std::optional<Integers> broadcast_axes(const Node& node, const Integers& permutation) {
    Integers axes;
    for (const std::int64_t axis : node.attributes.integers("axes"))
      axes.push_back(permutation[at(axis)]);
    if (!std::is_sorted(axes.begin(), axes.end())) return {};
    return axes;
  }

  bool readers_follow(NodeId id) const {
    if (is_output_[id]) return false;
    return std::all_of(users_[id].begin(), users_[id].end(), [&](NodeId user) {
      const Node& node = graph_.node(user);
      return node.op == Op::transpose || is_reduction(node.op) || sunk_[user] == sunk_[id];
    });
  }

  // `v`, an operand of a node that moves, before its transpose.
  Value before(Builder& b, Value v, const Integers& permutation, ValueMap& map) const {
    const Node& node = graph_.node(v.node);
    if (sunk_[v.node]) return moved_[v.node];
    if (node.op == Op::transpose) {
      const Value operand = node.operands[0];
      return sunk_[operand.node] ? moved_[operand.node] : map[operand];
    }
    Dims dims(permutation.size());
    for (std::size_t i = 0; i < permutation.size(); ++i)
      dims[at(permutation[i])] = node.types[0].dims[i];
    if (const Tensor* element = splat_element(graph_, v))
      return make_splat(b, Tensor(*element), std::move(dims));
    return b.broadcast(map[node.operands[0]], std::move(dims), *broadcast_axes(node, permutation));
  }

  void emit_pointwise(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    std::vector<Value> operands;
    for (const Value v : node.operands) operands.push_back(before(b, v, *sunk_[id], map));
    moved_[id] = b.clone(node, std::move(operands));
  }

  void emit_transpose(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    const Integers both = whole_permutation(node);
    const Value x = moved_[node.operands[0].node];
    map.set({id, 0}, std::is_sorted(both.begin(), both.end()) ? x : b.transpose(x, both));
  }

  void emit_reduction(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    const Integers& permutation = *sunk_permutation(node.operands[0]);
    const Integers& axes = node.attributes.integers("axes");
    Integers reduced, kept;
    for (std::size_t i = 0; i < permutation.size(); ++i) {
      const bool gone =
          std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
      (gone ? reduced : kept).push_back(permutation[i]);
    }
    std::sort(reduced.begin(), reduced.end());
    Node copy = node;
    copy.attributes.set("axes", reduced);
    Value sum = b.clone(copy, {moved_[node.operands[0].node]});
    // The axes that stay come in the order in which they lie; they were wanted in
    // that of `kept`.
    Integers order;
    for (const std::int64_t axis : kept)
      order.push_back(std::count_if(kept.begin(), kept.end(),
                                    [&](std::int64_t other) { return other < axis; }));
    if (!std::is_sorted(order.begin(), order.end())) sum = b.transpose(sum, order);
    map.set({id, 0}, sum);
  }

  const Graph& graph_;
  std::vector<std::optional<Integers>> sunk_;  // by node that moves: behind which transpose
  std::vector<Value> moved_;                   // where it went
  std::vector<std::vector<NodeId>> users_;
  std::vector<bool> is_output_;
};

}  // namespace

Graph sink_transposes(const Graph& graph) { return without_dead_nodes(Sinker(graph).run()); }

}  // namespace treadle
