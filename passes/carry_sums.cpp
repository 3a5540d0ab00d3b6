#include "passes/carry_sums.h"

#include <algorithm>
#include <map>
#include <set>

#include "ir/op_def.h"
#include "passes/prune_scans.h"
#include "passes/scan_edit.h"

namespace treadle {
namespace {

bool sums_over_steps(const Node& node) {
  if (node.op != Op::reduce_sum) return false;
  const Integers& axes = node.attributes.integers("axes");
  return std::find(axes.begin(), axes.end(), 0) != axes.end();
}

class SumCarrier {
 public:
  explicit SumCarrier(const Graph& graph) : graph_(graph) {
    const std::vector<bool> live = live_nodes(graph);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live[id])
        for (const Value v : graph.node(id).operands) readers_[v].push_back(id);
    for (const Output& output : graph.outputs()) returned_.insert(output.value);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live[id] && graph.node(id).op == Op::scan) plan(id);
  }

  Graph run() {
    if (sums_.empty()) return graph_;
    const Graph carried = copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      const Node& node = graph_.node(id);
      const LocationScope scope(b, node.location);
      if (const auto planned = sums_.find(id); planned != sums_.end()) {
        emit_scan(b, id, planned->second, map);
        return true;
      }
      if (node.op != Op::reduce_sum) return false;
      const auto total = totals_.find(node.operands[0]);
      if (total == totals_.end()) return false;
      map.set({id, 0}, rest_of_sum(b, total->second, node.attributes.integers("axes")));
      return true;
    });
    return without_dead_nodes(prune_scans(without_dead_nodes(carried)));
  }

 private:
  // A value of the step, and the outputs of the scan that are stacks of it.
  struct Sum {
    Value term;
    std::vector<std::uint32_t> stacks;
  };

  void plan(NodeId id) {
    const ScanView view(graph_.node(id));
    if (view.carries == 0) return;
    std::map<Value, std::vector<std::uint32_t>> stacks;
    for (std::size_t i = view.carries; i < view.body->outputs().size(); ++i)
      stacks[view.body->outputs()[i].value].push_back(static_cast<std::uint32_t>(i));
    for (auto& [term, outputs] : stacks)
      if (may_be_carried(view, term) && only_summed(id, outputs))
        sums_[id].push_back({term, std::move(outputs)});
  }

  // Can the kernel that makes it add it to the sum?
  static bool may_be_carried(const ScanView& view, Value term) {
    const Type& type = view.body->type(term);
    return type.dtype != DType::bf16 && !view.mentions_bound(type) &&
           op_def(view.body->node(term.node).op).pointwise();
  }

  bool only_summed(NodeId id, const std::vector<std::uint32_t>& stacks) const {
    bool read = false;
    for (const std::uint32_t i : stacks) {
      if (returned_.contains({id, i})) return false;
      const auto readers = readers_.find({id, i});
      if (readers == readers_.end()) continue;
      read = true;
      for (const NodeId reader : readers->second)
        if (!sums_over_steps(graph_.node(reader))) return false;
    }
    return read;
  }

  void emit_scan(Builder& b, NodeId id, const std::vector<Sum>& sums, ValueMap& map) {
    const Node& node = graph_.node(id);
    const ScanView view(node);
    std::vector<CarrySpec> carries;
    for (const Sum& sum : sums) {
      const Type& type = view.body->type(sum.term);
      carries.push_back({zeros(b, type), type});
    }
    ScanEdit edit(node, map.all(node.operands), std::move(carries));
    edit.copy_nodes();
    for (std::size_t i = 0; i < sums.size(); ++i)
      edit.set_next(i, edit.step().add(edit.carried(i), edit.map()[sums[i].term]));
    const std::vector<Value> out = edit.emit(b);
    for (std::size_t i = 0; i < node.types.size(); ++i)
      map.set({id, static_cast<std::uint32_t>(i)}, out[i < view.carries ? i : i + sums.size()]);
    for (std::size_t i = 0; i < sums.size(); ++i)
      for (const std::uint32_t stack : sums[i].stacks) totals_[{id, stack}] = out[view.carries + i];
  }

  Value zeros(Builder& b, const Type& type) {
    for (const Value v : zeros_)
      if (b.type(v) == type) return v;
    zeros_.push_back(b.constant(type, 0));
    return zeros_.back();
  }

  // What is left of a sum over the steps, and other axes.
  static Value rest_of_sum(Builder& b, Value total, const Integers& axes) {
    Integers rest;
    for (const std::int64_t axis : axes)
      if (axis != 0) rest.push_back(axis - 1);
    return rest.empty() ? total : b.reduce_sum(total, rest);
  }

  const Graph& graph_;
  std::map<Value, std::vector<NodeId>> readers_;
  std::set<Value> returned_;
  std::map<NodeId, std::vector<Sum>> sums_;  // by scan
  std::map<Value, Value> totals_;            // by stack, in the new graph
  std::vector<Value> zeros_;                 // in the new graph
};

Graph carry_in_regions(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    copy_node(b, with_regions(graph.node(id), carry_sums), id, map);
    return true;
  });
}

}  // namespace

Graph carry_sums(const Graph& graph) { return SumCarrier(carry_in_regions(graph)).run(); }

}  // namespace treadle
