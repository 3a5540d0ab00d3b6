// Reductions, and softmax with its relatives.
#include <cmath>
#include <limits>

#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Results = std::vector<Value>;

OpDef record(std::string_view doc, AttributeSpec attribute) {
  OpDef def;
  def.doc = doc;
  def.family = Family::reduce;
  def.operands = 1;
  def.attributes = {attribute};
  def.flops = flops_per_operand;
  return def;
}

Integers axes_of(const Node& node) { return node.attributes.integers("axes"); }
Integers axis_of(const Node& node) { return {node.attributes.integer("axis")}; }

// The operand's dims in `b`'s graph: after batching they differ from the node's.
Dims dims_of(const Builder& b, Value v) { return b.type(v).dims; }

// ---- type inference ----

std::vector<Type> infer_reduction(const InferContext& c) {
  const Type& x = c.operands[0];
  const Integers& axes = c.attributes.integers("axes");
  require_number(c, 0);
  require_axes(axes, x);
  return {{x.dtype, without(x.dims, axes)}};
}

std::vector<Type> infer_mean(const InferContext& c) {
  require_float(c, 0);
  return infer_reduction(c);
}

std::vector<Type> infer_along_axis(const InferContext& c) {
  require_float(c, 0);
  require_axis(c.attributes.integer("axis"), c.operands[0]);
  return {c.operands[0]};
}

std::vector<Type> infer_over_axis(const InferContext& c) {
  require_float(c, 0);
  const std::int64_t axis = c.attributes.integer("axis");
  require_axis(axis, c.operands[0]);
  return {{c.operands[0].dtype, without(c.operands[0].dims, {axis})}};
}

// ---- evaluation ----

// Calls function(result index, operand index); for each result the operand's
// elements come in row-major order.
template <typename Function>
void for_each_reduced(const EvaluateContext& c, const Integers& axes, Function&& function) {
  const Shape& shape = c.operands[0]->shape();
  const std::vector<std::int64_t> outer = strides_of(c.results[0].shape());
  std::vector<std::int64_t> strides(shape.size(), 0);
  std::size_t next = 0;
  for (const std::int64_t axis : complement(axes, shape.size()))
    strides[static_cast<std::size_t>(axis)] = outer[next++];
  for_each_offset(shape, strides,
                  [&](std::int64_t linear, std::int64_t offset) { function(offset, linear); });
}

void evaluate_integer_sum(EvaluateContext& c) {
  Tensor& out = c.results[0];
  for_each_reduced(c, axes_of(c.node), [&](std::int64_t to, std::int64_t from) {
    const auto sum = static_cast<std::uint64_t>(out.get_integer(to)) +
                     static_cast<std::uint64_t>(c.operands[0]->get_integer(from));
    out.set_integer(to, out.dtype() == DType::i32
                            ? static_cast<std::int32_t>(static_cast<std::uint32_t>(sum))
                            : static_cast<std::int64_t>(sum));
  });
}

// Sums in f64, rounded once.
std::vector<double> wide_sums(const EvaluateContext& c, const Integers& axes) {
  std::vector<double> sums(static_cast<std::size_t>(c.results[0].size()), 0.0);
  for_each_reduced(c, axes, [&](std::int64_t to, std::int64_t from) {
    sums[static_cast<std::size_t>(to)] += c.operands[0]->get(from);
  });
  return sums;
}

void evaluate_sum(EvaluateContext& c) {
  if (is_integer(c.results[0].dtype())) return evaluate_integer_sum(c);
  const std::vector<double> sums = wide_sums(c, axes_of(c.node));
  for (std::int64_t i = 0; i < c.results[0].size(); ++i)
    c.results[0].set(i, sums[static_cast<std::size_t>(i)]);
}

