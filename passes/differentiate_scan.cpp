#include "passes/differentiate_scan.h"

#include <algorithm>
#include <optional>
#include <set>

#include "ir/diagnostic.h"
#include "passes/cheap_ops.h"
#include "passes/graph_copy.h"
#include "passes/residual_cut.h"

namespace treadle {

std::vector<bool> active_carries(const ScanView& view, const std::vector<bool>& needs) {
  std::vector<bool> active(view.carries);
  for (std::size_t i = 0; i < view.carries; ++i) active[i] = needs[view.first_carry() + i];
  for (bool grew = true; grew;) {
    grew = false;
    std::vector<Value> sources;
    for (std::size_t i = 0; i < view.body->inputs().size(); ++i) {
      const bool carry = i >= view.first_carry() && i < view.first_sequence();
      if (carry ? active[i - view.first_carry()] : needs[i])
        sources.push_back(view.body->input_value(i));
    }
    const std::vector<bool> reached = reached_from(*view.body, sources);
    for (std::size_t i = 0; i < view.carries; ++i) {
      const Value out = view.body->outputs()[i].value;
      if (active[i] || !reached[out.node] || !is_float(view.body->type(out).dtype)) continue;
      active[i] = grew = true;
    }
  }
  return active;
}

namespace {

// The step and its gradient in one graph. Arguments: those of the step, then
// the cotangents of active carries and of the outputs that have one.
struct JointStep {
  Graph graph;
  std::vector<bool> forward;         // node belongs to the step itself
  std::vector<std::size_t> carries;  // active ones: their numbers
  std::vector<std::size_t> rows;     // outputs with a cotangent: numbers among the outputs
  std::vector<std::size_t> wrt;      // operands (of the scan) that get a gradient
  std::vector<std::optional<std::size_t>> gradient;  // of wrt[i]: output of `graph`, or zero
  std::size_t step_outputs = 0;                      // graph outputs 0.. are the step's own
};

JointStep join(const ScanView& view, const std::vector<bool>& needs,
               const std::vector<Value>& cotangents) {
  JointStep joint;
  const Graph& body = *view.body;
  Graph work;
  work.name = body.name;
  work.stage = body.stage;
  Builder b(work);
  ValueMap map(body);
  for (NodeId id = 0; id < body.size(); ++id) copy_node(b, body, id, map);
  const auto forward_end = static_cast<NodeId>(work.size());

  const std::vector<bool> active = active_carries(view, needs);
  std::vector<Seed> seeds;
  for (std::size_t i = 0; i < view.carries; ++i) {
    if (!active[i]) continue;
    joint.carries.push_back(i);
    const Value out = map[body.outputs()[i].value];
    seeds.push_back({out, b.argument(b.type(out))});
  }
  for (std::size_t i = view.carries; i < body.outputs().size(); ++i) {
    if (!cotangents[i].valid()) continue;
    joint.rows.push_back(i - view.carries);
    const Value out = map[body.outputs()[i].value];
    seeds.push_back({out, b.argument(b.type(out))});
  }
  std::vector<Value> wrt;
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    const bool carry = i >= view.first_carry() && i < view.first_sequence();
    if (!(carry ? active[i - view.first_carry()] : needs[i])) continue;
    joint.wrt.push_back(i);
    wrt.push_back(map[body.input_value(i)]);
  }
  std::vector<ScanReplacement> replaced;
  const std::vector<Value> found = gradients(b, seeds, wrt, replaced);
  for (const Output& output : body.outputs()) work.add_output("", map[output.value]);
  joint.step_outputs = body.outputs().size();
  for (const Value v : found) {
    joint.gradient.emplace_back();
    if (!v.valid()) continue;
    joint.gradient.back() = work.outputs().size();
    work.add_output("", v);
  }
  std::vector<NodeId> moved;
  joint.graph = merge_scans(work, replaced, &moved);
  joint.forward.assign(joint.graph.size(), false);
  for (NodeId id = 0; id < forward_end; ++id)
    if (moved[id] != UINT32_MAX) joint.forward[moved[id]] = true;
  return joint;
}

bool cheap_to_repeat(const Node& node) {
  switch (node.op) {
    case Op::broadcast:
    case Op::reshape:
    case Op::constant:
    case Op::dimension:
    case Op::iota: return true;
    default: return false;
  }
}

// Instructions for which a residual is not worth its memory.
constexpr std::size_t most_repeated = 4;

// Splits the joint step in two bodies. What the gradient needs of the step is
// a constant, a row, a carried value, something repeated, or a residual.
class Splitter {
 public:
  Splitter(const ScanView& view, const JointStep& joint, const Attributes& attributes)
      : view_(view),
        joint_(joint),
        needed_(joint.graph.size()),
        invariant_(joint.graph.size()),
        again_(joint.graph.size(), attributes.boolean("recompute")) {
    std::vector<Value> varying;
    for (std::size_t i = view.constants; i < view.body->inputs().size(); ++i)
      varying.push_back(joint.graph.input_value(i));
    const std::vector<bool> reached = reached_from(joint.graph, varying);
    for (NodeId id = 0; id < joint.graph.size(); ++id)
      invariant_[id] = joint.forward[id] && !reached[id];
    if (attributes.boolean("least_residuals")) {
      std::vector<bool> free = invariant_;
      for (std::size_t i = 0; i < view.body->inputs().size(); ++i)
        if (i < view.first_carry() || i >= view.first_sequence())
          free[joint.graph.inputs()[i]] = true;
      again_ = computed_again({joint.graph, joint.forward, std::move(free)});
    }
    find_residuals();
    if (repeat_arithmetic()) find_residuals();
  }

