#include "passes/hoist_scan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/graph_copy.h"

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

bool is_zero(const Graph& graph, Value v) {
  const Node& node = graph.node(v.node);
  if (node.op == Op::broadcast) return is_zero(graph, node.operands[0]);
  if (node.op != Op::constant) return false;
  const Tensor& value = node.attributes.tensor("value");
  return value.size() == 1 && value.get(0) == 0;
}

// What becomes of each node of a scan's body.
struct Plan {
  std::vector<bool> invariant;            // depends on constants alone
  std::vector<bool> varying;              // depends on a carried value
  std::vector<bool> front;                // computed in front, for all steps
  std::vector<bool> once;                 // computed in front, once
  std::vector<bool> behind;               // computed behind, for all steps
  std::vector<bool> summed;               // carry i is a sum over time
  std::vector<std::vector<Value>> terms;  // of carry i, when summed
};

class Planner {
 public:
  explicit Planner(const ScanView& view) : view_(view), body_(*view.body) {}

  Plan make() {
    const std::size_t n = body_.size();
    plan_.varying = reached_from(body_, arguments(view_.first_carry(), view_.first_sequence()));
    const std::vector<bool> rows =
        reached_from(body_, arguments(view_.first_sequence(), body_.inputs().size()));
    plan_.invariant.assign(n, false);
    for (NodeId id = 0; id < n; ++id) plan_.invariant[id] = !plan_.varying[id] && !rows[id];
    plan_.front.assign(n, false);
    plan_.once.assign(n, false);
    plan_.behind.assign(n, false);
    find_sums();
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

  // A term whose sum over time is itself one product or reduction.
  bool summable(Value v) const {
    const Node& node = body_.node(v.node);
    if (plan_.invariant[v.node]) return false;
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
      plan_.behind[id] = follows;
    }
  }

