#include "passes/derive_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "passes/graph_copy.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

// How a value depends on the rows of the sequence.
struct Dependence {
  enum class Kind : std::uint8_t {
    none,  // not at all
    rows,  // its row t, along `axis`, depends on rows 0 ... t
    last,  // on all rows that there are
  };
  Kind kind = Kind::none;
  std::int64_t axis = -1;
};
using Kind = Dependence::Kind;

bool contains(const Integers& list, std::int64_t x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

class Proof {
 public:
  Proof(const Graph& graph, std::string length)
      : graph_(graph), length_(std::move(length)), rows_(Dim::symbol(length_)) {
    for (NodeId id = 0; id < graph.size(); ++id) {
      of_.emplace_back(graph.node(id).types.size());
      visit(id);
      for (std::uint32_t i = 0; i < graph.node(id).types.size(); ++i) check_type({id, i});
    }
  }
  const Dependence& operator[](Value v) const { return of_[v.node][v.index]; }

  // A scan over the rows: in the step, one turn of it.
  bool steps(NodeId id) const {
    return graph_.node(id).op == Op::scan && ScanView(graph_.node(id)).length == rows_;
  }

 private:
  [[noreturn]] void blocked(NodeId id, const std::string& why) const {
    const Node& node = graph_.node(id);
    throw_user_error(
        "T0848", fmt::format("no step from one row to the next: '{}' {}", to_string(node.op), why),
        "row t of what is generated may depend on rows 0 ... t alone", node.location);
  }

  // The rows stand where they are said to stand, and nothing else is as long.
  void check_type(Value v) const {
    const Dependence& d = (*this)[v];
    const Dims& dims = graph_.type(v).dims;
    for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(dims.size()); ++axis) {
      const Dim& dim = dims[static_cast<std::size_t>(axis)];
      const bool row_axis = d.kind == Kind::rows && d.axis == axis;
      if (row_axis ? dim != rows_ : dim.mentions(length_))
        blocked(v.node, fmt::format("has the extent {} besides its rows", dim.to_string()));
    }
  }

  std::int64_t row_axis(const Dims& dims) const {
    const auto found = std::find(dims.begin(), dims.end(), rows_);
    return found == dims.end() ? -1 : found - dims.begin();
  }
  Dependence by_type(const Dims& dims) const {
    const std::int64_t axis = row_axis(dims);
    return axis < 0 ? Dependence{} : Dependence{Kind::rows, axis};
  }

  // What all operands together depend on; their rows stand on one axis.
  Dependence joined(NodeId id) const {
    Dependence out;
    for (const Value v : graph_.node(id).operands) {
      const Dependence& d = (*this)[v];
      if (d.kind == Kind::none) continue;
      if (out.kind != Kind::none && (out.kind != d.kind || out.axis != d.axis))
        blocked(id,
                out.kind == d.kind ? "mixes different rows" : "needs all rows for each of them");
      out = d;
    }
    return out;
  }

  // The axis of a result whose axis k is axis[k] of the operand.
  static Dependence moved(Dependence d, const Integers& axes) {
    if (d.kind == Kind::rows) d.axis = std::find(axes.begin(), axes.end(), d.axis) - axes.begin();
    return d;
  }
  Dependence without(NodeId id, Dependence d, const Integers& axes) const {
    if (d.kind != Kind::rows) return d;
    if (contains(axes, d.axis)) blocked(id, "runs over all rows");
    d.axis -= std::count_if(axes.begin(), axes.end(), [&](std::int64_t x) { return x < d.axis; });
    return d;
  }
  Dependence across(NodeId id, Dependence d) const {
    if (d.kind == Kind::rows && graph_.node(id).attributes.integer("axis") == d.axis)
      blocked(id, "runs over all rows");
    return d;
  }

  void visit(NodeId id) {
    const Node& node = graph_.node(id);
    const Attributes& at = node.attributes;
    Dependence& out = of_[id][0];
    for (const Region& region : node.regions)
      if (mentions_length(*region)) blocked(id, "needs the number of rows");
    switch (node.op) {
      case Op::input:
      case Op::constant:
      case Op::iota: out = by_type(node.types[0].dims); return;
      case Op::parameter:
      case Op::argument: return;
      case Op::dimension:
        if (at.dim("dim").mentions(length_)) blocked(id, "is the number of rows");
        return;
      case Op::matmul: out = matmul(id); return;
      case Op::transpose: out = moved(joined(id), at.integers("permutation")); return;
      case Op::reshape: out = reshape(id); return;
      case Op::broadcast: out = broadcast(id); return;
      case Op::slice:
        if (at.dim("start").mentions(length_) || at.dim("extent").mentions(length_))
          blocked(id, "needs the number of rows");
        out = across(id, joined(id));
        return;
      case Op::pad:
      case Op::concat:
      case Op::reverse:
      case Op::softmax:
      case Op::log_softmax: out = across(id, joined(id)); return;
      case Op::reduce_sum:
      case Op::reduce_max:
      case Op::mean: out = without(id, joined(id), at.integers("axes")); return;
      case Op::argmax:
      case Op::logsumexp: out = without(id, joined(id), {at.integer("axis")}); return;
      case Op::gather: out = gather(id); return;
      case Op::one_hot: out = joined(id); return;
      case Op::scan: scan(id); return;
      default: break;
    }
    out = joined(id);
    if (out.kind == Kind::rows && !op_def(node.op).pointwise()) blocked(id, "runs over all rows");
  }

  bool mentions_length(const Graph& region) const {
    for (const Node& node : region.nodes()) {
      for (const Type& type : node.types)
        for (const Dim& dim : type.dims)
          if (dim.mentions(length_)) return true;
      for (const auto& [name, attribute] : node.attributes)
        if (const Dims* dims = std::get_if<Dims>(&attribute))
          for (const Dim& dim : *dims)
            if (dim.mentions(length_)) return true;
      for (const Region& inner : node.regions)
        if (mentions_length(*inner)) return true;
    }
    return false;
  }

  Dependence matmul(NodeId id) const {
    const Node& node = graph_.node(id);
    Dependence out;
    for (std::size_t operand = 0; operand < 2; ++operand) {
      const Dependence d = (*this)[node.operands[operand]];
      if (d.kind == Kind::none) continue;
      const Integers& contract =
          node.attributes.integers(operand == 0 ? "contract_a" : "contract_b");
      const Integers& batch = node.attributes.integers(operand == 0 ? "batch_a" : "batch_b");
      Dependence here = d;
      if (d.kind == Kind::rows) {
        if (contains(contract, d.axis)) blocked(id, "adds up over all rows");
        here.axis = result_axis(id, operand, d.axis, contract, batch);
      }
      if (out.kind != Kind::none && (out.kind != here.kind || out.axis != here.axis))
        blocked(id, out.kind == here.kind ? "brings each row together with every other"
                                          : "needs all rows for each of them");
      out = here;
    }
    return out;
  }

  // Results have the batch axes, then the free axes of a, then those of b.
  std::int64_t result_axis(NodeId id, std::size_t operand, std::int64_t axis,
                           const Integers& contract, const Integers& batch) const {
    if (contains(batch, axis)) return std::find(batch.begin(), batch.end(), axis) - batch.begin();
    auto out = static_cast<std::int64_t>(batch.size());
    const Node& node = graph_.node(id);
    if (operand == 1)
      out += static_cast<std::int64_t>(graph_.type(node.operands[0]).rank()) -
             static_cast<std::int64_t>(batch.size() + contract.size());
    for (std::int64_t k = 0; k < axis; ++k)
      if (!contains(contract, k) && !contains(batch, k)) ++out;
    return out;
  }

  // The rows stay rows when as many elements stand in front of them as before.
  Dependence reshape(NodeId id) const {
    Dependence d = joined(id);
    if (d.kind != Kind::rows) return d;
    const Node& node = graph_.node(id);
    const auto in_front = [](const Dims& dims, std::int64_t axis) {
      return product(Dims(dims.begin(), dims.begin() + axis));
    };
    const Dim front = in_front(graph_.type(node.operands[0]).dims, d.axis);
    const Dims& dims = node.types[0].dims;
    for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(dims.size()); ++axis)
      if (dims[static_cast<std::size_t>(axis)] == rows_ && in_front(dims, axis) == front)
        return {Kind::rows, axis};
    blocked(id, "mixes different rows");
  }

  Dependence broadcast(NodeId id) const {
    const Node& node = graph_.node(id);
    const Dependence d = joined(id);
    if (d.kind == Kind::rows) {
      const auto axis = static_cast<std::size_t>(d.axis);
      return {Kind::rows, node.attributes.integers("axes")[axis]};
    }
    const Dependence out = by_type(node.types[0].dims);
    if (out.kind == Kind::rows && d.kind == Kind::last)
      blocked(id, "needs all rows for each of them");
    return d.kind == Kind::last ? d : out;
  }

  Dependence gather(NodeId id) const {
    const Node& node = graph_.node(id);
    const Dependence table = (*this)[node.operands[0]];
    if (table.kind == Kind::rows && table.axis >= node.attributes.integer("batch"))
      blocked(id, "may read any row");
    return joined(id);
  }

  void scan(NodeId id) {
    const Node& node = graph_.node(id);
    const ScanView view(node);
    std::vector<Dependence>& out = of_[id];
    if (!steps(id)) {
      // A loop over something else, the same for all rows.
      Dependence all = joined(id);
      if (all.kind == Kind::rows) blocked(id, "is a loop over something else than the rows");
      std::fill(out.begin(), out.end(), all);
      return;
    }
    if (view.reverse) blocked(id, "begins with the last row");
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const Dependence d = (*this)[node.operands[i]];
      const bool sequence = i >= view.first_sequence();
      if (sequence ? d.kind != Kind::rows || d.axis != 0 : d.kind != Kind::none)
        blocked(id, sequence ? "reads a sequence that is not made of the rows"
                             : "needs all rows before its first step");
    }
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = i < view.carries ? Dependence{Kind::last, -1} : Dependence{Kind::rows, 0};
  }

  const Graph& graph_;
  std::string length_;
  Dim rows_;
  std::vector<std::vector<Dependence>> of_;
};