  const std::vector<Value>& residuals() const { return residuals_; }
  const std::vector<std::size_t>& used_arguments() const { return used_arguments_; }

  // The step with the residuals as further outputs.
  Graph forward_body() const {
    Graph out;
    out.stage = view_.body->stage;
    Builder b(out);
    ValueMap map(joint_.graph);
    for (NodeId id = 0; id < joint_.graph.size(); ++id)
      if (joint_.forward[id]) copy_node(b, joint_.graph, id, map);
    for (std::size_t i = 0; i < joint_.step_outputs; ++i)
      out.add_output("", map[joint_.graph.outputs()[i].value]);
    for (const Value v : residuals_) out.add_output("", map[v]);
    return out;
  }

  // Arguments: constants used; active carries' cotangents, sums for wanted
  // constants; cotangent rows, sequence rows used, residuals.
  Graph backward_body() const {
    Graph out;
    out.stage = view_.body->stage;
    Builder b(out);
    ValueMap map(joint_.graph);
    const Graph& from = joint_.graph;
    for (const std::size_t i : used_arguments_)
      if (i < view_.constants)
        map.set(from.input_value(i), b.argument(from.type(from.input_value(i))));
    const std::size_t first_cotangent = view_.body->inputs().size();
    for (std::size_t k = 0; k < joint_.carries.size(); ++k) {
      const Value v = from.input_value(first_cotangent + k);
      map.set(v, b.argument(from.type(v)));
    }
    std::vector<Value> sums;
    for (const std::size_t i : joint_.wrt)
      if (i < view_.constants) sums.push_back(b.argument(from.type(from.input_value(i))));
    for (std::size_t k = 0; k < joint_.rows.size(); ++k) {
      const Value v = from.input_value(first_cotangent + joint_.carries.size() + k);
      map.set(v, b.argument(from.type(v)));
    }
    for (const std::size_t i : used_arguments_)
      if (i >= view_.first_sequence())
        map.set(from.input_value(i), b.argument(from.type(from.input_value(i))));
    for (const Value v : residuals_) map.set(v, b.argument(from.type(v)));
    for (NodeId id = 0; id < from.size(); ++id) {
      if (!needed_[id] || from.node(id).op == Op::argument) continue;
      if (map.has({id, 0})) continue;  // a residual
      copy_node(b, from, id, map);
    }
    std::size_t sum = 0;
    std::vector<Value> rows;
    for (std::size_t k = 0; k < joint_.wrt.size(); ++k) {
      const std::size_t i = joint_.wrt[k];
      Value gradient;
      if (joint_.gradient[k]) gradient = map[from.outputs()[*joint_.gradient[k]].value];
      if (i < view_.constants) {
        sums_out_.push_back(gradient.valid() ? b.add(sums[sum], gradient) : sums[sum]);
        ++sum;
        continue;
      }
      if (!gradient.valid()) gradient = b.constant(from.type(from.input_value(i)), 0);
      if (i < view_.first_sequence())
        out.add_output("", gradient);
      else
        rows.push_back(gradient);
    }
    for (const Value v : sums_out_) out.add_output("", v);
    for (const Value v : rows) out.add_output("", v);
    return out;
  }