  void find_front() {
    for (NodeId id = static_cast<NodeId>(body_.size()); id-- > 0;) {
      const Node& node = body_.node(id);
      if (node.op == Op::argument) continue;
      if (plan_.invariant[id]) {
        plan_.once[id] = plan_.once[id] || !trivial(node);
      } else if (!plan_.varying[id] && heavy(node)) {
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
  Plan plan_;
};

// Rebuilds one scan around its plan in the outer graph.
class Hoister {
 public:
  Hoister(Builder& b, const Node& node, std::vector<Value> operands)
      : b_(b),
        node_(node),
        operands_(std::move(operands)),
        view_(node),
        body_(*view_.body),
        plan_(Planner(view_).make()) {}

  std::vector<Value> run() {
    for (std::size_t i = 0; i < view_.constants; ++i) outer_[body_.input_value(i)] = operands_[i];
    for (std::size_t i = view_.first_sequence(); i < operands_.size(); ++i)
      outer_[body_.input_value(i)] = operands_[i];
    emit_front();
    find_stacked();
    const std::vector<Value> inner = emit_loop();
    return emit_behind(inner);
  }

 private:
  using Where = std::map<Value, Value>;

  bool wide(Value v) const { return !plan_.invariant[v.node]; }

  // The node in the outer graph, over all steps where an operand varies.
  void emit_outer(NodeId id) {
    const Node& node = body_.node(id);
    const LocationScope scope(b_, node.location);
    std::vector<Value> operands;
    std::vector<bool> batched;
    bool any = false;
    for (const Value v : node.operands) {
      operands.push_back(outer_value(v));
      batched.push_back(wide(v));
      any = any || batched.back();
    }
    std::vector<Value> out;
    if (any) {
      out = batch_node(b_, body_, node, operands, batched, view_.length);
    } else {
      const Value first = b_.clone(node, operands);
      for (std::uint32_t i = 0; i < node.types.size(); ++i) out.push_back({first.node, i});
    }
    for (std::uint32_t i = 0; i < out.size(); ++i) outer_[{id, i}] = out[i];
  }

  // An invariant value that stayed in the loop is made again outside.
  Value outer_value(Value v) {
    const auto found = outer_.find(v);
    if (found != outer_.end()) return found->second;
    ensure(plan_.invariant[v.node], "hoist-scan", "a value of the loop is used outside it");
    emit_outer(v.node);
    return outer_.at(v);
  }

  void emit_front() {
    for (NodeId id = 0; id < body_.size(); ++id)
      if (plan_.once[id] || plan_.front[id]) emit_outer(id);
  }

  // Values of the loop that what stands behind it reads, each step's.
  void stack(Value v) {
    if (!wide(v) || plan_.behind[v.node] || outer_.contains(v)) return;
    if (std::find(stacked_.begin(), stacked_.end(), v) == stacked_.end()) stacked_.push_back(v);
  }

  void stack_for_sum(Value v) {
    const Node& node = body_.node(v.node);
    if (node.op == Op::transpose || node.op == Op::reshape) return stack_for_sum(node.operands[0]);
    if (node.op == Op::scatter_add) {
      stack(node.operands[1]);
      stack(node.operands[2]);
      return;
    }
    for (const Value operand : node.operands) stack(operand);
  }

  void find_stacked() {
    for (NodeId id = 0; id < body_.size(); ++id)
      if (plan_.behind[id] && !only_for_sums(id))
        for (const Value v : body_.node(id).operands) stack(v);
    for (const auto& terms : plan_.terms)
      for (const Value v : terms) stack_for_sum(v);
  }

  // A term of a sum over time is never made step by step.
  bool only_for_sums(NodeId id) {
    if (!sum_nodes_) {
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
      sum_nodes_ = std::move(used);
    }
    return !(*sum_nodes_)[id];
  }

  std::vector<Value> emit_loop() {
    Graph inner;
    inner.stage = body_.stage;
    // Which body values the loop still computes or takes as arguments.
    std::vector<bool> kept(body_.size(), false);
    std::vector<Value> wanted;
    for (std::size_t i = 0; i < body_.outputs().size(); ++i) {
      const Value v = body_.outputs()[i].value;
      if (i < view_.carries ? !plan_.summed[i] : !outside(v)) wanted.push_back(v);
    }
    wanted.insert(wanted.end(), stacked_.begin(), stacked_.end());
    for (const Value v : wanted) kept[v.node] = true;
    for (std::size_t i = 0; i < view_.carries; ++i)
      if (!plan_.summed[i]) kept[body_.inputs()[view_.first_carry() + i]] = true;
    for (NodeId id = static_cast<NodeId>(body_.size()); id-- > 0;)
      if (kept[id] && !plan_.once[id] && !plan_.front[id])
        for (const Value v : body_.node(id).operands) kept[v.node] = true;
    return build_loop(inner, kept);
  }

  // Outputs that exist outside already, or will behind.
  bool outside(Value v) const {
    return plan_.behind[v.node] || plan_.front[v.node] || plan_.once[v.node];
  }

  std::vector<Value> build_loop(Graph& inner, const std::vector<bool>& kept) {
    Builder ib(inner);
    ValueMap map(body_);
    Builder::ScanSpec spec;
    const auto argument = [&](Value v, std::vector<Value>& list, Value operand) {
      map.set(v, ib.argument(body_.type(v)));
      list.push_back(operand);
    };
    for (NodeId id = 0; id < body_.size(); ++id) {
      if (!kept[id]) continue;
      const bool given = is_argument_in(id, 0, view_.constants) || plan_.once[id];
      if (!given) continue;
      for (std::uint32_t k = 0; k < body_.node(id).types.size(); ++k)
        argument({id, k}, spec.constants, outer_.at({id, k}));
    }
    for (std::size_t i = 0; i < view_.carries; ++i)
      if (!plan_.summed[i])
        argument(body_.input_value(view_.first_carry() + i), spec.carries,
                 operands_[view_.first_carry() + i]);
    for (NodeId id = 0; id < body_.size(); ++id) {
      if (!kept[id]) continue;
      const bool given =
          is_argument_in(id, view_.first_sequence(), body_.inputs().size()) || plan_.front[id];
      if (!given) continue;
      for (std::uint32_t k = 0; k < body_.node(id).types.size(); ++k)
        argument({id, k}, spec.sequences, outer_.at({id, k}));
    }
    for (NodeId id = 0; id < body_.size(); ++id)
      if (kept[id] && !map.has({id, 0})) copy_node(ib, body_, id, map);
    for (std::size_t i = 0; i < body_.outputs().size(); ++i) {
      const Value v = body_.outputs()[i].value;
      if (i < view_.carries ? !plan_.summed[i] : !outside(v)) inner.add_output("", map[v]);
    }
    for (const Value v : stacked_) inner.add_output("", map[v]);
    spec.length = view_.length;
    spec.reverse = view_.reverse;
    spec.more = node_.attributes;
    spec.body = std::make_shared<const Graph>(std::move(inner));
    if (spec.body->outputs().empty()) return {};
    return b_.scan(std::move(spec));
  }

  bool is_argument_in(NodeId id, std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin; i < end; ++i)
      if (body_.inputs()[i] == id) return true;
    return false;
  }

  // sum over the steps of v.
  Value sum_over_time(Value v) {
    const Node& node = body_.node(v.node);
    const LocationScope scope(b_, node.location);
    const auto with_time = [](const Integers& axes) {
      Integers out{0};
      for (const std::int64_t axis : axes) out.push_back(axis + 1);
      return out;
    };
    const auto shifted = [](const Integers& axes) {
      Integers out;
      for (const std::int64_t axis : axes) out.push_back(axis + 1);
      return out;
    };
    if (node.op == Op::matmul) {
      const Attributes& a = node.attributes;
      return b_.matmul(outer_value(node.operands[0]), outer_value(node.operands[1]),
                       with_time(a.integers("contract_a")), with_time(a.integers("contract_b")),
                       shifted(a.integers("batch_a")), shifted(a.integers("batch_b")));
    }
    if (node.op == Op::reduce_sum)
      return b_.reduce_sum(outer_value(node.operands[0]),
                           with_time(node.attributes.integers("axes")));
    if (node.op == Op::scatter_add)
      return b_.scatter_add(outer_value(node.operands[0]), outer_value(node.operands[1]),
                            outer_value(node.operands[2]));
    return b_.clone(node, {sum_over_time(node.operands[0])});
  }

  std::vector<Value> emit_behind(const std::vector<Value>& inner) {
    std::size_t next = 0;
    std::vector<Value> out(body_.outputs().size());
    for (std::size_t i = 0; i < body_.outputs().size(); ++i) {
      const Value v = body_.outputs()[i].value;
      if (i < view_.carries ? !plan_.summed[i] : !outside(v)) out[i] = inner[next++];
    }
    for (const Value v : stacked_) outer_[v] = inner[next++];
    for (NodeId id = 0; id < body_.size(); ++id)
      if (plan_.behind[id] && !only_for_sums(id)) emit_outer(id);
    for (std::size_t i = 0; i < view_.carries; ++i) {
      if (!plan_.summed[i]) continue;
      Value total = operands_[view_.first_carry() + i];
      const bool from_zero = is_zero(b_.graph(), total);
      Value sum;
      for (const Value v : plan_.terms[i]) {
        const Value term = sum_over_time(v);
        sum = sum.valid() ? b_.add(sum, term) : term;
      }
      out[i] = from_zero ? sum : b_.add(total, sum);
    }
    for (std::size_t i = view_.carries; i < out.size(); ++i) {
      if (out[i].valid()) continue;
      const Value v = body_.outputs()[i].value;
      out[i] = outer_value(v);
      if (!wide(v)) out[i] = repeat(out[i]);
    }
    return out;
  }

  Value repeat(Value v) {
    Dims dims{view_.length};
    Integers axes;
    for (const Dim& dim : b_.type(v).dims) {
      axes.push_back(static_cast<std::int64_t>(dims.size()));
      dims.push_back(dim);
    }
    return b_.broadcast(v, std::move(dims), std::move(axes));
  }

  Builder& b_;
  const Node& node_;
  std::vector<Value> operands_;
  ScanView view_;
  const Graph& body_;
  Plan plan_;
  Where outer_;                 // body value -> outer value (stacked where it is wide)
  std::vector<Value> stacked_;  // body values that the loop must return
  std::optional<std::vector<bool>> sum_nodes_;
};

}  // namespace

Graph hoist_scan(const Graph& graph) {
  const auto hoist = [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    Node node = graph.node(id);
    const LocationScope scope(b, node.location);
    node.regions[0] = std::make_shared<const Graph>(hoist_scan(*node.regions[0]));
    const std::vector<Value> values = Hoister(b, node, map.all(node.operands)).run();
    for (std::uint32_t i = 0; i < values.size(); ++i) map.set({id, i}, values[i]);
    return true;
  };
  return without_dead_nodes(copy_graph(graph, hoist));
}

}  // namespace treadle
