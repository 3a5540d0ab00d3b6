#include "passes/forward_mode.h"

#include <algorithm>

#include "ir/diagnostic.h"
#include "passes/differentiate_scan.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// The step with tangents beside the values, as the operands of its scan.
class TangentScan {
 public:
  TangentScan(const Node& node, const std::vector<Value>& given) : node_(node), view_(node) {
    ensure(view_.bounds.empty(), "forward-mode", "a scan over a batch of sequences");
    moves_.reserve(given.size());
    for (const Value v : given) moves_.push_back(v.valid());
    const std::vector<bool> active = active_carries(view_, moves_);
    for (std::size_t i = 0; i < view_.carries; ++i) moves_[view_.first_carry() + i] = active[i];
    make_step();
  }

  // Tangents of the outputs.
  std::vector<Value> emit(Builder& b, NodeId id, const std::vector<Value>& given,
                          ValuePairs& instead) {
    const auto part = [&](std::size_t begin, std::size_t end) {
      std::vector<Value> out(node_.operands.begin() + static_cast<std::ptrdiff_t>(begin),
                             node_.operands.begin() + static_cast<std::ptrdiff_t>(end));
      for (std::size_t i = begin; i < end; ++i)
        if (moves_[i])
          out.push_back(given[i].valid() ? given[i] : b.constant(b.type(node_.operands[i]), 0));
      return out;
    };
    Builder::ScanSpec spec;
    spec.constants = part(0, view_.first_carry());
    spec.carries = part(view_.first_carry(), view_.first_sequence());
    spec.sequences = part(view_.first_sequence(), node_.operands.size());
    spec.length = view_.length;
    spec.reverse = view_.reverse;
    spec.body = std::make_shared<const Graph>(std::move(step_));
    spec.more = node_.attributes;
    const std::vector<Value> found = b.scan(std::move(spec));
    std::vector<Value> out;
    for (std::uint32_t i = 0; i < node_.types.size(); ++i) {
      instead[{id, i}] = found[value_at_[i]];
      out.push_back(tangent_at_[i] == SIZE_MAX ? Value{} : found[tangent_at_[i]]);
    }
    return out;
  }

 private:
  void make_step() {
    const Graph& body = *view_.body;
    step_.name = body.name;
    step_.stage = body.stage;
    Builder b(step_);
    ValueMap map(body);
    std::vector<Direction> seeds;
    const auto arguments = [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        map.set(body.input_value(i), b.argument(body.type(body.input_value(i))));
      for (std::size_t i = begin; i < end; ++i)
        if (moves_[i])
          seeds.push_back({map[body.input_value(i)], b.argument(body.type(body.input_value(i)))});
    };
    arguments(0, view_.first_carry());
    arguments(view_.first_carry(), view_.first_sequence());
    arguments(view_.first_sequence(), body.inputs().size());
    for (NodeId id = 0; id < body.size(); ++id)
      if (body.node(id).op != Op::argument) copy_node(b, body, id, map);
    std::vector<Value> wanted;
    for (const Output& output : body.outputs()) wanted.push_back(map[output.value]);
    ValuePairs instead;
    const std::vector<Value> moved = tangents(b, seeds, wanted, instead);

    value_at_.assign(wanted.size(), SIZE_MAX);
    tangent_at_.assign(wanted.size(), SIZE_MAX);
    const auto outputs = [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        value_at_[i] = step_.outputs().size();
        step_.add_output("", wanted[i]);
      }
      for (std::size_t i = begin; i < end; ++i) {
        const bool carry = i < view_.carries;
        if (carry ? !moves_[view_.first_carry() + i] : !moved[i].valid()) continue;
        tangent_at_[i] = step_.outputs().size();
        step_.add_output("", moved[i].valid() ? moved[i] : b.constant(b.type(wanted[i]), 0));
      }
    };
    outputs(0, view_.carries);
    outputs(view_.carries, wanted.size());
    step_ = use_instead(step_, instead);
  }

  const Node& node_;
  ScanView view_;
  std::vector<bool> moves_;  // by operand
  Graph step_;
  std::vector<std::size_t> value_at_, tangent_at_;  // by output of the old scan
};

