#include "passes/ragged_plan.h"

#include <algorithm>
#include <map>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "passes/ragged_inputs.h"
#include "passes/row_wise.h"
#include "passes/substitute_dims.h"

namespace treadle {
namespace {

bool contains(const Integers& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

// A type that neither rows nor a dense value can hold.
bool is_mixed(const Type& type) { return has_ragged(type.dims) && !is_rows(type); }

bool ragged_attribute(const Node& node) {
  for (const auto& [name, value] : node.attributes) {
    const auto* dims = std::get_if<Dims>(&value);
    if (name != "dims" && dims != nullptr && has_ragged(*dims)) return true;
  }
  return false;
}

bool ragged_inside(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return ragged_attribute(node) ||
           std::any_of(node.types.begin(), node.types.end(),
                       [](const Type& type) { return has_ragged(type.dims); }) ||
           std::any_of(node.regions.begin(), node.regions.end(),
                       [](const Region& region) { return ragged_inside(*region); });
  });
}

class Planner {
 public:
  explicit Planner(const Graph& graph) : graph_(graph) {}

  RaggedPlan run() {
    find_batched();
    plan_.group.assign(graph_.size(), -1);
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (!in_rows(id)) plan_.group[id] = static_cast<int>(id);
    join_mixed();
    while (close()) {
    }
    number();
    return std::move(plan_);
  }

 private:
  const Node& node(NodeId id) const { return graph_.node(id); }
  const Type& operand(const Node& n, std::size_t i) const { return graph_.type(n.operands[i]); }

  void find_batched() {
    plan_.batched.assign(graph_.size(), false);
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const Node& n = node(id);
      bool batched = n.op == Op::input ? !n.attributes.boolean("shared") : ragged_attribute(n);
      for (const Type& type : n.types) batched = batched || has_ragged(type.dims);
      for (const Value v : n.operands) batched = batched || plan_.batched[v.node];
      for (const Region& region : n.regions) batched = batched || ragged_inside(*region);
      plan_.batched[id] = batched;
    }
  }

  // Can the node be one node for the whole batch?
  bool in_rows(NodeId id) const {
    const Node& n = node(id);
    bool rows = false;
    for (const Type& type : n.types) {
      if (is_mixed(type)) return false;
      rows = rows || is_rows(type);
    }
    for (const Value v : n.operands) {
      if (is_mixed(graph_.type(v))) return false;
      rows = rows || is_rows(graph_.type(v));
    }
    if (n.op == Op::dimension) return true;
    if (!rows) return !plan_.batched[id] || (!ragged_attribute(n) && !regions_ragged(n));
    switch (n.op) {
      case Op::input:
      case Op::parameter:
      case Op::iota:
      case Op::reduce_sum:
      case Op::mean: return true;
      case Op::matmul: return row_product(graph_, n, plan_.batched) != RowProduct::none;
      case Op::broadcast: return works_row_by_row(graph_, n, is_rows);
      case Op::scan: return scan_in_rows(n);
      default: break;
    }
    // An operand that is not rows is the same for all examples.
    return !ragged_attribute(n) && works_row_by_row(graph_, n, is_rows) &&
           std::all_of(n.operands.begin(), n.operands.end(),
                       [&](Value v) { return is_rows(graph_.type(v)) || !plan_.batched[v.node]; });
  }

  bool regions_ragged(const Node& n) const {
    return std::any_of(n.regions.begin(), n.regions.end(),
                       [](const Region& region) { return ragged_inside(*region); });
  }

  // What it carries is dense, and what every step sees is dense or can be padded.
  bool scan_in_rows(const Node& n) const {
    const ScanView view(n);
    // Over rows, or over the steps that all examples have.
    for (std::size_t i = view.first_sequence(); i < view.first_count(); ++i)
      if (is_rows(operand(n, i)) != view.length.is_ragged()) return false;
    for (std::size_t i = view.constants; i < view.first_sequence(); ++i)
      if (is_rows(operand(n, i))) return false;
    return !regions_ragged(n) || step_for_longest(n).has_value();
  }

  // ---- loops over the examples ----

  void join(int a, int b) {
    if (a == b) return;
    for (int& group : plan_.group)
      if (group == b) group = a;
  }

