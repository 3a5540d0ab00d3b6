#include "passes/derive_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "passes/expand_derivatives.h"
#include "passes/graph_copy.h"
#include "passes/row_dependence.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

using Kind = Dependence::Kind;

std::string unused_symbol(const Graph& graph, const std::string& wanted) {
  const std::set<std::string> taken = graph.symbols();
  std::string name = wanted;
  for (int i = 2; taken.count(name) != 0; ++i) name = fmt::format("{}{}", wanted, i);
  return name;
}

// Writes the step and its start side by side. Of a value with rows the step has
// the current row and, where a node reads them, all rows so far.
class Deriver {
 public:
  Deriver(const Graph& graph, const std::string& length, bool past_first)
      : graph_(graph),
        proof_(graph, length, past_first),
        length_(length),
        step_(out_.graph),
        start_(out_.start),
        now_(graph),
        past_(graph),
        start_map_(graph) {
    out_.graph.name = graph.name + "_step";
    out_.start.name = graph.name + "_start";
    out_.capacity = unused_symbol(graph, length + "_capacity");
    std::vector<Value> given;
    for (const NodeId id : graph.inputs())
      if (graph.node(id).op == Op::input) given.push_back({id, 0});
    of_inputs_ = reached_from(graph, given);
  }

  DerivedStep run() {
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const LocationScope scope(step_, graph_.node(id).location);
      visit(id);
    }
    for (const Output& output : graph_.outputs())
      if (proof_[output.value].kind != Kind::pairs)
        out_.graph.add_output(output.name, current(output.value));
    for (const auto& [name, value] : successors_) out_.graph.add_output(name, value);
    for (const auto& [name, value] : initial_) out_.start.add_output(name, value);
    out_.start = without_dead_nodes(out_.start);
    return std::move(out_);
  }

 private:
  void visit(NodeId id) {
    const Node& node = graph_.node(id);
    if (proof_.steps(id)) return scan(id);
    if (proof_[{id, 0}].kind == Kind::none) {
      copy(start_, id, start_map_, start_map_.all(node.operands));
      // What the step reads of the inputs without rows is computed once.
      if (of_inputs_[id]) return;
    }
    if (proof_.reads_table(id)) return look_up(id);
    std::vector<Value> operands;
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      operands.push_back(proof_.reads_past(id, i) ? past(node.operands[i])
                                                  : current(node.operands[i]));
    copy(step_, id, now_, operands);
    if (node.op == Op::iota) move_on(id);
  }

  // Extents along rows: one, and the capacity along the rows before.
  Dims extents(const Dims& dims, std::int64_t past_axis) const {
    Dims out = dims;
    for (std::size_t axis = 0; axis < out.size(); ++axis)
      out[axis] = out[axis].substitute(
          {{length_,
            static_cast<std::int64_t>(axis) == past_axis ? Dim::symbol(out_.capacity) : Dim(1)}});
    return out;
  }

  void copy(Builder& b, NodeId id, ValueMap& map, const std::vector<Value>& operands,
            bool all_past = false) {
    Node node = graph_.node(id);
    const Dependence& d = proof_[{id, 0}];
    const std::int64_t past_axis = all_past ? d.axis : d.kind == Kind::pairs ? d.past : -1;
    if (node.op == Op::input || node.op == Op::parameter) {
      Type type = node.types[0];
      type.dims = extents(type.dims, past_axis);
      map.set({id, 0}, b.source(node, type));
      return;
    }
    Attributes attributes;
    for (const auto& [name, attribute] : node.attributes) {
      Attribute changed = attribute;
      if (Dims* dims = std::get_if<Dims>(&changed)) *dims = extents(*dims, past_axis);
      attributes.set(name, std::move(changed));
    }
    node.attributes = std::move(attributes);
    const Value first = b.clone(node, operands);
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
  }

  Value position() {
    if (!position_.valid())
      position_ = step_.input("position", {DType::i64, {}}, {{"role", std::string("position")}});
    return position_;
  }

  // An index along the current row begins at the position.
  void move_on(NodeId id) {
    const Dependence& d = proof_[{id, 0}];
    if (!d.offset || d.counts_past) return;
    const Value zero = now_[{id, 0}];
    const Type& type = step_.type(zero);
    const Value at = type.dtype == DType::i64 ? position() : step_.cast(position(), type.dtype);
    now_.set({id, 0}, step_.add(zero, step_.broadcast_scalar(at, type.dims)));
  }

  // The current row of a table.
  void look_up(NodeId id) {
    const Node& node = graph_.node(id);
    const Dim& start = node.attributes.dim("start");
    const Dim& table = graph_.type(node.operands[0]).dims[0];
    if (table.is_constant() && start.is_constant()) {
      const std::int64_t rows = *table.constant() - *start.constant();
      out_.longest = std::min(out_.longest.value_or(rows), rows);
    }
    Value at = step_.broadcast_scalar(position(), {Dim(1)});
    at = step_.add(at, step_.broadcast_scalar(step_.dimension(start, DType::i64), {Dim(1)}));
    now_.set({id, 0}, step_.gather(current(node.operands[0]), at));
  }

  Value current(Value v) {
    if (now_.has(v)) return now_[v];
    const Node& node = graph_.node(v.node);
    if (node.op == Op::input) {
      now_.set(v, step_.source(node, node.types[0]));
      return now_[v];
    }
    const std::string name = fmt::format("fixed.{}", fixed_++);
    now_.set(v, step_.input(name, graph_.type(v), {{"role", std::string("fixed")}}));
    initial_.emplace_back(name, start_map_[v]);
    return now_[v];
  }

  // All rows so far, as many as the capacity; those to come are zeros.
  Value past(Value v) {
    if (past_.has(v)) return past_[v];
    const Node& node = graph_.node(v.node);
    const Dependence& d = proof_[v];
    const bool layout = node.op == Op::transpose || node.op == Op::reshape ||
                        (node.op == Op::broadcast && proof_[node.operands[0]].kind == Kind::rows);
    if (d.positional || layout) {
      std::vector<Value> operands;
      for (const Value operand : node.operands)
        operands.push_back(proof_[operand].kind == Kind::rows ? past(operand) : current(operand));
      copy(step_, v.node, past_, operands, true);
      return past_[v];
    }
    const std::string name = fmt::format("cache.{}", out_.caches.size());
    Type type = graph_.type(v);
    type.dims = extents(type.dims, d.axis);
    out_.caches.push_back(name);
    const Value cache =
        step_.input(name, type, {{"role", std::string("cache")}, {"successor", name + ".next"}});
    Dims at(type.dims.begin(), type.dims.begin() + d.axis);
    at.emplace_back(1);
    past_.set(v,
              step_.scatter_add(cache, step_.broadcast_scalar(position(), at), current(v), d.axis));
    successors_.emplace_back(name + ".next", past_[v]);
    return past_[v];
  }

  void scan(NodeId id) {
    const Node& node = graph_.node(id);
    const ScanView view(node);
    Builder::ScanSpec spec;
    spec.length = Dim(1);
    spec.body = node.regions[0];
    const std::size_t first = carries_;
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const Value v = node.operands[i];
      if (i < view.first_carry()) {
        spec.constants.push_back(current(v));
      } else if (i < view.first_sequence()) {
        const std::string name = fmt::format("carry.{}", carries_++);
        spec.carries.push_back(step_.input(
            name, graph_.type(v), {{"role", std::string("state")}, {"successor", name + ".next"}}));
        initial_.emplace_back(name, start_map_[v]);
      } else {
        spec.sequences.push_back(current(v));
      }
    }
    const std::vector<Value> results = step_.scan(std::move(spec));
    for (std::uint32_t i = 0; i < results.size(); ++i) {
      now_.set({id, i}, results[i]);
      if (i < view.carries)
        successors_.emplace_back(fmt::format("carry.{}.next", first + i), results[i]);
    }
  }

  const Graph& graph_;
  RowDependence proof_;
  std::string length_;
  DerivedStep out_;
  Builder step_, start_;
  ValueMap now_, past_, start_map_;
  std::vector<bool> of_inputs_;
  std::vector<std::pair<std::string, Value>> initial_, successors_;
  std::size_t carries_ = 0, fixed_ = 0;
  Value position_;
};

}  // namespace

