// Shape ops that undo or absorb one another.
#include <algorithm>

#include "passes/simplify_rules.h"

namespace treadle {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

bool known_non_negative(const Dim& dim) {
  const auto value = dim.constant();
  return value && *value >= 0;
}

bool counts_up(const Integers& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != static_cast<std::int64_t>(i)) return false;
  return true;
}

bool contains(const Integers& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

std::optional<Value> transpose_rule(Builder& b, const Node& node, Value x, const Node& inner) {
  const Integers& outer = node.attributes.integers("permutation");
  if (counts_up(outer)) return x;
  if (inner.op != Op::transpose) return {};
  const Integers& first = inner.attributes.integers("permutation");
  Integers both;
  for (const std::int64_t axis : outer) both.push_back(first[at(axis)]);
  return b.transpose(inner.operands[0], std::move(both));
}

std::optional<Value> broadcast_rule(Builder& b, const Node& node, Value x, const Node& inner) {
  const Integers& outer = node.attributes.integers("axes");
  if (outer.size() == node.types[0].rank()) return x;
  if (inner.op != Op::broadcast) return {};
  Integers both;
  for (const std::int64_t axis : inner.attributes.integers("axes")) both.push_back(outer[at(axis)]);
  return b.broadcast(inner.operands[0], node.types[0].dims, std::move(both));
}

// The part of the concatenation that holds elements [start, start + extent).
std::optional<Value> slice_of_concat(Builder& b, const Node& concat, std::int64_t axis,
                                     const Dim& start, const Dim& extent) {
  Dim begin(0);
  for (const Value part : concat.operands) {
    const Dim size = b.type(part).dims[at(axis)];
    if (start == begin && extent == size) return part;
    if (known_non_negative(start - begin) && known_non_negative(begin + size - start - extent))
      return b.slice(part, axis, start - begin, extent);
    begin = begin + size;
  }
  return {};
}

std::optional<Value> slice_rule(Builder& b, const Node& node, Value x, const Node inner) {
  const std::int64_t axis = node.attributes.integer("axis");
  const Dim& start = node.attributes.dim("start");
  const Dim& extent = node.attributes.dim("extent");
  if (start == Dim(0) && extent == b.type(x).dims[at(axis)]) return x;
  if (inner.op == Op::broadcast && !contains(inner.attributes.integers("axes"), axis))
    return b.broadcast(inner.operands[0], node.types[0].dims, inner.attributes.integers("axes"));
  const bool same_axis =
      inner.attributes.has("axis") && inner.attributes.integer("axis", -1) == axis;
  if (!same_axis) return {};
  if (inner.op == Op::slice)
    return b.slice(inner.operands[0], axis, inner.attributes.dim("start") + start, extent);
  if (inner.op == Op::concat) return slice_of_concat(b, inner, axis, start, extent);
  if (inner.op == Op::pad) {
    const Dim& low = inner.attributes.dim("low");
    const Dim size = b.type(inner.operands[0]).dims[at(axis)];
    if (start == low && extent == size) return inner.operands[0];
    if (known_non_negative(start - low) && known_non_negative(low + size - start - extent))
      return b.slice(inner.operands[0], axis, start - low, extent);
  }
  return {};
}

// concat(slice(x, 0, 2), slice(x, 2, 3)) = slice(x, 0, 5)
std::optional<Value> concat_rule(Builder& b, const Node& node, const std::vector<Value>& parts) {
  if (parts.size() == 1) return parts[0];
  const std::int64_t axis = node.attributes.integer("axis");
  const Node first = b.graph().node(parts[0].node);
  if (first.op != Op::slice || first.attributes.integer("axis") != axis) return {};
  const Dim start = first.attributes.dim("start");
  Dim end = start;
  for (const Value part : parts) {
    const Node& slice = b.graph().node(part.node);
    if (slice.op != Op::slice || slice.operands[0] != first.operands[0] ||
        slice.attributes.integer("axis") != axis || slice.attributes.dim("start") != end)
      return {};
    end = end + slice.attributes.dim("extent");
  }
  return b.slice(first.operands[0], axis, start, end - start);
}

// A sum of sums is one over the axes of both: a time loop adds up in one go then what
// it would sum over the batch at each step.
Value sum_of_sum(Builder& b, const Node& node, const Node& inner) {
  Integers both = inner.attributes.integers("axes"), left;
  const auto rank = static_cast<std::int64_t>(b.type(inner.operands[0]).rank());
  for (std::int64_t axis = 0; axis < rank; ++axis)
    if (!contains(both, axis)) left.push_back(axis);
  for (const std::int64_t axis : node.attributes.integers("axes")) both.push_back(left[at(axis)]);
  std::sort(both.begin(), both.end());
  return b.reduce_sum(inner.operands[0], std::move(both));
}

// Sums over extents that a broadcast made: x times their number.
std::optional<Value> sum_rule(Builder& b, const Node& node, Value x, const Node inner) {
  const Integers& axes = node.attributes.integers("axes");
  if (axes.empty()) return x;
  if (inner.op == Op::reduce_sum) return sum_of_sum(b, node, inner);
  const DType dtype = node.types[0].dtype;
  if (inner.op != Op::broadcast || (dtype != DType::f32 && dtype != DType::f64)) return {};
  const Integers& kept = inner.attributes.integers("axes");
  const Dims dims = b.type(x).dims;
  Dim count(1);
  for (const std::int64_t axis : axes) {
    if (contains(kept, axis)) return {};
    count = count * dims[at(axis)];
  }
  // A sum over nothing is 0 even where x is infinite.
  if (!count.constant() || *count.constant() < 1) return {};
  Integers moved;
  for (const std::int64_t axis : kept)
    moved.push_back(axis - std::count_if(axes.begin(), axes.end(),
                                         [axis](std::int64_t gone) { return gone < axis; }));
  const Value scaled = b.scale(inner.operands[0], static_cast<double>(*count.constant()));
  return b.broadcast(scaled, node.types[0].dims, std::move(moved));
}

// Do the windows lie side by side, with nothing left over?
bool tiles(const Node& node, const Type& windows, const Type& whole) {
  const std::size_t axis = at(node.attributes.integer("axis"));
  const Dim& size = windows.dims[axis + 1];
  return size == Dim(node.attributes.integer("stride")) &&
         (size == Dim(1) || node.attributes.integer("dilation") == 1) &&
         windows.dims[axis] * size == whole.dims[axis];
}

void leaves_of_sum(const Graph& graph, Value v, std::vector<Value>& leaves) {
  constexpr std::size_t limit = 64;
  const Node& node = graph.node(v.node);
  if (node.op != Op::add || leaves.size() > limit) {
    leaves.push_back(v);
    return;
  }
  for (const Value operand : node.operands) leaves_of_sum(graph, operand, leaves);
}

// add(pad(g1, low 0), pad(g2, low 2), ...) = pad(concat(g1, g2, ...)) when the
// ranges lie one behind the other: what the gradients of a split add up to.
std::optional<Value> sum_of_pads(Builder& b, Value left, Value right) {
  struct Part {
    Value value;
    Dim low, end, high;
  };
  std::vector<Value> leaves;
  leaves_of_sum(b.graph(), left, leaves);
  leaves_of_sum(b.graph(), right, leaves);
  std::vector<Part> parts;
  std::int64_t axis = -1;
  for (const Value leaf : leaves) {
    const Node& pad = b.graph().node(leaf.node);
    if (pad.op != Op::pad) return {};
    const std::int64_t own = pad.attributes.integer("axis");
    if (axis >= 0 && own != axis) return {};
    axis = own;
    const Dim& low = pad.attributes.dim("low");
    const Dim size = b.type(pad.operands[0]).dims[at(axis)];
    parts.push_back({pad.operands[0], low, low + size, pad.attributes.dim("high")});
  }
  // Each part's successor starts where it ends; the first is nobody's.
  std::vector<Part> chain;
  for (const Part& part : parts)
    if (std::none_of(parts.begin(), parts.end(),
                     [&](const Part& other) { return &other != &part && other.end == part.low; }))
      chain.push_back(part);
  if (chain.size() != 1) return {};
  while (chain.size() < parts.size()) {
    const Dim end = chain.back().end;
    std::vector<Part> next;
    for (const Part& part : parts)
      if (part.low == end && part.end != end) next.push_back(part);
    if (next.size() != 1) return {};
    chain.push_back(next[0]);
  }
  std::vector<Value> values;
  for (const Part& part : chain) values.push_back(part.value);
  const Value joined = b.concat(std::move(values), axis);
  const Dim low = chain.front().low, high = chain.back().high;
  if (low == Dim(0) && high == Dim(0)) return joined;
  return b.pad(joined, axis, low, high);
}

}  // namespace

