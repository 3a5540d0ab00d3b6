#include "passes/watch_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// A graph, and the scan that it is the step of.
struct Frame {
  const Graph* graph = nullptr;
  const Frame* outer = nullptr;
  NodeId scan = 0;
};

struct Place {
  const Frame* frame = nullptr;
  Value value;
  friend auto operator<=>(const Place&, const Place&) = default;
};

// What values come from, through scans: into their steps and out of them.
class Origins {
 public:
  const Frame* whole(const Graph& graph) {
    frames_.push_back({&graph, nullptr, 0});
    return &frames_.back();
  }

  const Frame* step(const Frame* outer, NodeId scan) {
    const auto [found, added] = steps_.try_emplace({outer, scan}, nullptr);
    if (added) {
      frames_.push_back({outer->graph->node(scan).regions[0].get(), outer, scan});
      found->second = &frames_.back();
    }
    return found->second;
  }

  // Names of the parameters that are the fewest nodes away.
  std::set<std::string> nearest_parameters(const Place& from) {
    std::set<std::string> out;
    walk(from, [&](const Node& source) {
      if (source.op == Op::parameter) out.insert(source.attributes.string("name"));
      return out.empty();
    });
    return out;
  }

  std::set<std::string> inputs(const Place& from) {
    std::set<std::string> out;
    walk(from, [&](const Node& source) {
      if (source.op == Op::input) out.insert(source.attributes.string("name"));
      return true;
    });
    return out;
  }

 private:
  // Breadth first; `visit` is shown the graph's own sources, and ends the walk
  // behind the distance at which it says false.
  template <typename Visit>
  void walk(const Place& from, const Visit& visit) {
    std::set<Place> seen{from};
    std::vector<Place> level{from};
    bool goes_on = true;
    while (goes_on && !level.empty()) {
      std::vector<Place> next;
      for (const Place& place : level) {
        const Node& node = place.frame->graph->node(place.value.node);
        if (node.op == Op::input || node.op == Op::parameter) goes_on = visit(node) && goes_on;
        for (const Place& origin : origins(place))
          if (seen.insert(origin).second) next.push_back(origin);
      }
      level = std::move(next);
    }
  }

  std::vector<Place> origins(const Place& place) {
    const Node& node = place.frame->graph->node(place.value.node);
    std::vector<Place> out;
    if (node.op == Op::scan) {
      const Frame* inner = step(place.frame, place.value.node);
      out.push_back({inner, inner->graph->outputs()[place.value.index].value});
    } else if (node.op == Op::argument) {
      const Node& scan = place.frame->outer->graph->node(place.frame->scan);
      const ScanView view(scan);
      const std::vector<NodeId>& arguments = place.frame->graph->inputs();
      const auto i = static_cast<std::size_t>(
          std::find(arguments.begin(), arguments.end(), place.value.node) - arguments.begin());
      if (i < scan.operands.size()) out.push_back({place.frame->outer, scan.operands[i]});
      if (i >= view.first_carry() && i < view.first_sequence())
        out.push_back({place.frame, place.frame->graph->outputs()[i - view.first_carry()].value});
    } else {
      for (const Value operand : node.operands) out.push_back({place.frame, operand});
    }
    return out;
  }

  std::deque<Frame> frames_;
  std::map<std::pair<const Frame*, NodeId>, const Frame*> steps_;
};

// Where a softmax's result goes: to a product with other values that sums over
// the softmax's axis.
class Reader {
 public:
  Reader(const Graph& graph, NodeId softmax)
      : graph_(graph), of_softmax_(reached_from(graph, {{softmax, 0}})) {
    follow({softmax, graph.node(softmax).attributes.integer("axis"), {}});
  }

  // The values that are weighed; invalid when there are none.
  Value values() const { return values_; }

 private:
  // The weights in another form: the axis in it, and what they were multiplied by.
  struct Form {
    NodeId node = 0;
    std::int64_t axis = 0;
    Value factor;
  };

  static bool holds(const Integers& axes, std::int64_t axis) {
    return std::find(axes.begin(), axes.end(), axis) != axes.end();
  }

  void follow(const Form& first) {
    std::vector<Form> open{first};
    std::set<std::pair<NodeId, bool>> seen;
    while (!open.empty() && !values_.valid()) {
      const Form form = open.back();
      open.pop_back();
      if (!seen.insert({form.node, form.factor.valid()}).second) continue;
      for (NodeId user = form.node + 1; user < graph_.size(); ++user) {
        const std::vector<Value>& operands = graph_.node(user).operands;
        for (std::size_t i = 0; i < operands.size(); ++i)
          if (operands[i].node == form.node)
            if (const auto next = through(form, user, i)) open.push_back(*next);
      }
    }
  }