 private:
  void find_residuals() {
    const Graph& graph = joint_.graph;
    needed_.assign(graph.size(), false);
    residuals_.clear();
    used_arguments_.clear();
    for (std::size_t i = joint_.step_outputs; i < graph.outputs().size(); ++i)
      need(graph.outputs()[i].value);
    for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
      if (!needed_[id]) continue;
      const Node& node = graph.node(id);
      if (joint_.forward[id] && !repeated(id)) continue;
      for (const Value v : node.operands) need(v);
    }
    std::sort(residuals_.begin(), residuals_.end());
    std::sort(used_arguments_.begin(), used_arguments_.end());
  }

  // Residuals that a few instructions give from others and from rows that are read in
  // any case, such as 1 - z from z, are not worth their memory. Is there one?
  bool repeat_arithmetic() {
    bool found = false;
    for (std::size_t i = residuals_.size(); i-- > 0;) {
      const Value v = residuals_[i];
      std::set<NodeId> nodes;
      if (!follows_from_others(v, v, nodes) || nodes.size() > most_repeated || is_multiplied(v))
        continue;
      for (const NodeId id : nodes) again_[id] = true;
      residuals_.erase(residuals_.begin() + static_cast<std::ptrdiff_t>(i));
      found = true;
    }
    return found;
  }

  // A product that reads it may end up behind the loop, and reads a stack of it then.
  bool is_multiplied(Value v) const {
    for (NodeId id = 0; id < joint_.graph.size(); ++id) {
      const Node& node = joint_.graph.node(id);
      if (!joint_.forward[id] && node.op == Op::matmul &&
          std::find(node.operands.begin(), node.operands.end(), v) != node.operands.end())
        return true;
    }
    return false;
  }

  // Is `v`, of the step, computed by arithmetic alone from residuals other than `from`
  // and from what is given? By which nodes?
  bool follows_from_others(Value v, Value from, std::set<NodeId>& nodes) const {
    const bool residual =
        std::find(residuals_.begin(), residuals_.end(), v) != residuals_.end() && v != from;
    if (residual) return true;
    const Node& node = joint_.graph.node(v.node);
    if (node.op == Op::argument) {
      const auto& inputs = joint_.graph.inputs();
      const auto i = static_cast<std::size_t>(std::find(inputs.begin(), inputs.end(), v.node) -
                                              inputs.begin());
      return i < view_.constants ||
             std::find(used_arguments_.begin(), used_arguments_.end(), i) != used_arguments_.end();
    }
    if (!repeated(v.node)) {
      nodes.insert(v.node);
      if ((!is_cheap(node.op) && node.op != Op::slice) || nodes.size() > most_repeated)
        return false;
    }
    return std::all_of(node.operands.begin(), node.operands.end(),
                       [&](Value x) { return follows_from_others(x, from, nodes); });
  }

  bool repeated(NodeId id) const {
    const Node& node = joint_.graph.node(id);
    return node.op != Op::argument &&
           (again_[id] || invariant_[id] || cheap_to_repeat(node) || !can_be_stored(node));
  }

  // No sequence can hold a value that mixes bound dimensions (the T x S of one
  // example), so the gradient computes it again.
  bool can_be_stored(const Node& node) const {
    return std::all_of(node.types.begin(), node.types.end(),
                       [&](const Type& type) { return view_.stackable(type); });
  }

