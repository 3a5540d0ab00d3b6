#include "passes/expand_derivatives.h"

#include <algorithm>

#include "passes/differentiate.h"
#include "passes/forward_mode.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

bool is_derivative(const Node& node) { return node.op == Op::gradient || node.op == Op::tangent; }

bool has_derivatives(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return is_derivative(node) ||
           std::any_of(node.regions.begin(), node.regions.end(),
                       [](const Region& region) { return has_derivatives(*region); });
  });
}

Graph with_expanded_regions(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    const bool any = std::any_of(node.regions.begin(), node.regions.end(),
                                 [](const Region& region) { return has_derivatives(*region); });
    if (!any) return false;
    Node expanded = node;
    for (Region& region : expanded.regions)
      region = std::make_shared<const Graph>(expand_derivatives(*region));
    const Value first = b.clone(expanded, map.all(node.operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
    return true;
  });
}

// What the nodes added leave to be done once the graph is complete.
struct Rest {
  std::vector<ScanReplacement> replaced;
  ValuePairs instead;
};

// The outputs of a derivative node on operands of b's graph.
std::vector<Value> expanded(Builder& b, const Node& node, const std::vector<Value>& operands,
                            Rest& rest) {
  std::vector<Value> out;
  if (node.op == Op::gradient) {
    const std::vector<Seed> seeds{{operands[0], b.constant(b.type(operands[0]), 1)}};
    out = gradients(b, seeds, std::span(operands).subspan(1), rest.replaced);
  } else {
    const auto values = static_cast<std::size_t>(node.attributes.integer("values"));
    const std::size_t count = (operands.size() - values) / 2;
    std::vector<Direction> seeds;
    for (std::size_t i = values; i < values + count; ++i)
      seeds.push_back({operands[i], operands[i + count]});
    out = tangents(b, seeds, std::span(operands).first(values), rest.instead);
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!out[i].valid()) out[i] = b.constant(node.types[i], 0);
  return out;
}

Graph expand_one(const Graph& graph, NodeId id) {
  Rest rest;
  const Graph all = copy_graph(graph, [&](Builder& b, NodeId at, ValueMap& map) {
    if (at != id) return false;
    const Node& node = graph.node(id);
    const LocationScope scope(b, node.location);
    const std::vector<Value> out = expanded(b, node, map.all(node.operands), rest);
    for (std::uint32_t i = 0; i < out.size(); ++i) map.set({id, i}, out[i]);
    return true;
  });
  // A node is a gradient or a tangent, so that one of the two is empty.
  return rest.instead.empty() ? merge_scans(all, rest.replaced) : use_instead(all, rest.instead);
}

}  // namespace

Graph expand_derivatives(const Graph& graph) {
  if (!has_derivatives(graph)) return graph;
  Graph out = with_expanded_regions(graph);
  for (;;) {
    const auto found = std::find_if(out.nodes().begin(), out.nodes().end(), is_derivative);
    if (found == out.nodes().end()) return out;
    out = expand_one(out, static_cast<NodeId>(found - out.nodes().begin()));
  }
}

}  // namespace treadle
