#include "passes/row_dependence.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "passes/row_ranges.h"

namespace treadle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

bool contains(const Integers& list, std::int64_t x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

Interval range_of_constant(const Node& node) {
  const Tensor& value = node.attributes.tensor("value");
  if (value.size() != 1) return {};
  const double x =
      is_float(value.dtype()) ? value.get(0) : static_cast<double>(value.get_integer(0));
  return {x, x};
}

Dim front_of(const Dims& dims, std::int64_t axis) {
  return product(Dims(dims.begin(), dims.begin() + axis));
}

}  // namespace

RowDependence::RowDependence(const Graph& graph, std::string length, bool past_first)
    : graph_(graph),
      length_(std::move(length)),
      rows_(Dim::symbol(length_)),
      past_first_(past_first) {
  for (NodeId id = 0; id < graph.size(); ++id) {
    of_.emplace_back(graph.node(id).types.size());
    visit(id);
    for (std::uint32_t i = 0; i < graph.node(id).types.size(); ++i) check_type({id, i});
  }
}

bool RowDependence::steps(NodeId id) const {
  return graph_.node(id).op == Op::scan && ScanView(graph_.node(id)).length == rows_;
}

bool RowDependence::reads_past(NodeId id, std::size_t i) const {
  const Node& node = graph_.node(id);
  const Dependence& from = (*this)[node.operands[i]];
  if (from.kind != Kind::rows) return false;
  const Dependence& to = of_[id][0];
  switch (node.op) {
    case Op::broadcast:
      return to.kind == Kind::pairs &&
             node.attributes.integers("axes")[static_cast<std::size_t>(from.axis)] == to.past;
    case Op::matmul: {
      const Dependence& other = (*this)[node.operands[1 - i]];
      const Integers& contract = node.attributes.integers(i == 0 ? "contract_a" : "contract_b");
      if (contains(contract, from.axis)) return true;
      // Of two rows that meet, and of a row that meets pairs, one is not its own.
      if (to.kind != Kind::pairs) return false;
      if (other.kind == Kind::pairs) {
        const Integers& mine = node.attributes.integers(i == 0 ? "batch_a" : "batch_b");
        const Integers& its = node.attributes.integers(i == 0 ? "batch_b" : "batch_a");
        const auto at = std::find(mine.begin(), mine.end(), from.axis) - mine.begin();
        return its[static_cast<std::size_t>(at)] == other.past;
      }
      return (i == 0) == past_first_;
    }
    default: return false;
  }
}

bool RowDependence::reads_table(NodeId id) const {
  const Node& node = graph_.node(id);
  return node.op == Op::slice && node.attributes.dim("extent") == rows_ &&
         (*this)[node.operands[0]].kind == Kind::none;
}

void RowDependence::blocked(NodeId id, const std::string& why) const {
  const Node& node = graph_.node(id);
  throw_user_error(
      "T0848", fmt::format("no step from one row to the next: '{}' {}", to_string(node.op), why),
      "row t of what is generated may depend on rows 0 ... t alone", node.location);
}

void RowDependence::meets_later_rows(NodeId id, const std::string& what) const {
  const Node& node = graph_.node(id);
  throw_user_error("T0848",
                   fmt::format("no step from one row to the next: '{}' {} later rows too",
                               to_string(node.op), what),
                   "a mask hides them before the softmax: mask: causal_mask[T]()", node.location);
}

// The rows stand where they are said to stand, and nothing else is as long.
void RowDependence::check_type(Value v) const {
  const Dependence& d = (*this)[v];
  const Dims& dims = graph_.type(v).dims;
  for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(dims.size()); ++axis) {
    const Dim& dim = dims[static_cast<std::size_t>(axis)];
    const bool row_axis = (d.kind == Kind::rows || d.kind == Kind::pairs) && d.axis == axis;
    const bool past_axis = d.kind == Kind::pairs && d.past == axis;
    if (row_axis || past_axis ? dim != rows_ : dim.mentions(length_))
      blocked(v.node, fmt::format("has the extent {} besides its rows", dim.to_string()));
  }
}

bool RowDependence::mentions_length(const Graph& region) const {
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

// A value that depends on nothing but its own rows' numbers.
Dependence RowDependence::by_type(const Dims& dims) const {
  Dependence out;
  out.positional = true;
  for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(dims.size()); ++axis) {
    if (dims[static_cast<std::size_t>(axis)] != rows_) continue;
    if (out.kind == Kind::none) {
      out.kind = Kind::rows;
      out.axis = axis;
    } else if (out.kind == Kind::rows) {
      out.kind = Kind::pairs;
      out.past = axis;
    }
  }
  if (out.kind == Kind::pairs && past_first_) std::swap(out.axis, out.past);
  return out;
}