  // Values that are no rows pass from node to node only within a loop.
  void join_mixed() {
    for (NodeId id = 0; id < graph_.size(); ++id)
      for (const Value v : node(id).operands)
        if (is_mixed(graph_.type(v))) join(plan_.group[v.node], plan_.group[id]);
  }

  // A node between two nodes of a loop is part of it too.
  bool close() {
    std::map<int, std::vector<NodeId>> members;
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (plan_.group[id] >= 0) members[plan_.group[id]].push_back(id);
    for (const auto& [group, ids] : members) {
      if (ids.size() < 2) continue;
      const NodeId first = ids.front(), last = ids.back();
      std::vector<bool> below(last + 1, false), above(last + 1, false);
      for (NodeId id = first; id <= last; ++id) {
        below[id] = plan_.group[id] == group;
        for (const Value v : node(id).operands)
          if (v.node >= first && below[v.node]) below[id] = true;
      }
      bool grew = false;
      for (NodeId id = last + 1; id-- > first;) {
        above[id] = above[id] || plan_.group[id] == group;
        if (!above[id]) continue;
        for (const Value v : node(id).operands)
          if (v.node >= first) above[v.node] = true;
        if (!below[id] || plan_.group[id] == group) continue;
        if (plan_.group[id] >= 0)
          join(group, plan_.group[id]);
        else
          plan_.group[id] = group;
        grew = true;
      }
      if (grew) return true;
    }
    return false;
  }

  void number() {
    std::map<int, int> numbers;
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (plan_.group[id] < 0) continue;
      const auto [found, fresh] =
          numbers.try_emplace(plan_.group[id], static_cast<int>(numbers.size()));
      if (fresh) plan_.groups.emplace_back();
      plan_.group[id] = found->second;
      plan_.groups[static_cast<std::size_t>(found->second)].push_back(id);
    }
  }

  const Graph& graph_;
  RaggedPlan plan_;
};

}  // namespace

std::optional<PaddedStep> step_for_longest(const Node& scan) {
  return padded_step(scan, [](const std::string& symbol) {
    return RaggedInputs::symbol_of_longest(Dim::symbol(symbol));
  });
}

bool ragged_step(const Node& node) {
  return node.op == Op::scan && ragged_inside(*node.regions[0]);
}

RaggedPlan plan_ragged(const Graph& graph) { return Planner(graph).run(); }

bool is_rows(const Type& type) {
  if (type.dims.empty() || !type.dims[0].is_ragged()) return false;
  return !has_ragged(Dims(type.dims.begin() + 1, type.dims.end()));
}

RowProduct row_product(const Graph& graph, const Node& matmul, const std::vector<bool>& batched) {
  const Type &a = graph.type(matmul.operands[0]), &b = graph.type(matmul.operands[1]);
  const Attributes& at = matmul.attributes;
  const Integers &contract_a = at.integers("contract_a"), &contract_b = at.integers("contract_b"),
                 &batch_a = at.integers("batch_a"), &batch_b = at.integers("batch_b");
  const bool rows_a = is_rows(a), rows_b = is_rows(b);
  const auto is_free = [&](const Integers& contract, const Integers& batch) {
    return !contains(contract, 0) && !contains(batch, 0);
  };
  if (rows_a && rows_b) {
    if (!batch_a.empty() && batch_a[0] == 0 && batch_b[0] == 0) return RowProduct::row_by_row;
    const bool one = contract_a.size() == 1 && batch_a.empty();
    if (one && contract_a[0] == 0 && contract_b[0] == 0 && (a.rank() == 1 || b.rank() == 1))
      return RowProduct::weighted_sum;
    return RowProduct::none;
  }
  if (rows_a)
    return batch_a.empty() && is_free(contract_a, batch_a) && !batched[matmul.operands[1].node]
               ? RowProduct::rows_times_shared
               : RowProduct::none;
  // The rows come first in the result only when `a` has no free dimension.
  if (!rows_b || !batch_b.empty() || !is_free(contract_b, batch_b) || contract_a.size() != a.rank())
    return RowProduct::none;
  if (!batched[matmul.operands[0].node]) return RowProduct::shared_times_rows;
  return a.rank() == 1 ? RowProduct::vector_each : RowProduct::none;
}

}  // namespace treadle