std::string sequence_symbol(const Graph& graph) {
  std::vector<std::string> candidates;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op != Op::input || node.attributes.has("role") || node.types[0].dims.empty()) continue;
    std::set<std::string> symbols;
    const Dim& rows = node.types[0].dims[0];
    rows.collect_symbols(symbols);
    if (symbols.size() == 1 && rows == Dim::symbol(*symbols.begin()))
      candidates.push_back(*symbols.begin());
  }
  // Of a source and a target the target is what goes on: the result has its rows.
  for (const Output& output : graph.outputs()) {
    const Dims& dims = graph.type(output.value).dims;
    for (const std::string& symbol : candidates)
      if (!dims.empty() && dims[0] == Dim::symbol(symbol)) return symbol;
  }
  return candidates.empty() ? std::string() : candidates.front();
}

DerivedStep derive_step(const Graph& graph, const std::string& length) {
  const Graph expanded = expand_derivatives(graph);
  try {
    return Deriver(expanded, length, false).run();
  } catch (const UserError& error) {
    // Scores may stand the other way round: k @ transpose(q).
    try {
      return Deriver(expanded, length, true).run();
    } catch (const UserError&) {
      throw error;
    }
  }
}

Graph derive_step(const Graph& graph) {
  const std::string length = sequence_symbol(graph);
  if (length.empty())
    throw_user_error("T0848", "no step from one row to the next: no input is a sequence",
                     "its first dimension is a symbol: x: real[T, 3]");
  return simplify(unroll(derive_step(graph, length).graph, 0));
}

}  // namespace treadle
