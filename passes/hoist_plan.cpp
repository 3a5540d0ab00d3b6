#include "passes/hoist_plan.h"

#include <algorithm>

#include "passes/graph_copy.h"
#include "passes/row_wise.h"
#include "passes/substitute_dims.h"

namespace treadle {
namespace {

// Worth a place in front of the loop: one product over all rows is faster than
// a small one each step. Elementwise work stays, where it is fused.
bool heavy(const Node& node) { return node.op == Op::matmul || node.op == Op::scan; }

// Costs less than reading it from memory would.
bool trivial(const Node& node) {
  switch (node.op) {
    case Op::constant:
    case Op::dimension:
    case Op::iota:
    case Op::broadcast: return true;
    default: return false;
  }
}

class Planner {
 public:
  explicit Planner(const ScanView& view) : view_(view), body_(*view.body) {}

  HoistPlan make() {
    const std::size_t n = body_.size();
    plan_.varying = reached_from(body_, arguments(view_.first_carry(), view_.first_sequence()));
    const std::vector<bool> rows =
        reached_from(body_, arguments(view_.first_sequence(), body_.inputs().size()));
    plan_.invariant.assign(n, false);
    const std::vector<bool> partial = first_rows();
    for (NodeId id = 0; id < n; ++id)
      plan_.invariant[id] = !plan_.varying[id] && !rows[id] && !partial[id];
    find_movable(partial);
    plan_.front.assign(n, false);
    plan_.once.assign(n, false);
    plan_.behind.assign(n, false);
    find_sums();
    find_terms_only();
    find_behind();
    find_front();
    return std::move(plan_);
  }

 private:
  std::vector<Value> arguments(std::size_t begin, std::size_t end) const {
    std::vector<Value> out;
    for (std::size_t i = begin; i < end; ++i) out.push_back(body_.input_value(i));
    return out;
  }

  // ---- bound dimensions ----

  // What depends on a constant of which each step sees the first rows.
  std::vector<bool> first_rows() const {
    std::vector<Value> sources;
    for (const Value v : arguments(0, view_.first_carry()))
      if (view_.bound_of(body_.type(v)) != nullptr) sources.push_back(v);
    return reached_from(body_, sources);
  }

  bool is_rows(Value v) const { return view_.bound_of(body_.type(v)) != nullptr; }

  // Does the node say anything of a bound but how many rows it makes?
  bool bound_attribute(const Node& node) const {
    for (const auto& [name, value] : node.attributes)
      if (const auto* dims = std::get_if<Dims>(&value); name != "dims" && dims != nullptr)
        for (const Dim& dim : *dims)
          if (view_.mentions_bound(dim)) return true;
    return false;
  }

  // Outside the loop a node works on all steps at once: on all rows of a bound
  // where it works row by row, else as one of a batch of steps.
  bool works_outside(const Node& node) const {
    if (node.op == Op::scan && !ScanView(node).bounds.empty()) return false;
    if (!on_bound_rows(view_, body_, node))
      return std::all_of(node.operands.begin(), node.operands.end(),
                         [&](Value v) { return !plan_.invariant[v.node] || outside_[v.node]; });
    if (bound_attribute(node) || node.types.size() != 1 || !view_.stackable(node.types[0]))
      return false;
    const auto rows = [&](const Type& type) { return view_.bound_of(type) != nullptr; };
    return works_row_by_row(body_, node, rows) &&
           std::all_of(node.operands.begin(), node.operands.end(), [&](Value v) {
             const Type& type = body_.type(v);
             if (!is_rows(v)) return plan_.invariant[v.node] && !view_.mentions_bound(type);
             return type.dims[0] == node.types[0].dims[0] && view_.stackable(type) &&
                    (!plan_.invariant[v.node] || outside_[v.node]);
           });
  }

  void find_movable(const std::vector<bool>& partial) {
    movable_.assign(body_.size(), true);
    outside_.assign(body_.size(), true);
    if (view_.bounds.empty()) return;
    for (NodeId id = 0; id < body_.size(); ++id) {
      const Node& node = body_.node(id);
      movable_[id] = node.op == Op::argument || works_outside(node);
      outside_[id] = movable_[id] && !plan_.varying[id] && !partial[id] &&
                     std::all_of(node.operands.begin(), node.operands.end(),
                                 [&](Value v) { return bool(outside_[v.node]); });
    }
  }

  // Sums over the rows of a bound, so that its sum over the steps is the same
  // node on all rows.
  bool sums_rows(const Node& node) const {
    const auto rows = [&](std::size_t i) {
      return is_rows(node.operands[i]) && view_.stackable(body_.type(node.operands[i]));
    };
    switch (node.op) {
      case Op::matmul: {
        const Integers& a = node.attributes.integers("contract_a");
        const auto found = std::find(a.begin(), a.end(), 0);
        return rows(0) && rows(1) && found != a.end() &&
               node.attributes.integers(
                   "contract_b")[static_cast<std::size_t>(found - a.begin())] == 0;
      }
      case Op::reduce_sum: {
        const Integers& axes = node.attributes.integers("axes");
        return rows(0) && std::find(axes.begin(), axes.end(), 0) != axes.end();
      }
      case Op::scatter_add: return rows(1) && rows(2);
      default: return false;
    }
  }

