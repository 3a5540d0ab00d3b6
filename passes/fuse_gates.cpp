#include "passes/fuse_gates.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "ir/builder.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"

namespace treadle {
namespace {

const Integers& axes_of(const Node& node, std::string_view name) {
  return node.attributes.integers(name);
}

bool plain_product(const Node& node) {
  return node.op == Op::matmul && axes_of(node, "batch_a").empty() &&
         axes_of(node, "batch_b").empty();
}

// The only axis of b that is not contracted, or -1.
std::int64_t free_axis_of_b(const Graph& graph, const Node& node) {
  const Integers& contracted = axes_of(node, "contract_b");
  const auto rank = static_cast<std::int64_t>(graph.type(node.operands[1]).rank());
  if (static_cast<std::int64_t>(contracted.size()) + 1 != rank) return -1;
  for (std::int64_t axis = 0; axis < rank; ++axis)
    if (std::find(contracted.begin(), contracted.end(), axis) == contracted.end()) return axis;
  return -1;
}

// Matmuls with one left operand, contracted the same way.
using GroupKey = std::tuple<Value, Integers, Integers, std::size_t>;

std::map<GroupKey, std::vector<NodeId>> shared_left_groups(const Graph& graph,
                                                           const std::vector<bool>& live) {
  std::map<GroupKey, std::vector<NodeId>> groups;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (!live[id] || !plain_product(node) || free_axis_of_b(graph, node) < 0) continue;
    std::vector<NodeId>& group =
        groups[{node.operands[0], axes_of(node, "contract_a"), axes_of(node, "contract_b"),
                graph.type(node.operands[1]).rank()}];
    // The joint product stands where the first one stood, so its right operands
    // must exist there.
    if (group.empty() || node.operands[1].node < group.front()) group.push_back(id);
  }
  std::erase_if(groups, [](const auto& entry) { return entry.second.size() < 2; });
  return groups;
}

void emit_group(Builder& b, const Graph& graph, const std::vector<NodeId>& group, ValueMap& map) {
  const Node& first = graph.node(group.front());
  const LocationScope scope(b, first.location);
  const std::int64_t axis = free_axis_of_b(graph, first);
  std::vector<Value> parts;
  for (const NodeId id : group) parts.push_back(map[graph.node(id).operands[1]]);
  const Value joint = b.matmul(map[first.operands[0]], b.concat(parts, axis),
                               axes_of(first, "contract_a"), axes_of(first, "contract_b"));
  const auto last = static_cast<std::int64_t>(b.type(joint).rank()) - 1;
  Dim start(0);
  for (const NodeId id : group) {
    const Dim extent = graph.node(id).types[0].dims.back();
    map.set({id, 0}, b.slice(joint, last, start, extent));
    start = start + extent;
  }
}

Graph join_shared_left(const Graph& graph) {
  const std::vector<bool> live = live_nodes(graph);
  std::map<NodeId, std::vector<NodeId>> at_first;
  for (auto& [key, group] : shared_left_groups(graph, live)) at_first[group.front()] = group;
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const auto found = at_first.find(id);
    if (found != at_first.end()) emit_group(b, graph, found->second, map);
    return !live[id] || map.has({id, 0});
  });
}

// A product of activations and a matrix, contracted over one axis, that nothing
// but the sum reads.
bool joinable_term(const Graph& graph, Value v, const UseCounts& uses) {
  const Node& node = graph.node(v.node);
  return plain_product(node) && uses[v.node][0] == 1 && axes_of(node, "contract_a").size() == 1 &&
         graph.type(node.operands[1]).rank() == 2;
}

// In the order of the source.
void order_as_written(const Graph& graph, std::vector<Value>& terms) {
  const auto location = [&](Value term) -> const SourceRange& {
    return graph.node(term.node).location;
  };
  const SourceFilePtr& file = location(terms[0]).file;
  if (std::all_of(terms.begin(), terms.end(), [&](Value v) { return location(v).file == file; }))
    std::stable_sort(terms.begin(), terms.end(),
                     [&](Value x, Value y) { return location(x).begin < location(y).begin; });
}

