#include "passes/bf16_products.h"

#include <map>
#include <optional>

#include "ir/builder.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"

namespace treadle {
namespace {

// The same numbers in another order, perhaps several times, which products read in
// place. A slice is none: it may be a small part of what it reads.
bool is_view(Op op) {
  return op == Op::transpose || op == Op::reshape || op == Op::broadcast || op == Op::reverse ||
         op == Op::windows;
}

// Each value rounded at its first use.
class Rounding {
 public:
  explicit Rounding(Builder& b) : b_(b) {}

  Value of(Value v) {
    const auto found = rounded_.find(v);
    if (found != rounded_.end()) return found->second;
    const Value out = made(v);
    rounded_.emplace(v, out);
    return out;
  }

 private:
  Value made(Value v) {
    const Node node = b_.graph().node(v.node);
    if (is_rounded(node)) return v;
    if (!is_view(node.op)) return b_.cast(b_.cast(v, DType::bf16), DType::f32);
    const Value below = of(node.operands[0]);
    return below == node.operands[0] ? v : b_.clone(node, {below});
  }

  bool is_rounded(const Node& node) const {
    return node.op == Op::cast && b_.type(node.operands[0]).dtype == DType::bf16;
  }

  Builder& b_;
  std::map<Value, Value> rounded_;
};

bool is_sum_of_products(const Node& node) {
  return node.op == Op::matmul && node.types[0].dtype == DType::f32 &&
         !node.attributes.integers("contract_a").empty();
}

Graph with_rounded_operands(const Graph& graph) {
  std::optional<Rounding> rounding;
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (!rounding) rounding.emplace(b);
    const Node& node = graph.node(id);
    if (node.op == Op::scan) {
      copy_node(b, with_regions(node, with_rounded_operands), id, map);
      return true;
    }
    if (!is_sum_of_products(node)) return false;
    const LocationScope scope(b, node.location);
    const Value x = rounding->of(map[node.operands[0]]), y = rounding->of(map[node.operands[1]]);
    map.set({id, 0}, b.clone(node, {x, y}));
    return true;
  });
}

Graph with_rounding_products(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    Node node = graph.node(id);
    if (node.op == Op::scan)
      node = with_regions(node, with_rounding_products);
    else if (is_sum_of_products(node))
      node.attributes.set("operands", DType::bf16);
    else
      return false;
    copy_node(b, node, id, map);
    return true;
  });
}

}  // namespace

Graph bf16_products(const Graph& graph, bool in_products) {
  if (in_products) return with_rounding_products(graph);
  // Hoisting again takes rounded weights out of the loops.
  return hoist_scan(with_rounded_operands(graph));
}

}  // namespace treadle