std::optional<Value> simplify_shapes(Builder& b, const Node& node,
                                     const std::vector<Value>& operands) {
  if (node.op == Op::concat) return concat_rule(b, node, operands);
  if (node.op == Op::add) return sum_of_pads(b, operands[0], operands[1]);
  if (operands.size() != 1) return {};
  const Value x = operands[0];
  const Node inner = b.graph().node(x.node);  // a copy: the rules add nodes
  const Tensor* element = splat_element(b.graph(), x);
  switch (node.op) {
    case Op::transpose:
    case Op::reshape:
    case Op::broadcast:
    case Op::slice:
    case Op::reverse:
    case Op::windows:
      if (element != nullptr) return make_splat(b, Tensor(*element), node.types[0].dims);
      break;
    default: break;
  }
  switch (node.op) {
    case Op::transpose: return transpose_rule(b, node, x, inner);
    case Op::reshape:
      if (b.type(x) == node.types[0]) return x;
      if (inner.op == Op::reshape) return b.reshape(inner.operands[0], node.types[0].dims);
      return {};
    case Op::broadcast: return broadcast_rule(b, node, x, inner);
    case Op::slice: return slice_rule(b, node, x, inner);
    case Op::pad:
      if (node.attributes.dim("low") == Dim(0) && node.attributes.dim("high") == Dim(0)) return x;
      return {};
    case Op::reverse:
      if (inner.op == Op::reverse &&
          inner.attributes.integer("axis") == node.attributes.integer("axis"))
        return inner.operands[0];
      return {};
    case Op::windows:
    case Op::overlap_add:
      if (tiles(node, node.op == Op::windows ? node.types[0] : b.type(x),
                node.op == Op::windows ? b.type(x) : node.types[0]))
        return b.reshape(x, node.types[0].dims);
      return {};
    case Op::reduce_sum: return sum_rule(b, node, x, inner);
    default: return {};
  }
}

}  // namespace treadle
