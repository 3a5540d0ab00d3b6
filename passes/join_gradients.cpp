#include "passes/join_gradients.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

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

// What is made of each part of a whole with one other operand is made of the whole, and its
// parts are read there: products, and the sums over the rows that they multiply.
class WholeProducts {
 public:
  explicit WholeProducts(const Graph& graph) : graph_(graph), live_(live_nodes(graph)) {}

  Graph run() {
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (const auto key = product_key(id)) products_[*key].push_back(id);
    std::erase_if(products_, [&](const auto& entry) { return !cover(entry.second, 1); });
    for (const auto& [key, group] : products_) summed_.emplace(std::get<0>(key), std::get<3>(key));
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (const auto key = sum_key(id)) sums_[*key].push_back(id);
    std::erase_if(sums_, [](const auto& entry) { return entry.second.size() < 2; });
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      if (map.has({id, 0})) return true;
      if (const auto key = product_key(id); key && products_.contains(*key)) {
        const auto& [whole, left, contract_a, contract_b, rounded] = *key;
        const LocationScope scope(b, graph_.node(id).location);
        read_parts(b, b.clone(graph_.node(id), {map[left], map[whole]}), products_.at(*key), 1,
                   map);
        return true;
      }
      if (const auto key = sum_key(id); key && sums_.contains(*key)) {
        const LocationScope scope(b, graph_.node(id).location);
        read_parts(b, b.clone(graph_.node(id), {map[key->first]}), sums_.at(*key), 0, map);
        return true;
      }
      copy_node(b, with_regions(graph_.node(id), joined), id, map);
      return true;
    });
  }
  static Graph joined(const Graph& graph) { return without_dead_nodes(WholeProducts(graph).run()); }

 private:
  // The whole, the other operand, what is contracted of the two, and whether they are rounded
  // (passes/bf16_products.h).
  using ProductKey = std::tuple<Value, Value, Integers, Integers, bool>;
  using SumKey = std::pair<Value, Integers>;

  // Columns of something wider?
  bool is_part(Value v) const {
    const Node& node = graph_.node(v.node);
    return node.op == Op::slice &&
           node.attributes.integer("axis") + 1 == static_cast<std::int64_t>(node.types[0].rank());
  }
  bool spares_columns(Value v, const Integers& axes) const {
    const auto last = static_cast<std::int64_t>(graph_.type(v).rank()) - 1;
    return std::find(axes.begin(), axes.end(), last) == axes.end();
  }

  std::optional<ProductKey> product_key(NodeId id) const {
    const Node& node = graph_.node(id);
    if (!live_[id] || node.op != Op::matmul || !is_part(node.operands[1])) return std::nullopt;
    const Integers& contract_b = node.attributes.integers("contract_b");
    if (!node.attributes.integers("batch_b").empty() ||
        !spares_columns(node.operands[1], contract_b))
      return std::nullopt;
    return ProductKey{graph_.node(node.operands[1].node).operands[0], node.operands[0],
                      node.attributes.integers("contract_a"), contract_b,
                      node.attributes.has("operands")};
  }
  // Of those that a product which is made of the whole can give on its way.
  std::optional<SumKey> sum_key(NodeId id) const {
    const Node& node = graph_.node(id);
    if (!live_[id] || node.op != Op::reduce_sum || !is_part(node.operands[0])) return std::nullopt;
    SumKey key{graph_.node(node.operands[0].node).operands[0], node.attributes.integers("axes")};
    return summed_.contains(key) ? std::optional(key) : std::nullopt;
  }

  const Attributes& part(NodeId reader, std::size_t operand) const {
    return graph_.node(graph_.node(reader).operands[operand].node).attributes;
  }

  // Do the parts that the nodes read lie side by side, from the first column to the last?
  bool cover(const std::vector<NodeId>& nodes, std::size_t operand) const {
    if (nodes.size() < 2) return false;
    std::vector<NodeId> left = nodes;
    Dim end(0);
    while (!left.empty()) {
      const auto next = std::find_if(left.begin(), left.end(), [&](NodeId id) {
        return part(id, operand).dim("start") == end;
      });
      if (next == left.end()) return false;
      end = end + part(*next, operand).dim("extent");
      left.erase(next);
    }
    const Value first = graph_.node(nodes[0]).operands[operand];
    return end == graph_.type(graph_.node(first.node).operands[0]).dims.back();
  }

  void read_parts(Builder& b, Value whole, const std::vector<NodeId>& nodes, std::size_t operand,
                  ValueMap& map) const {
    const auto last = static_cast<std::int64_t>(b.type(whole).rank()) - 1;
    for (const NodeId id : nodes)
      map.set({id, 0}, b.slice(whole, last, part(id, operand).dim("start"),
                               part(id, operand).dim("extent")));
  }

  const Graph& graph_;
  std::vector<bool> live_;
  std::map<ProductKey, std::vector<NodeId>> products_;
  std::map<SumKey, std::vector<NodeId>> sums_;
  std::set<SumKey> summed_;  // the rows that those products multiply
};

}  // namespace

Graph join_gradients(const Graph& graph) { return WholeProducts::joined(Joiner(graph).run()); }

}  // namespace treadle