// In the order of a concatenation of the right operands that there is already, as that of the
// weights that the products of the forward half share: one is enough then. In the body of a scan,
// which that one stands outside of, the order of the source is that of the forward half.
void order_as_joined(const Graph& graph, std::int64_t axis, std::vector<Value>& terms) {
  const auto right = [&](Value term) { return graph.node(term.node).operands[1]; };
  std::vector<Value> operands;
  for (const Value v : terms) operands.push_back(right(v));
  const auto joined =
      std::find_if(graph.nodes().begin(), graph.nodes().end(), [&](const Node& node) {
        return node.op == Op::concat && node.attributes.integer("axis") == axis &&
               std::is_permutation(node.operands.begin(), node.operands.end(), operands.begin(),
                                   operands.end());
      });
  if (joined == graph.nodes().end()) return order_as_written(graph, terms);
  const auto place = [&](Value term) {
    return std::find(joined->operands.begin(), joined->operands.end(), right(term));
  };
  std::stable_sort(terms.begin(), terms.end(),
                   [&](Value x, Value y) { return place(x) < place(y); });
}

Value emit_sum(Builder& b, const Graph& graph, const std::vector<Value>& leaves,
               const UseCounts& uses, ValueMap& map) {
  using Key = std::tuple<Integers, Integers, std::size_t>;
  std::map<Key, std::vector<Value>> groups;
  std::vector<Value> rest;
  for (const Value v : leaves) {
    const Node& node = graph.node(v.node);
    if (joinable_term(graph, v, uses))
      groups[{axes_of(node, "contract_a"), axes_of(node, "contract_b"),
              graph.type(node.operands[0]).rank()}]
          .push_back(v);
    else
      rest.push_back(map[v]);
  }
  for (auto& [key, terms] : groups) {
    if (terms.size() < 2) {
      for (const Value v : terms) rest.push_back(map[v]);
      continue;
    }
    order_as_joined(graph, std::get<1>(key)[0], terms);
    std::vector<Value> left, right;
    for (const Value v : terms) {
      left.push_back(map[graph.node(v.node).operands[0]]);
      right.push_back(map[graph.node(v.node).operands[1]]);
    }
    const Integers& contract_a = std::get<0>(key);
    const Integers& contract_b = std::get<1>(key);
    rest.push_back(b.matmul(b.concat(left, contract_a[0]), b.concat(right, contract_b[0]),
                            contract_a, contract_b));
  }
  Value sum = rest[0];
  for (std::size_t i = 1; i < rest.size(); ++i) sum = b.add(sum, rest[i]);
  return sum;
}

Graph join_sums(const Graph& graph) {
  const auto uses = count_uses(graph);
  // Roots: additions that are not themselves inside a larger sum.
  std::vector<bool> inside(graph.size(), false);
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
    if (graph.node(id).op != Op::add) continue;
    for (const Value v : graph.node(id).operands)
      if (graph.node(v.node).op == Op::add && uses[v.node][0] == 1) inside[v.node] = true;
  }
  const auto join = [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op != Op::add || inside[id]) return false;
    const std::vector<Value> terms = addition_terms(graph, {id, 0}, uses);
    const auto products = std::count_if(terms.begin(), terms.end(),
                                        [&](Value v) { return joinable_term(graph, v, uses); });
    if (products < 2) return false;
    const LocationScope scope(b, node.location);
    map.set({id, 0}, emit_sum(b, graph, terms, uses, map));
    return true;
  };
  return without_dead_nodes(copy_graph(graph, join));
}

Graph fuse_regions(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    const auto fuse = [](const Graph& step) {
      return join_sums(join_shared_left(fuse_regions(step)));
    };
    copy_node(b, with_regions(graph.node(id), fuse), id, map);
    return true;
  });
}

}  // namespace

Graph fuse_gates(const Graph& graph) {
  // Hoisting again takes the joined weights out of the loops.
  return hoist_scan(join_sums(join_shared_left(fuse_regions(graph))));
}

}  // namespace treadle