// What all operands together depend on; their rows stand on one axis.
Dependence RowDependence::joined(NodeId id) const {
  Dependence out;
  out.positional = true;
  for (const Value v : graph_.node(id).operands) {
    const Dependence& d = (*this)[v];
    out.positional = out.positional && (d.positional || d.kind == Kind::none);
    if (d.kind == Kind::none) continue;
    if (out.kind != Kind::none && (out.kind != d.kind || out.axis != d.axis || out.past != d.past))
      blocked(id, out.kind == d.kind ? "mixes different rows" : "needs all rows for each of them");
    const bool positional = out.positional;
    out = d;
    out.positional = positional;
  }
  return out;
}

// The result's axis of the operand's axis k is axes[k].
Dependence RowDependence::moved(NodeId id, Dependence d,
                                const std::vector<std::int64_t>& axes) const {
  const auto at = [&](std::int64_t axis) { return axes[static_cast<std::size_t>(axis)]; };
  if (d.kind == Kind::rows || d.kind == Kind::pairs) d.axis = at(d.axis);
  if (d.kind == Kind::pairs) d.past = at(d.past);
  return normalised(id, d);
}

// Nothing is ever along the same axis.
Dependence RowDependence::normalised(NodeId id, Dependence d) const {
  if (d.kind == Kind::pairs && d.axis == d.past) blocked(id, "mixes different rows");
  return d;
}

// Without some axes. What runs over the past must add nothing for later rows.
Dependence RowDependence::reduced(NodeId id, Dependence d,
                                  const std::vector<std::int64_t>& axes) const {
  const Op op = graph_.node(id).op;
  if (d.kind == Kind::none || d.kind == Kind::last) {
    d.range = {};
    d.offset.reset();
    return d;
  }
  if (contains(axes, d.axis)) blocked(id, "runs over all rows");
  if (d.kind == Kind::pairs && contains(axes, d.past)) {
    const bool harmless = op == Op::reduce_sum                          ? d.range.is(0)
                          : op == Op::reduce_max || op == Op::logsumexp ? d.range.is(-infinity)
                                                                        : false;
    if (!harmless) meets_later_rows(id, "runs over");
    d.kind = Kind::rows;
    d.past = -1;
  }
  const auto before = [&](std::int64_t axis) {
    return std::count_if(axes.begin(), axes.end(), [&](std::int64_t x) { return x < axis; });
  };
  d.axis -= before(d.axis);
  if (d.kind == Kind::pairs) d.past -= before(d.past);
  d.range = {};
  d.offset.reset();
  return d;
}

// The op runs along an axis that stays.
Dependence RowDependence::across(NodeId id, Dependence d) const {
  const Node& node = graph_.node(id);
  const std::int64_t axis = node.attributes.integer("axis");
  const bool has_rows = d.kind == Kind::rows || d.kind == Kind::pairs;
  if (has_rows && d.axis == axis) blocked(id, "runs over all rows");
  const bool past = d.kind == Kind::pairs && d.past == axis;
  if (past) {
    const bool softens = node.op == Op::softmax || node.op == Op::log_softmax;
    if (!softens || !d.range.is(-infinity)) meets_later_rows(id, "runs over");
    d.range = node.op == Op::softmax ? Interval{0, 0} : Interval{-infinity, -infinity};
  } else {
    d.range = {};
  }
  d.offset.reset();
  return d;
}

