#include "passes/prune_scans.h"

#include <map>

#include "passes/graph_copy.h"

namespace treadle {
namespace {

std::vector<bool> reaches(const Graph& body, const std::vector<bool>& outputs) {
  std::vector<bool> live(body.size(), false);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i]) live[body.outputs()[i].value.node] = true;
  for (NodeId id = static_cast<NodeId>(body.size()); id-- > 0;)
    if (live[id])
      for (const Value v : body.node(id).operands) live[v.node] = true;
  return live;
}

// Emits one scan of the old graph into the new one.
class ScanPruner {
 public:
  ScanPruner(const Node& node, const std::vector<std::uint32_t>& uses)
      : node_(node), view_(node), body_(*view_.body) {
    find_invariant();
    find_needed(uses);
  }

  void emit(Builder& b, NodeId id, ValueMap& map) {
    const LocationScope scope(b, node_.location);
    auto body = std::make_shared<Graph>();
    body->name = body_.name;
    body->stage = body_.stage;
    Builder s(*body);
    ValueMap inner(body_);
    std::vector<Value> operands;
    Attributes attributes = node_.attributes;
    const std::size_t first_carry = view_.first_carry(), rows = view_.first_sequence();
    pass(s, inner, map, operands, 0, first_carry, [](std::size_t) { return true; });
    pass(s, inner, map, operands, first_carry, rows,
         [&](std::size_t i) { return bool(invariant_[i - first_carry]); });
    attributes.set("constants", static_cast<std::int64_t>(operands.size()));
    const std::size_t constants = operands.size();
    given_.clear();
    for (std::size_t i = first_carry; i < rows; ++i)
      if (needed_[i - first_carry] && !invariant_[i - first_carry]) add(s, inner, map, operands, i);
    attributes.set("carries", static_cast<std::int64_t>(operands.size() - constants));
    pass(s, inner, map, operands, rows, view_.first_count(), [](std::size_t) { return true; });
    for (const Value v : view_.counts(node_.operands)) operands.push_back(map[v]);
    for (NodeId n = 0; n < body_.size(); ++n)
      if (live_[n] && body_.node(n).op != Op::argument) copy_node(s, body_, n, inner);
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < body_.outputs().size(); ++i) {
      if (i < view_.carries && invariant_[i]) map.set({id, index(i)}, map[initial(i)]);
      if (!needed_[i] || (i < view_.carries && invariant_[i])) continue;
      body->add_output(body_.outputs()[i].name, inner[body_.outputs()[i].value]);
      kept.push_back(i);
    }
    if (kept.empty()) return;
    const Value first =
        b.add_node(Op::scan, std::move(operands), std::move(attributes), {std::move(body)});
    for (std::size_t i = 0; i < kept.size(); ++i)
      map.set({id, index(kept[i])}, {first.node, index(i)});
  }

 private:
  static std::uint32_t index(std::size_t i) { return static_cast<std::uint32_t>(i); }
  Value initial(std::size_t carry) const { return node_.operands[view_.first_carry() + carry]; }

  void find_invariant() {
    for (std::size_t i = 0; i < view_.carries; ++i)
      invariant_.push_back(body_.outputs()[i].value == body_.input_value(view_.first_carry() + i));
  }
  // A carry is needed when its final value is read or when something needed
  // reads it in the next step.
  void find_needed(const std::vector<std::uint32_t>& uses) {
    for (const std::uint32_t count : uses) needed_.push_back(count > 0);
    for (bool changed = true; changed;) {
      changed = false;
      live_ = reaches(body_, needed_);
      for (std::size_t i = 0; i < view_.carries; ++i)
        if (!needed_[i] && live_[body_.inputs()[view_.first_carry() + i]])
          changed = needed_[i] = true;
    }
  }

  void add(Builder& s, ValueMap& inner, const ValueMap& map, std::vector<Value>& operands,
           std::size_t i) {
    const Value argument = body_.input_value(i);
    operands.push_back(map[node_.operands[i]]);
    inner.set(argument, s.argument(body_.type(argument)));
  }
  // Operands [from, to) that the step reads, each value once.
  template <typename Wanted>
  void pass(Builder& s, ValueMap& inner, const ValueMap& map, std::vector<Value>& operands,
            std::size_t from, std::size_t to, Wanted wanted) {
    for (std::size_t i = from; i < to; ++i) {
      const Value argument = body_.input_value(i);
      if (!live_[argument.node] || !wanted(i)) continue;
      const Value operand = map[node_.operands[i]];
      const auto found = given_.find(operand);
      if (found != given_.end() && s.type(found->second) == body_.type(argument)) {
        inner.set(argument, found->second);
        continue;
      }
      add(s, inner, map, operands, i);
      given_.emplace(operand, inner[argument]);
    }
  }

  const Node& node_;
  ScanView view_;
  const Graph& body_;
  std::vector<bool> invariant_;  // by carry
  std::vector<bool> needed_;     // by output
  std::vector<bool> live_;       // by node of the body
  std::map<Value, Value> given_;
};

}  // namespace

Graph prune_scans(const Graph& graph) {
  const auto uses = count_uses(graph);
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    ScanPruner(graph.node(id), uses[id]).emit(b, id, map);
    return true;
  });
}

}  // namespace treadle