  // A term whose sum over time is itself one product or reduction.
  bool summable(Value v) const {
    const Node& node = body_.node(v.node);
    if (plan_.invariant[v.node] || view_.mentions_bound(body_.type(v))) return false;
    const bool through = node.op == Op::transpose || node.op == Op::reshape;
    if (!through && on_bound_rows(view_, body_, node) && !sums_rows(node)) return false;
    switch (node.op) {
      case Op::matmul:
        return !plan_.invariant[node.operands[0].node] && !plan_.invariant[node.operands[1].node];
      case Op::reduce_sum: return true;
      case Op::transpose:
      case Op::reshape: return summable(node.operands[0]);
      case Op::scatter_add:
        return is_zero(body_, node.operands[0]) && node.attributes.integer("batch") == 0 &&
               !plan_.invariant[node.operands[1].node] && !plan_.invariant[node.operands[2].node];
      default: return false;
    }
  }

  void find_sums() {
    const auto uses = count_uses(body_);
    plan_.summed.assign(view_.carries, false);
    plan_.terms.resize(view_.carries);
    for (std::size_t i = 0; i < view_.carries; ++i) {
      const Value old = body_.input_value(view_.first_carry() + i);
      const Value next = body_.outputs()[i].value;
      if (uses[old.node][0] != 1 || body_.node(next.node).op != Op::add || uses[next.node][0] != 1)
        continue;
      std::vector<Value> terms = addition_terms(body_, next, uses);
      if (std::count(terms.begin(), terms.end(), old) != 1) continue;
      std::erase(terms, old);
      if (!std::all_of(terms.begin(), terms.end(), [&](Value v) { return summable(v); })) continue;
      plan_.summed[i] = true;
      plan_.terms[i] = std::move(terms);
    }
  }

  // Nodes that some kept carry needs.
  std::vector<bool> needed_by_carries() const {
    std::vector<bool> needed(body_.size(), false);
    for (std::size_t i = 0; i < view_.carries; ++i)
      if (!plan_.summed[i]) needed[body_.outputs()[i].value.node] = true;
    for (NodeId id = static_cast<NodeId>(body_.size()); id-- > 0;)
      if (needed[id])
        for (const Value v : body_.node(id).operands) needed[v.node] = true;
    return needed;
  }

  void find_behind() {
    const std::vector<bool> needed = needed_by_carries();
    for (NodeId id = 0; id < body_.size(); ++id) {
      const Node& node = body_.node(id);
      if (needed[id] || !plan_.varying[id] || node.op == Op::argument) continue;
      bool follows = heavy(node);
      for (const Value v : node.operands) follows = follows || plan_.behind[v.node];
      plan_.behind[id] = follows && movable_[id];
    }
    if (!view_.bounds.empty()) keep_read_in_loop();
  }

  // What a node that stays in the loop reads stays there too.
  void keep_read_in_loop() {
    for (NodeId id = static_cast<NodeId>(body_.size()); id-- > 0;)
      if (!plan_.behind[id] && !plan_.terms_only[id])
        for (const Value v : body_.node(id).operands) plan_.behind[v.node] = false;
  }

  // A term of a sum over time is never made step by step.
  void find_terms_only() {
    std::vector<bool> used(body_.size(), false);
    for (std::size_t i = 0; i < body_.outputs().size(); ++i)
      if (i >= view_.carries || !plan_.summed[i]) used[body_.outputs()[i].value.node] = true;
    for (const auto& terms : plan_.terms) {
      for (Value v : terms) {
        while (body_.node(v.node).op == Op::transpose || body_.node(v.node).op == Op::reshape)
          v = body_.node(v.node).operands[0];
        for (const Value operand : body_.node(v.node).operands) used[operand.node] = true;
      }
    }
    for (NodeId n = static_cast<NodeId>(body_.size()); n-- > 0;)
      if (used[n])
        for (const Value v : body_.node(n).operands) used[v.node] = true;
    plan_.terms_only.assign(body_.size(), false);
    for (NodeId n = 0; n < body_.size(); ++n) plan_.terms_only[n] = !used[n];
  }

  bool makes_bound(const Node& node) const {
    return !view_.bounds.empty() && on_bound_rows(view_, body_, node);
  }

  void find_front() {
    for (NodeId id = static_cast<NodeId>(body_.size()); id-- > 0;) {
      const Node& node = body_.node(id);
      if (node.op == Op::argument) continue;
      if (plan_.invariant[id]) {
        // With as many rows as the step has, it is another at each step.
        plan_.once[id] = (plan_.once[id] || !trivial(node)) && !makes_bound(node);
      } else if (!plan_.varying[id] && heavy(node) && outside_[id]) {
        plan_.front[id] = true;
      }
      if (!plan_.once[id] && !plan_.front[id]) continue;
      for (const Value v : node.operands) {
        if (body_.node(v.node).op == Op::argument) continue;
        (plan_.invariant[v.node] ? plan_.once : plan_.front)[v.node] = true;
      }
    }
  }

  const ScanView& view_;
  const Graph& body_;
  std::vector<bool> movable_;  // may work on all steps at once
  std::vector<bool> outside_;  // and so may all that it reads, in front of the loop
  HoistPlan plan_;
};

}  // namespace

bool is_zero(const Graph& graph, Value v) {
  const Node& node = graph.node(v.node);
  if (node.op == Op::broadcast) return is_zero(graph, node.operands[0]);
  if (node.op != Op::constant) return false;
  const Tensor& value = node.attributes.tensor("value");
  return value.size() == 1 && value.get(0) == 0;
}

bool on_bound_rows(const ScanView& view, const Graph& body, const Node& node) {
  if (view.bounds.empty()) return false;
  return std::any_of(node.operands.begin(), node.operands.end(),
                     [&](Value v) { return view.mentions_bound(body.type(v)); }) ||
         mentions(node, [&](const std::string& symbol) {
           return view.mentions_bound(Dim::symbol(symbol));
         });
}

HoistPlan plan_hoist(const ScanView& view) { return Planner(view).make(); }

}  // namespace treadle