Dependence RowDependence::matmul(NodeId id) const {
  const Node& node = graph_.node(id);
  const auto axes_of = [&](std::size_t operand) {
    const Integers& contract = node.attributes.integers(operand == 0 ? "contract_a" : "contract_b");
    const Integers& batch = node.attributes.integers(operand == 0 ? "batch_a" : "batch_b");
    // Results have the batch axes, then the free axes of a, then those of b.
    const auto rank = static_cast<std::int64_t>(graph_.type(node.operands[operand]).rank());
    auto next = static_cast<std::int64_t>(batch.size());
    if (operand == 1)
      next += static_cast<std::int64_t>(graph_.type(node.operands[0]).rank()) -
              static_cast<std::int64_t>(batch.size() + contract.size());
    std::vector<std::int64_t> out;
    for (std::int64_t k = 0; k < rank; ++k) {
      const auto in_batch = std::find(batch.begin(), batch.end(), k);
      out.push_back(contains(contract, k)     ? -1
                    : in_batch != batch.end() ? in_batch - batch.begin()
                                              : next++);
    }
    return out;
  };
  const Dependence a = (*this)[node.operands[0]], b = (*this)[node.operands[1]];
  const std::array<const Dependence*, 2> sides{&a, &b};
  Dependence out;
  if (a.kind == Kind::last || b.kind == Kind::last) {
    if (a.kind == Kind::rows || b.kind == Kind::rows || a.kind == Kind::pairs ||
        b.kind == Kind::pairs)
      blocked(id, "needs all rows for each of them");
    out.kind = Kind::last;
    return out;
  }
  // Which axes of the result have rows, and which of them are the past's.
  std::int64_t own = -1, past = -1;
  const auto place = [&](std::int64_t& which, std::int64_t axis) {
    if (which >= 0 && which != axis) blocked(id, "mixes different rows");
    which = axis;
  };
  for (std::size_t i = 0; i < 2; ++i) {
    const Dependence& d = *sides[i];
    if (d.kind != Kind::pairs) continue;
    const std::vector<std::int64_t> to = axes_of(i);
    const auto at = [&](std::int64_t axis) { return to[static_cast<std::size_t>(axis)]; };
    if (at(d.axis) < 0) blocked(id, "adds up over all rows");
    place(own, at(d.axis));
    if (at(d.past) >= 0) {
      place(past, at(d.past));
      continue;
    }
    const Dependence& other = *sides[1 - i];
    if (other.kind != Kind::rows) blocked(id, "adds up over all rows");
    const Integers& mine = node.attributes.integers(i == 0 ? "contract_a" : "contract_b");
    const Integers& its = node.attributes.integers(i == 0 ? "contract_b" : "contract_a");
    const auto meeting = std::find(mine.begin(), mine.end(), d.past) - mine.begin();
    if (its[static_cast<std::size_t>(meeting)] != other.axis) blocked(id, "adds up over all rows");
    if (!d.range.is(0)) meets_later_rows(id, "adds up over");
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const Dependence& d = *sides[i];
    if (d.kind != Kind::rows) continue;
    const std::int64_t axis = axes_of(i)[static_cast<std::size_t>(d.axis)];
    if (axis < 0) {
      if (sides[1 - i]->kind != Kind::pairs) blocked(id, "adds up over all rows");
      continue;
    }
    if (sides[1 - i]->kind == Kind::pairs) {
      if (axis != own && axis != past) blocked(id, "brings each row together with every other");
      continue;
    }
    const bool both = sides[1 - i]->kind == Kind::rows;
    const bool is_past =
        both && (i == 0) == past_first_ &&
        !contains(node.attributes.integers(i == 0 ? "batch_a" : "batch_b"), d.axis);
    place(is_past ? past : own, axis);
  }
  if (own < 0 && past < 0) return out;
  if (own < 0) blocked(id, "mixes different rows");
  out.kind = past < 0 ? Kind::rows : Kind::pairs;
  out.axis = own;
  out.past = past;
  return normalised(id, out);
}

// Rows stay rows when as many elements stand in front of them as before.
Dependence RowDependence::reshape(NodeId id) const {
  Dependence d = joined(id);
  if (d.kind != Kind::rows && d.kind != Kind::pairs) return d;
  const Node& node = graph_.node(id);
  const Dims& from = graph_.type(node.operands[0]).dims;
  const Dims& dims = node.types[0].dims;
  const auto find = [&](std::int64_t old) {
    const Dim front = front_of(from, old);
    for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(dims.size()); ++axis)
      if (dims[static_cast<std::size_t>(axis)] == rows_ && front_of(dims, axis) == front)
        return axis;
    blocked(id, "mixes different rows");
  };
  d.axis = find(d.axis);
  if (d.kind == Kind::pairs) d.past = find(d.past);
  return normalised(id, d);
}

Dependence RowDependence::broadcast(NodeId id) const {
  const Node& node = graph_.node(id);
  const Dependence from = (*this)[node.operands[0]];
  const Integers& axes = node.attributes.integers("axes");
  Dependence out = by_type(node.types[0].dims);
  out.positional = from.positional || from.kind == Kind::none;
  out.range = from.range;
  if (from.kind == Kind::last) {
    if (out.kind != Kind::none) blocked(id, "needs all rows for each of them");
    return from;
  }
  if (from.kind == Kind::pairs) return moved(id, from, axes);
  if (from.kind == Kind::none) return out;
  const std::int64_t axis = axes[static_cast<std::size_t>(from.axis)];
  if (out.kind == Kind::rows && out.axis != axis) blocked(id, "mixes different rows");
  out.offset = from.offset;
  out.counts_past = out.kind == Kind::pairs && axis == out.past;
  return out;
}