void evaluate_mean(EvaluateContext& c) {
  std::int64_t count = 1;
  for (const std::int64_t axis : axes_of(c.node))
    count *= c.operands[0]->shape()[static_cast<std::size_t>(axis)];
  const std::vector<double> sums = wide_sums(c, axes_of(c.node));
  for (std::int64_t i = 0; i < c.results[0].size(); ++i)
    c.results[0].set(
        i, count == 0 ? 0 : sums[static_cast<std::size_t>(i)] / static_cast<double>(count));
}

void evaluate_integer_max(EvaluateContext& c) {
  Tensor& out = c.results[0];
  const std::int64_t lowest = out.dtype() == DType::i32 ? std::numeric_limits<std::int32_t>::min()
                                                        : std::numeric_limits<std::int64_t>::min();
  for (std::int64_t i = 0; i < out.size(); ++i) out.set_integer(i, lowest);
  for_each_reduced(c, axes_of(c.node), [&](std::int64_t to, std::int64_t from) {
    out.set_integer(to, std::max(out.get_integer(to), c.operands[0]->get_integer(from)));
  });
}

void evaluate_max(EvaluateContext& c) {
  Tensor& out = c.results[0];
  if (is_integer(out.dtype())) return evaluate_integer_max(c);
  for (std::int64_t i = 0; i < out.size(); ++i)
    out.set(i, -std::numeric_limits<double>::infinity());
  for_each_reduced(c, axes_of(c.node), [&](std::int64_t to, std::int64_t from) {
    const double value = c.operands[0]->get(from);
    if (std::isnan(value) || value > out.get(to)) out.set(to, value);
  });
}

// A NaN counts as the largest of all, as its propagation through max says.
void evaluate_argmax(EvaluateContext& c) {
  const AxisView view(c.operands[0]->shape(), c.node.attributes.integer("axis"));
  const Tensor& x = *c.operands[0];
  for (std::int64_t o = 0; o < view.outer; ++o) {
    for (std::int64_t i = 0; i < view.inner; ++i) {
      std::int64_t best = 0;
      for (std::int64_t e = 1; e < view.extent; ++e) {
        const double top = x.get(view.at(o, best, i));
        const double value = x.get(view.at(o, e, i));
        if (value > top || (std::isnan(value) && !std::isnan(top))) best = e;
      }
      c.results[0].set_integer(o * view.inner + i, best);
    }
  }
}

// One row of a softmax: shifted by its maximum (by 0 when that is infinite).
struct Row {
  Row(const Tensor& x, const AxisView& view, std::int64_t o, std::int64_t i) {
    double top = -std::numeric_limits<double>::infinity();
    for (std::int64_t e = 0; e < view.extent; ++e) {
      const double value = x.get(view.at(o, e, i));
      if (std::isnan(value) || value > top) top = value;
    }
    if (std::isfinite(top)) shift = top;
    for (std::int64_t e = 0; e < view.extent; ++e) sum += std::exp(x.get(view.at(o, e, i)) - shift);
  }
  double logsumexp() const { return std::log(sum) + shift; }
  double shift = 0;
  double sum = 0;
};

void evaluate_logsumexp(EvaluateContext& c) {
  const AxisView view(c.operands[0]->shape(), c.node.attributes.integer("axis"));
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i)
      c.results[0].set(o * view.inner + i, Row(*c.operands[0], view, o, i).logsumexp());
}

template <typename Function>
void evaluate_rows(EvaluateContext& c, Function&& function) {
  const AxisView view(c.operands[0]->shape(), c.node.attributes.integer("axis"));
  for (std::int64_t o = 0; o < view.outer; ++o) {
    for (std::int64_t i = 0; i < view.inner; ++i) {
      const Row row(*c.operands[0], view, o, i);
      for (std::int64_t e = 0; e < view.extent; ++e) {
        const std::int64_t at = view.at(o, e, i);
        c.results[0].set(at, function(row, c.operands[0]->get(at)));
      }
    }
  }
}

void evaluate_softmax(EvaluateContext& c) {
  evaluate_rows(c, [](const Row& row, double x) {
    return row.sum == 0 ? 0 : std::exp(x - row.shift) / row.sum;
  });
}

