#include "passes/hoist_scan.h"

#include <algorithm>
#include <map>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/graph_copy.h"
#include "passes/hoist_plan.h"

namespace treadle {
namespace {

// Rebuilds one scan around its plan in the outer graph.
class Hoister {
 public:
  Hoister(Builder& b, const Node& node, std::vector<Value> operands)
      : b_(b),
        node_(node),
        operands_(std::move(operands)),
        view_(node),
        body_(*view_.body),
        plan_(plan_hoist(view_)) {}

  std::vector<Value> run() {
    for (std::size_t i = 0; i < view_.constants; ++i) {
      const Value v = body_.input_value(i);
      (view_.bound_of(body_.type(v)) == nullptr ? outer_ : partial_)[v] = operands_[i];
    }
    for (std::size_t i = view_.first_sequence(); i < view_.first_count(); ++i)
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
    if (on_bound_rows(view_, body_, node)) {
      out.push_back(on_all_rows(node, std::move(operands)));
    } else if (any) {
      out = batch_node(b_, body_, node, operands, batched, view_.length);
    } else {
      const Value first = b_.clone(node, operands);
      for (std::uint32_t i = 0; i < node.types.size(); ++i) out.push_back({first.node, i});
    }
    for (std::uint32_t i = 0; i < out.size(); ++i) outer_[{id, i}] = out[i];
  }

  // A node of the rows of a step as one of all rows.
  Value on_all_rows(const Node& node, std::vector<Value> operands) {
    Attributes attributes = node.attributes;
    if (attributes.has("dims")) {
      Dims dims = attributes.dims("dims");
      if (const ScanBound* bound = view_.bound_of({node.types[0].dtype, dims})) {
        dims[0] = bound->rows;
        attributes.set("dims", std::move(dims));
      }
    }
    return b_.add_node(node.op, std::move(operands), std::move(attributes));
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
      if (plan_.behind[id] && !plan_.terms_only[id])
        for (const Value v : body_.node(id).operands) stack(v);
    for (const auto& terms : plan_.terms)
      for (const Value v : terms) stack_for_sum(v);
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
        argument({id, k}, spec.constants,
                 partial_.contains({id, k}) ? partial_.at({id, k}) : outer_.at({id, k}));
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
    spec.bounds = view_.bounds;
    spec.counts = view_.counts(operands_);
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
    const bool through = node.op == Op::transpose || node.op == Op::reshape;
    if (!through && on_bound_rows(view_, body_, node)) {
      std::vector<Value> operands;
      for (const Value operand : node.operands) operands.push_back(outer_value(operand));
      return b_.clone(node, std::move(operands));
    }
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
      if (plan_.behind[id] && !plan_.terms_only[id]) emit_outer(id);
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
      if (!wide(v) && view_.bound_of(body_.type(v)) == nullptr) out[i] = repeat(out[i]);
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
  HoistPlan plan_;
  Where outer_;                 // body value -> outer value (stacked where it is wide)
  Where partial_;               // constants of which a step sees the first rows
  std::vector<Value> stacked_;  // body values that the loop must return
};

}  // namespace

Graph hoist_scan(const Graph& graph) {
  const auto hoist = [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    Node node = graph.node(id);
    const LocationScope scope(b, node.location);
    node.regions[0] = std::make_shared<const Graph>(hoist_scan(*node.regions[0]));
    if (node.attributes.boolean("recompute")) {
      // What would leave this loop, all its steps at once, is what it is there to avoid.
      const Value first = b.clone(node, map.all(node.operands));
      for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
      return true;
    }
    const std::vector<Value> values = Hoister(b, node, map.all(node.operands)).run();
    for (std::uint32_t i = 0; i < values.size(); ++i) map.set({id, i}, values[i]);
    return true;
  };
  return without_dead_nodes(copy_graph(graph, hoist));
}

}  // namespace treadle