  std::optional<Form> through(const Form& form, NodeId user, std::size_t i) {
    const Node& node = graph_.node(user);
    const auto axis_index = static_cast<std::size_t>(form.axis);
    if (node.op == Op::matmul) {
      const Value other = node.operands[1 - i];
      if (holds(node.attributes.integers(i == 0 ? "contract_a" : "contract_b"), form.axis) &&
          !of_softmax_[other.node])
        values_ = other;
      return std::nullopt;
    }
    if (node.op == Op::reduce_sum) {
      const Integers& axes = node.attributes.integers("axes");
      if (holds(axes, form.axis)) {
        if (form.factor.valid()) values_ = form.factor;
        return std::nullopt;
      }
      const auto before =
          std::count_if(axes.begin(), axes.end(), [&](std::int64_t a) { return a < form.axis; });
      return Form{user, form.axis - before, form.factor};
    }
    if (node.op == Op::transpose) {
      const Integers& permutation = node.attributes.integers("permutation");
      const auto at = std::find(permutation.begin(), permutation.end(), form.axis);
      return Form{user, at - permutation.begin(), form.factor};
    }
    if (node.op == Op::broadcast)
      return Form{user, node.attributes.integers("axes")[axis_index], form.factor};
    const bool same_shape = node.types[0].dims == graph_.node(form.node).types[0].dims;
    if (!op_def(node.op).pointwise() || !same_shape) return std::nullopt;
    Value factor = form.factor;
    if (node.op == Op::mul && !of_softmax_[node.operands[1 - i].node])
      factor = node.operands[1 - i];
    return Form{user, form.axis, factor};
  }

  const Graph& graph_;
  std::vector<bool> of_softmax_;
  Value values_;
};

// The operands of the product that the scores are pointwise in; else the scores.
std::vector<Value> compared(const Graph& graph, NodeId softmax) {
  const Dims& domain = graph.node(softmax).types[0].dims;
  std::set<NodeId> seen;
  std::deque<Value> open{graph.node(softmax).operands[0]};
  while (!open.empty()) {
    const Value v = open.front();
    open.pop_front();
    if (!seen.insert(v.node).second) continue;
    const Node& node = graph.node(v.node);
    if (node.op == Op::matmul && node.types[0].dims == domain) return node.operands;
    if (op_def(node.op).pointwise() && node.types[0].dims == domain)
      open.insert(open.end(), node.operands.begin(), node.operands.end());
  }
  return {graph.node(softmax).operands[0]};
}

std::string instance_of(const std::string& parameter) {
  const std::size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? "" : parameter.substr(0, dot);
}

// The longest path that both begin with, in whole segments.
std::string common_instance(const std::string& a, const std::string& b) {
  const auto segment_ends = [](const std::string& path, std::size_t at) {
    return at == path.size() || path[at] == '.';
  };
  std::size_t whole = 0;
  for (std::size_t i = 0; i <= std::min(a.size(), b.size()); ++i) {
    if (segment_ends(a, i) && segment_ends(b, i)) whole = i;
    if (i == std::min(a.size(), b.size()) || a[i] != b[i]) break;
  }
  return a.substr(0, whole);
}

struct Found {
  WatchedAttention attention;
  Value weights;  // in the new graph
};

class Watcher {
 public:
  Graph watch(const Frame* frame, std::vector<Found>& found) {
    const Graph& graph = *frame->graph;
    const std::vector<bool> live = live_nodes(graph);
    return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
      const Node& node = graph.node(id);
      if (node.op == Op::scan) return scan(b, frame, id, map, found);
      if (node.op != Op::softmax || !live[id]) return false;
      const Value values = Reader(graph, id).values();
      if (!values.valid()) return false;
      const Value weights = copy_node(b, graph, id, map);
      found.push_back({describe(frame, id, values), weights});
      return true;
    });
  }

  Origins origins;

 private:
  WatchedAttention describe(const Frame* frame, NodeId softmax, Value values) {
    const Node& node = frame->graph->node(softmax);
    WatchedAttention out;
    out.location = node.location;
    out.keys = static_cast<std::size_t>(node.attributes.integer("axis"));
    out.value_inputs = origins.inputs({frame, values});
    std::vector<Value> sides = compared(*frame->graph, softmax);
    sides.push_back(values);
    std::optional<std::string> path;
    for (const Value side : sides)
      for (const std::string& parameter : origins.nearest_parameters({frame, side})) {
        const std::string instance = instance_of(parameter);
        path = path ? common_instance(*path, instance) : instance;
      }
    out.path = path.value_or("");
    return out;
  }

  // The weights of each step become rows.
  bool scan(Builder& b, const Frame* frame, NodeId id, ValueMap& map, std::vector<Found>& found) {
    const Node& node = frame->graph->node(id);
    std::vector<Found> inner;
    Graph body = watch(origins.step(frame, id), inner);
    if (inner.empty()) return false;
    for (const Found& attention : inner) body.add_output("", attention.weights);
    const LocationScope scope(b, node.location);
    const Value first = b.add_node(Op::scan, map.all(node.operands), node.attributes,
                                   {std::make_shared<const Graph>(std::move(body))});
    const auto results = static_cast<std::uint32_t>(node.types.size());
    for (std::uint32_t i = 0; i < results; ++i) map.set({id, i}, {first.node, i});
    for (std::uint32_t i = 0; i < inner.size(); ++i) {
      WatchedAttention attention = std::move(inner[i].attention);
      ++attention.scans;
      ++attention.keys;
      found.push_back({std::move(attention), {first.node, results + i}});
    }
    return true;
  }
};

}  // namespace

WatchedAttentions watch_attention(const Graph& model) {
  Watcher watcher;
  std::vector<Found> found;
  Graph graph = watcher.watch(watcher.origins.whole(model), found);
  WatchedAttentions out;
  std::vector<Output> outputs;
  for (Found& each : found) {
    each.attention.output = fmt::format("attention.{}", out.attentions.size());
    outputs.push_back({each.attention.output, each.weights});
    out.attentions.push_back(std::move(each.attention));
  }
  graph.set_outputs(std::move(outputs));
  out.graph = without_dead_nodes(graph);
  return out;
}

}  // namespace treadle