std::vector<Value> node_tangents(Builder& b, const Node& node, NodeId id,
                                 const std::vector<Value>& given, ValuePairs& instead) {
  if (node.op == Op::scan) return TangentScan(node, given).emit(b, id, given, instead);
  const JvpRule jvp = op_def(node.op).jvp;
  if (jvp == nullptr) return std::vector<Value>(node.types.size());
  std::vector<Value> outputs;
  for (std::uint32_t i = 0; i < node.types.size(); ++i) outputs.push_back({id, i});
  JvpContext context{b, node, node.operands, std::move(outputs), given};
  return jvp(context);
}

}  // namespace

std::vector<Value> tangents(Builder& b, std::span<const Direction> seeds,
                            std::span<const Value> wanted, ValuePairs& instead) {
  std::map<Value, Value> found;
  const auto add = [&](Value of, Value tangent) {
    ensure(b.type(of) == b.type(tangent), "forward-mode",
           "a tangent of type " + to_string(b.type(tangent)) + " for a value of type " +
               to_string(b.type(of)));
    const auto [place, fresh] = found.try_emplace(of, tangent);
    if (!fresh) place->second = b.add(place->second, tangent);
  };
  for (const Direction& seed : seeds) add(seed.value, seed.tangent);
  NodeId end = 0;
  for (const Value v : wanted) end = std::max(end, v.node + 1);
  std::vector<bool> needed(b.graph().size(), false);
  for (const Value v : wanted) needed[v.node] = true;
  for (NodeId id = end; id-- > 0;)
    if (needed[id])
      for (const Value v : b.graph().node(id).operands) needed[v.node] = true;
  for (NodeId id = 0; id < end; ++id) {
    if (!needed[id] || b.graph().node(id).operands.empty()) continue;
    const Node node = b.graph().node(id);  // a copy: the graph grows below
    std::vector<Value> given;
    bool any = false;
    for (const Value v : node.operands) {
      const auto at = found.find(v);
      given.push_back(at == found.end() ? Value{} : at->second);
      any = any || given.back().valid();
    }
    if (!any) continue;
    const LocationScope scope(b, node.location);
    const std::vector<Value> out = node_tangents(b, node, id, given, instead);
    for (std::uint32_t i = 0; i < out.size(); ++i)
      if (out[i].valid()) add({id, i}, out[i]);
  }
  std::vector<Value> out;
  for (const Value v : wanted) {
    const auto at = found.find(v);
    out.push_back(at == found.end() ? Value{} : at->second);
  }
  return out;
}

namespace {

// The nodes that the outputs need, operands (after replacement) before users;
// empty when there is a circle. Sources come first, as they were.
std::vector<NodeId> order_of(const Graph& graph, const ValuePairs& instead) {
  enum class Mark : std::uint8_t { none, open, done };
  std::vector<Mark> marks(graph.size(), Mark::none);
  std::vector<NodeId> order = graph.inputs();
  for (const NodeId id : order) marks[id] = Mark::done;
  const auto target = [&](Value v) {
    const auto found = instead.find(v);
    return (found == instead.end() ? v : found->second).node;
  };
  struct Visit {
    NodeId node;
    std::size_t next;
  };
  for (const Output& output : graph.outputs()) {
    std::vector<Visit> open;
    const auto enter = [&](NodeId id) {
      if (marks[id] == Mark::open) return false;
      if (marks[id] == Mark::none) {
        marks[id] = Mark::open;
        open.push_back({id, 0});
      }
      return true;
    };
    enter(target(output.value));
    while (!open.empty()) {
      const NodeId id = open.back().node;
      const std::vector<Value>& operands = graph.node(id).operands;
      if (open.back().next < operands.size()) {
        if (!enter(target(operands[open.back().next++]))) return {};
        continue;
      }
      marks[id] = Mark::done;
      order.push_back(id);
      open.pop_back();
    }
  }
  return order;
}

}  // namespace

Graph use_instead(const Graph& graph, const ValuePairs& instead) {
  if (instead.empty()) return graph;
  const std::vector<NodeId> order = order_of(graph, instead);
  if (order.empty()) return graph;
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage;
  Builder b(out);
  ValueMap map(graph);
  for (const NodeId id : order) {
    copy_node(b, graph, id, map);
    for (const auto& [from, to] : instead)
      if (to.node == id) map.set(from, map[to]);
  }
  for (const Output& output : graph.outputs()) out.add_output(output.name, map[output.value]);
  return out;
}

}  // namespace treadle