void evaluate_log_softmax(EvaluateContext& c) {
  evaluate_rows(c, [](const Row& row, double x) {
    return x - row.shift - (row.sum == 0 ? 0 : std::log(row.sum));
  });
}

// ---- batching ----

std::vector<Value> batch_axes(BatchContext& c) {
  return {rebuild(c.b, c.node, c.operands, {{"axes", shifted(axes_of(c.node))}})};
}

std::vector<Value> batch_axis(BatchContext& c) {
  return {rebuild(c.b, c.node, c.operands, {{"axis", c.node.attributes.integer("axis") + 1}})};
}

// ---- parts of derivatives and decompositions ----

// x where it is finite, elsewhere 0.
Value finite_or_zero(Builder& b, Value x) {
  const Value zero = zeros_like(b, x);
  return b.select(b.is_finite(x), x, zero);
}

Value divide_by_count(Builder& b, Value v, const Dims& dims, const Integers& axes) {
  Dims reduced;
  for (const std::int64_t axis : axes) reduced.push_back(dims[static_cast<std::size_t>(axis)]);
  const Type type = b.type(v);
  return b.div(v, b.broadcast_scalar(count_of(b, reduced, type.dtype), type.dims));
}

// 1 where x has the maximum, divided among equals; `y` is reduce_max of x.
Value share_of_max(Builder& b, Value x, Value y, const Integers& axes) {
  const Dims dims = dims_of(b, x);
  const Value mask = b.cast(b.eq(x, spread(b, y, dims, axes)), b.type(x).dtype);
  return b.div(mask, spread(b, b.reduce_sum(mask, axes), dims, axes));
}

// softmax(x) from y = logsumexp(x); zero where nothing is above -inf.
Value weights_of(Builder& b, Value x, Value y, const Integers& axis) {
  return b.exp(b.sub(x, spread(b, finite_or_zero(b, y), dims_of(b, x), axis)));
}

// x - m and exp(x - m), m being the row's maximum, for decompositions.
struct Shifted {
  Value x, exponentials;
  Value sum, shift;  // without the axis
};
Shifted shifted_exponentials(Builder& b, Value x, const Integers& axis) {
  const Value shift = b.stop_gradient(finite_or_zero(b, b.reduce_max(x, axis)));
  const Value below = b.sub(x, spread(b, shift, dims_of(b, x), axis));
  const Value e = b.exp(below);
  return {below, e, b.reduce_sum(e, axis), shift};
}

// `sum`, but 1 where it is 0: a row of -inf.
Value one_if_zero(Builder& b, Value sum) {
  const Type type = b.type(sum);
  const Value one = b.constant(type, 1);
  return b.select(b.eq(sum, b.constant(type, 0)), one, sum);
}

// y * (t - sum(y * t)): the Jacobian of softmax, which is symmetric.
Value softmax_jacobian(Builder& b, Value y, Value t, const Integers& axis) {
  const Value inner = b.reduce_sum(b.mul(y, t), axis);
  return b.mul(y, b.sub(t, spread(b, inner, dims_of(b, y), axis)));
}

// ---- decompositions ----

std::vector<Value> decompose_mean(Builder& b, const Node& node, std::span<const Value> x) {
  return {divide_by_count(b, b.reduce_sum(x[0], axes_of(node)), dims_of(b, x[0]), axes_of(node))};
}

std::vector<Value> decompose_logsumexp(Builder& b, const Node& node, std::span<const Value> x) {
  const Shifted parts = shifted_exponentials(b, x[0], axis_of(node));
  return {b.add(b.log(parts.sum), parts.shift)};
}

std::vector<Value> decompose_softmax(Builder& b, const Node& node, std::span<const Value> x) {
  const Shifted parts = shifted_exponentials(b, x[0], axis_of(node));
  return {b.div(parts.exponentials,
                spread(b, one_if_zero(b, parts.sum), dims_of(b, x[0]), axis_of(node)))};
}

