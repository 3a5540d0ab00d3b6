#include "passes/chain_products.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "ir/strided_view.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// With as many inputs a loop takes as long either way. Of 50 steps of 64 rows, in the loop
// together, an LSTM of 256 units takes 0.92 of the time with 64 inputs, 0.93 with 128, 1.00 with
// 256; one of 128 units 0.98 with 64 to 192; an RNN of 256 0.96 with 64.
constexpr std::int64_t too_many_inputs = 256;

std::vector<bool> returned_by(const Graph& graph) {
  std::vector<bool> out(graph.size(), false);
  for (const Output& output : graph.outputs()) out[output.value.node] = true;
  return out;
}

// One product of two matrices, both read as they stand.
bool is_plain_product(const Graph& graph, const Node& node) {
  if (node.op != Op::matmul || node.attributes.has("backend")) return false;
  const auto view = product_view(graph, node);
  return view && !view->has_loops() && view->shape.batch == Dim(1) &&
         view->a.contract_stride == Dim(1);
}

// A step's products that start from one of `starts`, its arguments.
class Step {
 public:
  Step(const Graph& graph, const std::set<Value>& starts)
      : graph_(graph), starts_(starts), users_(live_users(graph)), returned_(returned_by(graph)) {
    for (NodeId id = 0; id < graph.size(); ++id)
      if (!users_[id].empty() && !returned_[id] && is_plain_product(graph, graph.node(id)))
        plan(id);
  }

  Graph run() const {
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      if (start_.contains(id) || slices_.contains(id)) return true;
      const auto sum = sums_.find(id);
      if (sum == sums_.end()) return false;
      const auto& [product, slice] = sum->second;
      if (!map.has({product, 0})) {
        Node node = graph_.node(product);
        node.op = Op::matmul_add;
        node.operands.push_back(start_.at(product));
        copy_node(b, node, product, map);
      }
      const Value whole = map[{product, 0}];
      map.set({id, 0}, slice ? b.clone(graph_.node(*slice), {whole}) : whole);
      return true;
    });
  }

 private:
  // What `sum` adds to the value of `id`, if it is a sum of two.
  std::optional<Value> added(NodeId sum, NodeId id) const {
    const Node& node = graph_.node(sum);
    if (node.op != Op::add || node.operands[0].node == node.operands[1].node) return std::nullopt;
    return node.operands[node.operands[0].node == id ? 1 : 0];
  }
  bool may_start(Value start, NodeId product) const {
    return starts_.contains(start) && graph_.type(start) == graph_.node(product).types[0];
  }

  void plan(NodeId product) {
    const std::vector<NodeId>& users = users_[product];
    if (users.size() != 1 || graph_.node(users[0]).op == Op::slice) return plan_parts(product);
    const auto start = added(users[0], product);
    if (!start || !may_start(*start, product) || sums_.contains(users[0])) return;
    start_.emplace(product, *start);
    sums_[users[0]] = {product, std::nullopt};
  }

  // Each part is added to that part of one value.
  void plan_parts(NodeId product) {
    std::optional<Value> whole;
    std::map<NodeId, NodeId> slices;  // of sums
    for (const NodeId slice : users_[product]) {
      const Node& of_product = graph_.node(slice);
      if (of_product.op != Op::slice || returned_[slice]) return;
      for (const NodeId sum : users_[slice]) {
        const auto other = added(sum, slice);
        if (!other) return;
        const Node& part = graph_.node(other->node);
        if (part.op != Op::slice || part.attributes != of_product.attributes ||
            (whole && *whole != part.operands[0]) || sums_.contains(sum))
          return;
        whole = part.operands[0];
        slices.emplace(sum, slice);
      }
    }
    if (!whole || !may_start(*whole, product)) return;
    start_.emplace(product, *whole);
    for (const auto& [sum, slice] : slices) {
      sums_[sum] = {product, slice};
      slices_.insert(slice);
    }
  }

  const Graph& graph_;
  const std::set<Value>& starts_;
  std::vector<std::vector<NodeId>> users_;
  std::vector<bool> returned_;
  std::map<NodeId, Value> start_;  // of products
  // Sums: of which product, and which part of it.
  std::map<NodeId, std::pair<NodeId, std::optional<NodeId>>> sums_;
  std::set<NodeId> slices_;
};

}  // namespace

Graph chain_products(const Graph& graph) {
  const std::vector<std::vector<NodeId>> users = live_users(graph);
  const std::vector<bool> returned = returned_by(graph);
  const auto of_few_inputs = [&](Value v) {
    const Node& node = graph.node(v.node);
    if (users[v.node].size() != 1 || returned[v.node] || !is_plain_product(graph, node))
      return false;
    const auto inputs = matmul_shape(graph, node).k.constant();
    return inputs && *inputs < too_many_inputs;
  };
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    Node node = with_regions(graph.node(id), chain_products);
    if (node.op == Op::scan && !node.attributes.has("bound")) {
      const ScanView view(node);
      std::set<Value> starts;
      for (std::size_t i = 0; i < view.sequences; ++i)
        if (of_few_inputs(node.operands[view.first_sequence() + i]))
          starts.insert(view.body->input_value(view.first_sequence() + i));
      if (!starts.empty())
        node = with_regions(node, [&](const Graph& step) { return Step(step, starts).run(); });
    }
    copy_node(b, node, id, map);
    return true;
  });
}

}  // namespace treadle
