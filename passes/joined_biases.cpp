#include "passes/joined_biases.h"

#include <algorithm>
#include <map>
#include <optional>

#include "ir/builder.h"
#include "ir/ops/attention.h"
#include "passes/graph_copy.h"

namespace treadle {

namespace {

class Biases {
 public:
  explicit Biases(const Graph& graph) : graph_(graph), users_(graph.size()) {
    const std::vector<bool> live = live_nodes(graph);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live[id])
        for (const Value v : graph.node(id).operands) users_[v.node].push_back(id);
    for (const Output& output : graph.outputs()) users_[output.value.node].push_back(outside);
  }

  Graph run() {
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      if (const auto added = part_of_.find(id); added != part_of_.end()) {
        map.set({id, 0}, map[{added->second, 0}]);
        return true;
      }
      const std::optional<std::vector<Part>> parts = parts_of(id);
      if (!parts) return false;
      const Node& node = graph_.node(id);
      const LocationScope scope(b, node.location);
      const Value whole = copy_node(b, graph_, id, map);
      std::vector<Value> biases;
      for (const Part& part : *parts) {
        if (part.add == outside) {
          biases.push_back(b.constant({node.types[0].dtype, {part.extent}}, 0.0));
        } else {
          biases.push_back(map[part.bias]);
          part_of_[part.add] = part.slice;
        }
      }
      const std::int64_t last = static_cast<std::int64_t>(node.types[0].rank()) - 1;
      const Value row = b.concat(biases, 0);
      map.set({id, 0}, b.add(whole, b.broadcast(row, node.types[0].dims, {last})));
      return true;
    });
  }

 private:
  static constexpr NodeId outside = UINT32_MAX;
  struct Part {
    NodeId slice = 0;
    Dim start, extent;
    NodeId add = outside;  // of its bias, where it has one
    Value bias;
  };

  // The parts of a product that is read in parts alone, where attention reads those with a
  // bias, and these are half of all at least.
  std::optional<std::vector<Part>> parts_of(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.op != Op::matmul || node.types[0].rank() < 2) return std::nullopt;
    const auto last = static_cast<std::int64_t>(node.types[0].rank()) - 1;
    std::vector<Part> out;
    std::size_t with_bias = 0;
    for (const NodeId user : users_[id]) {
      if (user == outside || graph_.node(user).op != Op::slice ||
          graph_.node(user).attributes.integer("axis") != last)
        return std::nullopt;
      Part part{user,
                graph_.node(user).attributes.dim("start"),
                graph_.node(user).attributes.dim("extent"),
                outside,
                {}};
      find_bias(part, id);
      if (part.add != outside) ++with_bias;
      out.push_back(part);
    }
    if (out.size() < 2 || with_bias * 2 < out.size()) return std::nullopt;
    Dim next = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto found = std::find_if(out.begin() + static_cast<std::ptrdiff_t>(i), out.end(),
                                      [&](const Part& part) { return part.start == next; });
      if (found == out.end()) return std::nullopt;
      std::iter_swap(out.begin() + static_cast<std::ptrdiff_t>(i), found);
      next = next + out[i].extent;
    }
    if (next != node.types[0].dims.back()) return std::nullopt;
    return out;
  }

  // A row that is in front of the product already.
  void find_bias(Part& part, NodeId product) const {
    if (users_[part.slice].size() != 1 || users_[part.slice][0] == outside) return;
    const NodeId user = users_[part.slice][0];
    const Node& add = graph_.node(user);
    if (add.op != Op::add || !is_read_by_attention(user)) return;
    const std::size_t other = add.operands[0] == Value{part.slice, 0} ? 1 : 0;
    const Node& broadcast = graph_.node(add.operands[other].node);
    const auto last = static_cast<std::int64_t>(add.types[0].rank()) - 1;
    if (broadcast.op != Op::broadcast || broadcast.attributes.integers("axes") != Integers{last} ||
        broadcast.operands[0].node > product)
      return;
    part.add = user;
    part.bias = broadcast.operands[0];
  }

  bool is_read_by_attention(NodeId id) const {
    return std::any_of(users_[id].begin(), users_[id].end(), [&](NodeId user) {
      if (user == outside) return false;
      const Op op = graph_.node(user).op;
      return is_attention(op) ||
             ((op == Op::reshape || op == Op::transpose) && is_read_by_attention(user));
    });
  }

  const Graph& graph_;
  std::vector<std::vector<NodeId>> users_;
  std::map<NodeId, NodeId> part_of_;
};

}  // namespace

Graph with_joined_biases(const Graph& graph) { return Biases(graph).run(); }

}  // namespace treadle