std::vector<Value> decompose_log_softmax(Builder& b, const Node& node, std::span<const Value> x) {
  const Shifted parts = shifted_exponentials(b, x[0], axis_of(node));
  const Value log_sum = b.log(one_if_zero(b, parts.sum));
  // In this order, x - m - log(sum) keeps its digits where it is nearly 0.
  return {b.sub(parts.x, spread(b, log_sum, dims_of(b, x[0]), axis_of(node)))};
}

// ---- probes ----

std::vector<Probe> probes_axes() {
  return {{{probe({3, 5})}, {{"axes", Integers{1}}}, {}},
          {{probe({3, 5})}, {{"axes", Integers{0}}}, {}},
          {{probe({2, 3, 4, 5})}, {{"axes", Integers{0, 2}}}, {}},
          {{probe({3, 0})}, {{"axes", Integers{1}}}, {}}};
}

std::vector<Probe> probes_axis() {
  return {{{probe({3, 5}, -3, 3)}, {{"axis", std::int64_t{1}}}, {}},
          {{probe({4, 3, 2}, -3, 3)}, {{"axis", std::int64_t{1}}}, {}},
          {{probe({7}, -20, 20)}, {{"axis", std::int64_t{0}}}, {}}};
}

}  // namespace

template <>
OpDef make_op_def<Op::reduce_sum>() {
  OpDef def = record("the sum over some axes, which disappear; over nothing 0",
                     {"axes", AttributeKind::integers});
  def.infer = infer_reduction;
  def.evaluate = evaluate_sum;
  def.vjp = [](VjpContext& c) {
    return Results{spread(c.b, c.dy(), dims_of(c.b, c.operands[0]), axes_of(c.node))};
  };
  def.jvp = jvp_linear;
  def.batch = batch_axes;
  def.probes = probes_axes;
  return def;
}

template <>
OpDef make_op_def<Op::reduce_max>() {
  OpDef def =
      record("the maximum over some axes; over nothing -inf; NaN wins; equals share the gradient",
             {"axes", AttributeKind::integers});
  def.infer = infer_reduction;
  def.evaluate = evaluate_max;
  def.vjp = [](VjpContext& c) {
    const Integers axes = axes_of(c.node);
    const Value dy = spread(c.b, c.dy(), dims_of(c.b, c.operands[0]), axes);
    return Results{c.b.mul(dy, share_of_max(c.b, c.operands[0], c.outputs[0], axes))};
  };
  def.jvp = [](JvpContext& c) {
    if (!c.tangents[0].valid()) return Results(1);
    const Integers axes = axes_of(c.node);
    const Value share = share_of_max(c.b, c.operands[0], c.outputs[0], axes);
    return Results{c.b.reduce_sum(c.b.mul(c.tangents[0], share), axes)};
  };
  def.batch = batch_axes;
  def.probes = probes_axes;
  return def;
}

template <>
OpDef make_op_def<Op::argmax>() {
  OpDef def = record("the index of the largest element of an axis, the first of equals (i32)",
                     {"axis", AttributeKind::integer});
  def.infer = [](const InferContext& c) {
    require_number(c, 0);
    const Integers axis{c.attributes.integer("axis")};
    require_axis(axis[0], c.operands[0]);
    return std::vector<Type>{{DType::i32, without(c.operands[0].dims, axis)}};
  };
  def.evaluate = evaluate_argmax;
  def.no_derivative = "the result is an index";
  def.batch = batch_axis;
  def.probes = [] {
    std::vector<Probe> out = probes_axis();
    out.push_back({{probe({3, 5}, 0, 2, DType::i32)}, {{"axis", std::int64_t{1}}}, {}});
    return out;
  };
  return def;
}