  void need(Value v) {
    needed_[v.node] = true;
    if (!joint_.forward[v.node] || repeated(v.node)) return;
    const auto& inputs = joint_.graph.inputs();
    const auto found = std::find(inputs.begin(), inputs.end(), v.node);
    if (found != inputs.end()) {
      const auto i = static_cast<std::size_t>(found - inputs.begin());
      const bool carry = i >= view_.first_carry() && i < view_.first_sequence();
      if (!carry) {
        if (std::find(used_arguments_.begin(), used_arguments_.end(), i) == used_arguments_.end())
          used_arguments_.push_back(i);
        return;
      }
    }
    if (std::find(residuals_.begin(), residuals_.end(), v) == residuals_.end())
      residuals_.push_back(v);
  }

  const ScanView& view_;
  const JointStep& joint_;
  std::vector<bool> needed_;
  std::vector<bool> invariant_;
  std::vector<bool> again_;  // computed again for the gradient
  std::vector<Value> residuals_;
  std::vector<std::size_t> used_arguments_;
  mutable std::vector<Value> sums_out_;
};

}  // namespace

std::vector<Value> scan_vjp(VjpContext& c, NodeId id, std::vector<ScanReplacement>& replaced) {
  Builder& b = c.b;
  const Node& node = c.node;
  const ScanView view(node);
  const JointStep joint = join(view, c.needs, c.cotangents);
  const Splitter split(view, joint, node.attributes);

  const auto slice_of = [&](std::size_t begin, std::size_t end) {
    return std::vector<Value>(c.operands.begin() + static_cast<long>(begin),
                              c.operands.begin() + static_cast<long>(end));
  };
  Builder::ScanSpec forward;
  forward.constants = slice_of(0, view.constants);
  forward.carries = slice_of(view.first_carry(), view.first_sequence());
  forward.sequences = slice_of(view.first_sequence(), view.first_count());
  forward.bounds = view.bounds;
  forward.counts = view.counts(c.operands);
  forward.length = view.length;
  forward.reverse = view.reverse;
  forward.body = std::make_shared<const Graph>(split.forward_body());
  forward.more = node.attributes;
  const std::vector<Value> saved = b.scan(std::move(forward));
  replaced.push_back({id, saved.empty() ? id : saved[0].node});

  Builder::ScanSpec backward;
  backward.length = view.length;
  backward.reverse = !view.reverse;
  backward.bounds = view.bounds;
  backward.counts = view.counts(c.operands);
  if (node.attributes.boolean("recompute")) backward.more.set("recompute", true);
  for (const std::size_t i : split.used_arguments())
    if (i < view.constants) backward.constants.push_back(c.operands[i]);
  for (const std::size_t i : joint.carries) {
    const Value given = c.cotangents[i];
    backward.carries.push_back(given.valid() ? given : b.constant(node.types[i], 0));
  }
  for (const std::size_t i : joint.wrt)
    if (i < view.constants) backward.carries.push_back(b.constant(b.type(c.operands[i]), 0));
  for (const std::size_t i : joint.rows)
    backward.sequences.push_back(c.cotangents[view.carries + i]);
  for (const std::size_t i : split.used_arguments())
    if (i >= view.first_sequence()) backward.sequences.push_back(c.operands[i]);
  for (std::size_t i = 0; i < split.residuals().size(); ++i)
    backward.sequences.push_back(saved[node.types.size() + i]);
  backward.body = std::make_shared<const Graph>(split.backward_body());
  const std::vector<Value> found = b.scan(std::move(backward));

  std::vector<Value> out(c.operands.size());
  std::size_t carry = 0;
  std::size_t sum = joint.carries.size();
  std::size_t constants = 0;
  for (const std::size_t i : joint.wrt) constants += i < view.constants ? 1 : 0;
  std::size_t row = sum + constants;
  for (const std::size_t i : joint.wrt) {
    if (i < view.constants)
      out[i] = found[sum++];
    else if (i < view.first_sequence())
      out[i] = found[carry++];
    else
      out[i] = found[row++];
  }
  return out;
}

}  // namespace treadle