Dependence RowDependence::slice(NodeId id) const {
  const Node& node = graph_.node(id);
  const Dim& start = node.attributes.dim("start");
  const Dim& extent = node.attributes.dim("extent");
  if (reads_table(id)) {
    if (node.attributes.integer("axis") != 0 || start.mentions(length_))
      blocked(id, "needs the number of rows");
    Dependence out;
    out.kind = Kind::rows;
    out.axis = 0;
    return out;
  }
  if (start.mentions(length_) || extent.mentions(length_)) blocked(id, "needs the number of rows");
  Dependence d = joined(id);
  const std::int64_t axis = node.attributes.integer("axis");
  const bool has_rows = d.kind == Kind::rows || d.kind == Kind::pairs;
  if (has_rows && (d.axis == axis || d.past == axis)) blocked(id, "runs over all rows");
  return d;
}

Dependence RowDependence::gather(NodeId id) const {
  const Node& node = graph_.node(id);
  const Dependence table = (*this)[node.operands[0]];
  const Dependence indices = (*this)[node.operands[1]];
  const std::int64_t batch = node.attributes.integer("batch");
  const bool has_rows = table.kind == Kind::rows || table.kind == Kind::pairs;
  if (has_rows && (table.axis >= batch || table.past >= batch)) blocked(id, "may read any row");
  if (has_rows && indices.kind == Kind::pairs) blocked(id, "mixes different rows");
  Dependence out = joined(id);
  out.range = {};
  out.offset.reset();
  return out;
}

Dependence RowDependence::pointwise(NodeId id) const {
  const Node& node = graph_.node(id);
  Dependence out = joined(id);
  std::vector<Dependence> operands;
  for (const Value v : node.operands) operands.push_back((*this)[v]);
  const Dependence known = pointwise_range(graph_, node, operands, out.kind == Kind::pairs);
  out.range = known.range;
  out.offset = known.offset;
  out.counts_past = known.counts_past;
  return out;
}

void RowDependence::scan(NodeId id) {
  const Node& node = graph_.node(id);
  const ScanView view(node);
  std::vector<Dependence>& out = of_[id];
  if (!steps(id)) {
    // A loop over something else, the same for all rows.
    const Dependence all = joined(id);
    if (all.kind == Kind::rows || all.kind == Kind::pairs)
      blocked(id, "is a loop over something else than the rows");
    Dependence same;
    same.kind = all.kind;
    std::fill(out.begin(), out.end(), same);
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
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].kind = i < view.carries ? Kind::last : Kind::rows;
    if (i >= view.carries) out[i].axis = 0;
  }
}

void RowDependence::visit(NodeId id) {
  const Node& node = graph_.node(id);
  const Attributes& at = node.attributes;
  Dependence& out = of_[id][0];
  for (const Region& region : node.regions)
    if (mentions_length(*region)) blocked(id, "needs the number of rows");
  switch (node.op) {
    case Op::input:
      out = by_type(node.types[0].dims);
      out.positional = false;
      if (out.kind == Kind::pairs) blocked(id, "is given for all rows at once");
      return;
    case Op::constant:
      out = by_type(node.types[0].dims);
      out.range = range_of_constant(node);
      return;
    case Op::iota:
      out = by_type(node.types[0].dims);
      if (out.kind != Kind::none &&
          (at.integer("axis") == out.axis || at.integer("axis") == out.past)) {
        out.offset = 0;
        out.counts_past = at.integer("axis") == out.past;
      }
      return;
    case Op::parameter:
    case Op::argument: return;
    case Op::dimension:
      if (at.dim("dim").mentions(length_)) blocked(id, "is the number of rows");
      return;
    case Op::matmul: out = matmul(id); return;
    case Op::transpose: {
      const Integers& permutation = at.integers("permutation");
      std::vector<std::int64_t> to(permutation.size());
      for (std::size_t i = 0; i < permutation.size(); ++i)
        to[static_cast<std::size_t>(permutation[i])] = static_cast<std::int64_t>(i);
      out = moved(id, joined(id), to);
      return;
    }
    case Op::reshape: out = reshape(id); return;
    case Op::broadcast: out = broadcast(id); return;
    case Op::slice: out = slice(id); return;
    case Op::pad:
    case Op::concat:
    case Op::reverse:
    case Op::softmax:
    case Op::log_softmax: out = across(id, joined(id)); return;
    case Op::reduce_sum:
    case Op::reduce_max:
    case Op::mean: out = reduced(id, joined(id), at.integers("axes")); return;
    case Op::argmax:
    case Op::logsumexp: out = reduced(id, joined(id), {at.integer("axis")}); return;
    case Op::gather: out = gather(id); return;
    case Op::one_hot:
      out = joined(id);
      out.range = {};
      out.offset.reset();
      return;
    case Op::scan: scan(id); return;
    default: break;
  }
  if (op_def(node.op).pointwise()) {
    out = pointwise(id);
    return;
  }
  out = joined(id);
  if (out.kind == Kind::rows || out.kind == Kind::pairs) blocked(id, "runs over all rows");
}

}  // namespace treadle