template <>
OpDef make_op_def<Op::mean>() {
  OpDef def = record("the arithmetic mean over some axes; over nothing 0",
                     {"axes", AttributeKind::integers});
  def.infer = infer_mean;
  def.evaluate = evaluate_mean;
  def.vjp = [](VjpContext& c) {
    const Integers axes = axes_of(c.node);
    const Dims dims = dims_of(c.b, c.operands[0]);
    return Results{spread(c.b, divide_by_count(c.b, c.dy(), dims, axes), dims, axes)};
  };
  def.jvp = jvp_linear;
  def.batch = batch_axes;
  def.decompose = decompose_mean;
  def.probes = probes_axes;
  return def;
}

template <>
OpDef make_op_def<Op::logsumexp>() {
  OpDef def = record("log(sum(exp(x))) over an axis, which disappears; over nothing -inf",
                     {"axis", AttributeKind::integer});
  def.infer = infer_over_axis;
  def.evaluate = evaluate_logsumexp;
  def.vjp = [](VjpContext& c) {
    const Integers axis = axis_of(c.node);
    const Value weights = weights_of(c.b, c.operands[0], c.outputs[0], axis);
    const Value dy = spread(c.b, c.dy(), dims_of(c.b, c.operands[0]), axis);
    return Results{c.b.mul(dy, weights)};
  };
  def.jvp = [](JvpContext& c) {
    if (!c.tangents[0].valid()) return Results(1);
    const Integers axis = axis_of(c.node);
    const Value weights = weights_of(c.b, c.operands[0], c.outputs[0], axis);
    return Results{c.b.reduce_sum(c.b.mul(c.tangents[0], weights), axis)};
  };
  def.batch = batch_axis;
  def.decompose = decompose_logsumexp;
  def.probes = [] {
    std::vector<Probe> out = probes_axis();
    out.push_back({{probe({3, 0})}, {{"axis", std::int64_t{1}}}, {}});
    return out;
  };
  return def;
}

template <>
OpDef make_op_def<Op::softmax>() {
  OpDef def = record("exp(x) / sum(exp(x)) along an axis; a row of -inf gives zeros",
                     {"axis", AttributeKind::integer});
  def.infer = infer_along_axis;
  def.evaluate = evaluate_softmax;
  def.vjp = [](VjpContext& c) {
    return Results{softmax_jacobian(c.b, c.outputs[0], c.dy(), axis_of(c.node))};
  };
  def.jvp = [](JvpContext& c) {
    if (!c.tangents[0].valid()) return Results(1);
    return Results{softmax_jacobian(c.b, c.outputs[0], c.tangents[0], axis_of(c.node))};
  };
  def.batch = batch_axis;
  def.decompose = decompose_softmax;
  def.probes = probes_axis;
  return def;
}

template <>
OpDef make_op_def<Op::log_softmax>() {
  OpDef def = record("x - logsumexp(x) along an axis; a row of -inf stays",
                     {"axis", AttributeKind::integer});
  def.infer = infer_along_axis;
  def.evaluate = evaluate_log_softmax;
  def.vjp = [](VjpContext& c) {
    const Integers axis = axis_of(c.node);
    const Dims dims = dims_of(c.b, c.operands[0]);
    const Value total = spread(c.b, c.b.reduce_sum(c.dy(), axis), dims, axis);
    return Results{c.b.sub(c.dy(), c.b.mul(c.b.exp(c.outputs[0]), total))};
  };
  def.jvp = [](JvpContext& c) {
    if (!c.tangents[0].valid()) return Results(1);
    const Integers axis = axis_of(c.node);
    const Value weighted = c.b.mul(c.b.exp(c.outputs[0]), c.tangents[0]);
    const Value total =
        spread(c.b, c.b.reduce_sum(weighted, axis), dims_of(c.b, c.operands[0]), axis);
    return Results{c.b.sub(c.tangents[0], total)};
  };
  def.batch = batch_axis;
  def.decompose = decompose_log_softmax;
  def.probes = probes_axis;
  return def;
}

}  // namespace treadle
