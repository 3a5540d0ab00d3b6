#include "passes/strided_products.h"

#include <algorithm>

#include "ir/builder.h"
#include "ir/ops/attention.h"
#include "ir/strided_view.h"
#include "passes/cheap_ops.h"
#include "passes/graph_copy.h"

namespace treadle {

Value read_by_attention(const Graph& graph, const Node& attention, std::size_t i) {
  const Value v = attention.operands[i];
  if (i >= AttentionView(attention).row_operands) return v;
  const auto view = rows_view(graph, v);
  return view && !is_generated(graph.node(view->base.node).op) ? view->base : v;
}

namespace {

// `v` again by nodes of its own, from `base` on: others that read it may need it
// in memory, which would cut this view short.
Value own_view(Builder& b, const Graph& graph, ValueMap& map, Value v, Value base) {
  if (v == base) return map[v];
  const Node& node = graph.node(v.node);
  return b.clone(node, {own_view(b, graph, map, node.operands[0], base)});
}

bool copy_with_own_views(Builder& b, const Graph& graph, NodeId id, ValueMap& map) {
  const Node& node = graph.node(id);
  std::vector<Value> operands;
  for (std::size_t i = 0; i < node.operands.size(); ++i)
    operands.push_back(
        own_view(b, graph, map, node.operands[i], read_by_attention(graph, node, i)));
  const LocationScope scope(b, node.location);
  const Value first = b.clone(node, std::move(operands));
  for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
  return true;
}

}  // namespace

Graph with_strided_products(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (is_attention(node.op)) return copy_with_own_views(b, graph, id, map);
    if (node.op != Op::matmul && node.op != Op::matmul_add) return false;
    std::vector<Value> operands = map.all(node.operands);
    Attributes attributes = node.attributes;
    const auto whole = product_view(graph, node);
    const bool loops = whole && whole->has_loops();
    if (loops) {
      operands[0] = own_view(b, graph, map, node.operands[0], whole->a.base);
      operands[1] = own_view(b, graph, map, node.operands[1], whole->b.base);
    }
    bool changed = loops;
    for (const std::size_t i : {0U, 1U}) {
      if (loops) break;
      if (const auto view = matrix_view(graph, node, i)) {
        // What is generated is written down first, as the operand itself.
        const bool generated =
            view->base != node.operands[i] && is_generated(graph.node(view->base.node).op);
        if (!generated && view->base != node.operands[i]) {
          operands[i] = own_view(b, graph, map, node.operands[i], view->base);
          changed = true;
        }
        if (!generated || dense_matrix_view(graph, node, i)) continue;
      }
      const std::string batch_name = i == 0 ? "batch_a" : "batch_b";
      const std::string contract_name = i == 0 ? "contract_a" : "contract_b";
      const Integers batch = node.attributes.integers(batch_name);
      const Integers contract = node.attributes.integers(contract_name);
      const auto has = [](const Integers& list, std::int64_t axis) {
        return std::find(list.begin(), list.end(), axis) != list.end();
      };
      Integers order = batch;
      const auto rank = static_cast<std::int64_t>(graph.type(node.operands[i]).rank());
      for (std::int64_t axis = 0; axis < rank; ++axis)
        if (!has(batch, axis) && !has(contract, axis)) order.push_back(axis);
      order.insert(order.end(), contract.begin(), contract.end());
      operands[i] = b.transpose(operands[i], order);
      Integers first, last;
      for (std::int64_t k = 0; k < static_cast<std::int64_t>(batch.size()); ++k) first.push_back(k);
      for (std::int64_t k = rank - static_cast<std::int64_t>(contract.size()); k < rank; ++k)
        last.push_back(k);
      attributes.set(batch_name, first);
      attributes.set(contract_name, last);
      changed = true;
    }
    if (!changed) return false;
    const LocationScope scope(b, node.location);
    map.set({id, 0}, b.add_node(node.op, std::move(operands), std::move(attributes)));
    return true;
  });
}

}  // namespace treadle