// Writes the step and its start side by side.
class Deriver {
 public:
  Deriver(const Graph& graph, const std::string& length)
      : graph_(graph),
        proof_(graph, length),
        one_{{length, Dim(1)}},
        step_(out_.graph),
        start_(out_.start),
        map_(graph),
        start_map_(graph) {
    out_.graph.name = graph.name + "_step";
    out_.start.name = graph.name + "_start";
  }

  DerivedStep run() {
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const Node& node = graph_.node(id);
      const LocationScope scope(step_, node.location);
      if (proof_.steps(id)) {
        scan(id);
        continue;
      }
      if (proof_[{id, 0}].kind == Kind::none) copy(start_, id, start_map_);
      copy(step_, id, map_);
      if (node.op == Op::iota) move_on(id);
    }
    for (const Output& output : graph_.outputs())
      out_.graph.add_output(output.name, map_[output.value]);
    for (const auto& [name, value] : successors_) out_.graph.add_output(name, value);
    for (const auto& [name, value] : initial_) out_.start.add_output(name, value);
    out_.start = without_dead_nodes(out_.start);
    return std::move(out_);
  }

 private:
  void copy(Builder& b, NodeId id, ValueMap& map) {
    Node node = graph_.node(id);
    if (node.op == Op::input || node.op == Op::parameter) {
      Type type = node.types[0];
      for (Dim& dim : type.dims) dim = dim.substitute(one_);
      map.set({id, 0}, b.source(node, type));
      return;
    }
    Attributes attributes;
    for (const auto& [name, attribute] : node.attributes) {
      Attribute changed = attribute;
      if (Dims* dims = std::get_if<Dims>(&changed))
        for (Dim& dim : *dims) dim = dim.substitute(one_);
      attributes.set(name, std::move(changed));
    }
    node.attributes = std::move(attributes);
    const Value first = b.clone(node, map.all(node.operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
  }

  // An index along the rows begins at the position.
  void move_on(NodeId id) {
    const Dependence& d = proof_[{id, 0}];
    const Node& node = graph_.node(id);
    if (d.kind != Kind::rows || node.attributes.integer("axis") != d.axis) return;
    if (!position_.valid())
      position_ = step_.input("position", {DType::i64, {}}, {{"role", std::string("position")}});
    const Value zero = map_[{id, 0}];
    const Type& type = step_.type(zero);
    const Value at = type.dtype == DType::i64 ? position_ : step_.cast(position_, type.dtype);
    map_.set({id, 0}, step_.add(zero, step_.broadcast_scalar(at, type.dims)));
  }

  void scan(NodeId id) {
    const Node& node = graph_.node(id);
    const ScanView view(node);
    Builder::ScanSpec spec;
    spec.length = Dim(1);
    spec.body = node.regions[0];
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const Value v = node.operands[i];
      if (i < view.first_carry()) {
        spec.constants.push_back(map_[v]);
      } else if (i < view.first_sequence()) {
        const std::string name = fmt::format("carry.{}", initial_.size());
        spec.carries.push_back(step_.input(
            name, graph_.type(v), {{"role", std::string("state")}, {"successor", name + ".next"}}));
        initial_.emplace_back(name, start_map_[v]);
      } else {
        spec.sequences.push_back(map_[v]);
      }
    }
    const std::size_t first = initial_.size() - view.carries;
    const std::vector<Value> results = step_.scan(std::move(spec));
    for (std::uint32_t i = 0; i < results.size(); ++i) {
      map_.set({id, i}, results[i]);
      if (i < view.carries)
        successors_.emplace_back(initial_[first + i].first + ".next", results[i]);
    }
  }

  const Graph& graph_;
  Proof proof_;
  std::map<std::string, Dim> one_;
  DerivedStep out_;
  Builder step_, start_;
  ValueMap map_, start_map_;
  std::vector<std::pair<std::string, Value>> initial_, successors_;
  Value position_;
};

}  // namespace

std::string sequence_symbol(const Graph& graph) {
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op != Op::input || node.attributes.has("role") || node.types[0].dims.empty()) continue;
    std::set<std::string> symbols;
    const Dim& rows = node.types[0].dims[0];
    rows.collect_symbols(symbols);
    if (symbols.size() == 1 && rows == Dim::symbol(*symbols.begin())) return *symbols.begin();
  }
  return {};
}

DerivedStep derive_step(const Graph& graph, const std::string& length) {
  return Deriver(graph, length).run();
}

Graph derive_step(const Graph& graph) {
  const std::string length = sequence_symbol(graph);
  if (length.empty())
    throw_user_error("T0848", "no step from one row to the next: no input is a sequence",
                     "its first dimension is a symbol: x: real[T, 3]");
  return simplify(unroll(derive_step(graph, length).graph, 0));
}

}  // namespace treadle
