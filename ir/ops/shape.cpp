// Ops that move elements without changing them.
#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Results = std::vector<Value>;

OpDef record(std::string_view doc, int operands, std::vector<AttributeSpec> attributes) {
  OpDef def;
  def.doc = doc;
  def.family = Family::shape;
  def.operands = operands;
  def.attributes = std::move(attributes);
  def.jvp = jvp_linear;
  def.flops = flops_none;
  return def;
}

std::size_t axis_of(const Node& node) {
  return static_cast<std::size_t>(node.attributes.integer("axis"));
}

// ---- transpose ----

Integers inverse(const Integers& permutation) {
  Integers out(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i)
    out[static_cast<std::size_t>(permutation[i])] = static_cast<std::int64_t>(i);
  return out;
}

std::vector<Type> infer_transpose(const InferContext& c) {
  const Integers& permutation = c.attributes.integers("permutation");
  const Type& x = c.operands[0];
  require_axes(permutation, x);
  if (permutation.size() != x.rank())
    fail("T0313", fmt::format("a permutation of {} axes does not fit: x is {}", permutation.size(),
                              to_string(x)));
  Type out{x.dtype, {}};
  for (const std::int64_t axis : permutation)
    out.dims.push_back(x.dims[static_cast<std::size_t>(axis)]);
  return {out};
}

void evaluate_transpose(EvaluateContext& c) {
  const std::vector<std::int64_t> from = strides_of(c.operands[0]->shape());
  std::vector<std::int64_t> strides;
  for (const std::int64_t axis : c.node.attributes.integers("permutation"))
    strides.push_back(from[static_cast<std::size_t>(axis)]);
  for_each_offset(c.results[0].shape(), strides, [&](std::int64_t linear, std::int64_t offset) {
    copy_element(c.results[0], linear, *c.operands[0], offset);
  });
}

// ---- reshape ----

std::vector<Type> infer_reshape(const InferContext& c) {
  const Type out{c.operands[0].dtype, c.attributes.dims("dims")};
  if (out.count() != c.operands[0].count())
    fail("T0315", fmt::format("the number of elements changes from {} to {}: x is {}, the result "
                              "would be {}",
                              c.operands[0].count().to_string(), out.count().to_string(),
                              to_string(c.operands[0]), to_string(out)));
  return {out};
}

void evaluate_copy(EvaluateContext& c) {
  for (std::int64_t i = 0; i < c.results[0].size(); ++i)
    copy_element(c.results[0], i, *c.operands[0], i);
}

// ---- broadcast ----

std::vector<Type> infer_broadcast(const InferContext& c) {
  const Type& x = c.operands[0];
  const Integers& axes = c.attributes.integers("axes");
  const Type out{x.dtype, c.attributes.dims("dims")};
  if (axes.size() != x.rank())
    fail("T0313", fmt::format("{} axes are given for {} dimensions: x is {}", axes.size(), x.rank(),
                              to_string(x)));
  require_axes(axes, out);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (i > 0 && axes[i] <= axes[i - 1])
      fail("T0314", fmt::format("axes must ascend: x is {}, the result is {}", to_string(x),
                                to_string(out)));
    if (out.dims[static_cast<std::size_t>(axes[i])] != x.dims[i])
      fail("T0310", fmt::format("shapes differ: x is {}, the result would be {}", to_string(x),
                                to_string(out)));
  }
  return {out};
}

void evaluate_broadcast(EvaluateContext& c) {
  const std::vector<std::int64_t> from = strides_of(c.operands[0]->shape());
  std::vector<std::int64_t> strides(c.results[0].shape().size(), 0);
  const Integers& axes = c.node.attributes.integers("axes");
  for (std::size_t i = 0; i < axes.size(); ++i)
    strides[static_cast<std::size_t>(axes[i])] = from[i];
  for_each_offset(c.results[0].shape(), strides, [&](std::int64_t linear, std::int64_t offset) {
    copy_element(c.results[0], linear, *c.operands[0], offset);
  });
}

std::vector<Value> batch_broadcast(BatchContext& c) {
  Integers axes = with_leading(c.node.attributes.integers("axes"));
  return {rebuild(c.b, c.node, c.operands,
                  {{"dims", c.with_batch(c.node.attributes.dims("dims"))}, {"axes", axes}})};
}

// ---- slice and pad ----

void refuse_negative(const Dim& dim, std::string_view what, const Type& x) {
  if (const auto value = dim.constant(); value && *value < 0)
    fail("T0316", fmt::format("{} is negative ({}): x is {}", what, *value, to_string(x)));
}

std::vector<Type> infer_slice(const InferContext& c) {
  const Type& x = c.operands[0];
  const std::int64_t axis = c.attributes.integer("axis");
  require_axis(axis, x);
  const Dim& start = c.attributes.dim("start");
  const Dim& extent = c.attributes.dim("extent");
  const Dim& dim = x.dims[static_cast<std::size_t>(axis)];
  refuse_negative(start, "the start", x);
  refuse_negative(extent, "the extent", x);
  if (const auto left = (dim - start - extent).constant(); left && *left < 0)
    fail("T0327",
         fmt::format("elements {} to {} are outside dimension {}: x is {}", start.to_string(),
                     (start + extent).to_string(), dim.to_string(), to_string(x)));
  Type out = x;
  out.dims[static_cast<std::size_t>(axis)] = extent;
  return {out};
}

void evaluate_slice(EvaluateContext& c) {
  const std::int64_t axis = c.node.attributes.integer("axis");
  const std::int64_t start = c.node.attributes.dim("start").evaluate(c.env);
  const AxisView from(c.operands[0]->shape(), axis);
  const AxisView to(c.results[0].shape(), axis);
  if (to.extent == 0) return;  // x[1:] of nothing is nothing
  if (start < 0 || start + to.extent > from.extent)
    throw_user_error("T0327",
                     fmt::format("[slice] elements {} to {} are outside a dimension of {}", start,
                                 start + to.extent, from.extent),
                     {}, c.node.location);
  for (std::int64_t o = 0; o < to.outer; ++o)
    for (std::int64_t e = 0; e < to.extent; ++e)
      for (std::int64_t i = 0; i < to.inner; ++i)
        copy_element(c.results[0], to.at(o, e, i), *c.operands[0], from.at(o, e + start, i));
}

std::vector<Type> infer_pad(const InferContext& c) {
  const Type& x = c.operands[0];
  const std::int64_t axis = c.attributes.integer("axis");
  require_axis(axis, x);
  require_number(c, 0);
  refuse_negative(c.attributes.dim("low"), "the padding in front", x);
  refuse_negative(c.attributes.dim("high"), "the padding behind", x);
  Type out = x;
  Dim& dim = out.dims[static_cast<std::size_t>(axis)];
  dim = c.attributes.dim("low") + dim + c.attributes.dim("high");
  return {out};
}

void evaluate_pad(EvaluateContext& c) {
  const std::int64_t axis = c.node.attributes.integer("axis");
  const std::int64_t low = c.node.attributes.dim("low").evaluate(c.env);
  const std::int64_t high = c.node.attributes.dim("high").evaluate(c.env);
  // Of nothing everything is padding: the gradient of x[1:] at length 0.
  if (c.operands[0]->size() == 0) return;
  if (low < 0 || high < 0)
    throw_user_error("T0316", fmt::format("[pad] negative padding: {} and {}", low, high), {},
                     c.node.location);
  const AxisView from(c.operands[0]->shape(), axis);
  const AxisView to(c.results[0].shape(), axis);
  for (std::int64_t o = 0; o < from.outer; ++o)
    for (std::int64_t e = 0; e < from.extent; ++e)
      for (std::int64_t i = 0; i < from.inner; ++i)
        copy_element(c.results[0], to.at(o, e + low, i), *c.operands[0], from.at(o, e, i));
}

// The one attribute of slice, pad, reverse and concat that names an axis moves.
std::vector<Value> batch_along_axis(BatchContext& c) {
  std::vector<Value> operands;
  for (std::size_t i = 0; i < c.operands.size(); ++i) operands.push_back(c.force(i));
  return {
      rebuild(c.b, c.node, std::move(operands), {{"axis", c.node.attributes.integer("axis") + 1}})};
}

// ---- concat ----

std::vector<Type> infer_concat(const InferContext& c) {
  if (c.operands.empty()) fail("T0313", "at least one operand is needed");
  const std::int64_t axis = c.attributes.integer("axis");
  Type out = c.operands[0];
  require_axis(axis, out);
  for (std::size_t i = 1; i < c.operands.size(); ++i) {
    const Type& part = c.operands[i];
    if (part.rank() != out.rank())
      fail("T0313", fmt::format("ranks differ: {}", describe(c.operands)));
    require_same_dtype(c, 0, i);
    if (without(part.dims, {axis}) != without(out.dims, {axis}))
      fail("T0310", fmt::format("shapes differ outside axis {}: {}", axis, describe(c.operands)));
    Dim& dim = out.dims[static_cast<std::size_t>(axis)];
    dim = dim + part.dims[static_cast<std::size_t>(axis)];
  }
  return {out};
}

void evaluate_concat(EvaluateContext& c) {
  const std::int64_t axis = c.node.attributes.integer("axis");
  const AxisView to(c.results[0].shape(), axis);
  std::int64_t first = 0;
  for (const Tensor* part : c.operands) {
    const AxisView from(part->shape(), axis);
    for (std::int64_t o = 0; o < from.outer; ++o)
      for (std::int64_t e = 0; e < from.extent; ++e)
        for (std::int64_t i = 0; i < from.inner; ++i)
          copy_element(c.results[0], to.at(o, first + e, i), *part, from.at(o, e, i));
    first += from.extent;
  }
}

std::vector<Value> vjp_concat(VjpContext& c) {
  const std::size_t axis = axis_of(c.node);
  Results out(c.operands.size());
  Dim start = 0;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    const Dim extent = c.b.type(c.operands[i]).dims[axis];
    if (c.needs[i]) out[i] = c.b.slice(c.dy(), static_cast<std::int64_t>(axis), start, extent);
    start = start + extent;
  }
  return out;
}

std::vector<Value> jvp_concat(JvpContext& c) {
  std::vector<Value> parts;
  bool any = false;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    any = any || c.tangents[i].valid();
    parts.push_back(c.tangents[i].valid() ? c.tangents[i] : zeros_like(c.b, c.operands[i]));
  }
  if (!any) return {Value{}};
  return {rebuild(c.b, c.node, std::move(parts))};
}

// ---- reverse ----

void evaluate_reverse(EvaluateContext& c) {
  const AxisView view(c.results[0].shape(), c.node.attributes.integer("axis"));
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t e = 0; e < view.extent; ++e)
      for (std::int64_t i = 0; i < view.inner; ++i)
        copy_element(c.results[0], view.at(o, e, i), *c.operands[0],
                     view.at(o, view.extent - 1 - e, i));
}

}  // namespace

template <>
OpDef make_op_def<Op::transpose>() {
  OpDef def = record("x with its dimensions in another order: dimension i is x's permutation[i]", 1,
                     {{"permutation", AttributeKind::integers}});
  def.infer = infer_transpose;
  def.evaluate = evaluate_transpose;
  def.vjp = [](VjpContext& c) {
    return Results{c.b.transpose(c.dy(), inverse(c.node.attributes.integers("permutation")))};
  };
  def.batch = [](BatchContext& c) {
    return Results{
        rebuild(c.b, c.node, c.operands,
                {{"permutation", with_leading(c.node.attributes.integers("permutation"))}})};
  };
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5})}, {{"permutation", Integers{1, 0}}}, {}},
                              {{probe({2, 3, 4, 5})}, {{"permutation", Integers{2, 0, 3, 1}}}, {}},
                              {{probe({})}, {{"permutation", Integers{}}}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::reshape>() {
  OpDef def = record("the same elements in row-major order under other dimensions", 1,
                     {{"dims", AttributeKind::dims}});
  def.infer = infer_reshape;
  def.evaluate = evaluate_copy;
  def.vjp = [](VjpContext& c) {
    return Results{c.b.reshape(c.dy(), Dims(c.b.type(c.operands[0]).dims))};
  };
  def.batch = [](BatchContext& c) {
    return Results{
        rebuild(c.b, c.node, c.operands, {{"dims", c.with_batch(c.node.attributes.dims("dims"))}})};
  };
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 4})}, {{"dims", Dims{2, 6}}}, {}},
                              {{probe({2, 3, 5})}, {{"dims", Dims{6, 5, 1}}}, {}},
                              {{probe({1, 1})}, {{"dims", Dims{}}}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::broadcast>() {
  OpDef def = record("x repeated: x's dimension i becomes dimension axes[i] of the result", 1,
                     {{"dims", AttributeKind::dims}, {"axes", AttributeKind::integers}});
  def.infer = infer_broadcast;
  def.evaluate = evaluate_broadcast;
  def.vjp = [](VjpContext& c) {
    const Integers repeated =
        complement(c.node.attributes.integers("axes"), c.node.types[0].rank());
    return Results{repeated.empty() ? c.dy() : c.b.reduce_sum(c.dy(), repeated)};
  };
  def.batch = batch_broadcast;
  def.probes = [] {
    return std::vector<Probe>{
        {{probe({5})}, {{"dims", Dims{3, 5}}, {"axes", Integers{1}}}, {}},
        {{probe({3})}, {{"dims", Dims{3, 5}}, {"axes", Integers{0}}}, {}},
        {{probe({})}, {{"dims", Dims{2, 3}}, {"axes", Integers{}}}, {}},
        {{probe({2, 5})}, {{"dims", Dims{4, 2, 3, 5}}, {"axes", Integers{1, 3}}}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::slice>() {
  OpDef def = record("the elements [start, start + extent) of an axis", 1,
                     {{"axis", AttributeKind::integer},
                      {"start", AttributeKind::dims},
                      {"extent", AttributeKind::dims}});
  def.infer = infer_slice;
  def.evaluate = evaluate_slice;
  def.vjp = [](VjpContext& c) {
    const Dim& start = c.node.attributes.dim("start");
    const Dim whole = c.b.type(c.operands[0]).dims[axis_of(c.node)];
    return Results{c.b.pad(c.dy(), c.node.attributes.integer("axis"), start,
                           whole - start - c.node.attributes.dim("extent"))};
  };
  def.batch = batch_along_axis;
  def.probes = [] {
    const auto at = [](std::int64_t axis, Dim start, Dim extent) {
      return Attributes{{"axis", axis}, {"start", Dims{start}}, {"extent", Dims{extent}}};
    };
    return std::vector<Probe>{{{probe({3, 5})}, at(1, 1, 3), {}},
                              {{probe({3, 5})}, at(0, 2, 1), {}},
                              {{probe({4})}, at(0, 4, 0), {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::pad>() {
  OpDef def = record("`low` zeros before and `high` zeros behind the elements of an axis", 1,
                     {{"axis", AttributeKind::integer},
                      {"low", AttributeKind::dims},
                      {"high", AttributeKind::dims}});
  def.infer = infer_pad;
  def.evaluate = evaluate_pad;
  def.vjp = [](VjpContext& c) {
    const Dim extent = c.b.type(c.operands[0]).dims[axis_of(c.node)];
    return Results{
        c.b.slice(c.dy(), c.node.attributes.integer("axis"), c.node.attributes.dim("low"), extent)};
  };
  def.batch = batch_along_axis;
  def.probes = [] {
    const auto with = [](std::int64_t axis, Dim low, Dim high) {
      return Attributes{{"axis", axis}, {"low", Dims{low}}, {"high", Dims{high}}};
    };
    return std::vector<Probe>{{{probe({3, 5})}, with(1, 2, 1), {}},
                              {{probe({3, 5})}, with(0, 0, 4), {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::concat>() {
  OpDef def = record("the operands one behind the other along an axis", -1,
                     {{"axis", AttributeKind::integer}});
  def.infer = infer_concat;
  def.evaluate = evaluate_concat;
  def.vjp = vjp_concat;
  def.jvp = jvp_concat;
  def.batch = batch_along_axis;
  def.probes = [] {
    return std::vector<Probe>{
        {{probe({3, 2}), probe({3, 4}), probe({3, 1})}, {{"axis", std::int64_t{1}}}, {}},
        {{probe({2, 3}), probe({0, 3})}, {{"axis", std::int64_t{0}}}, {}},
        {{probe({4})}, {{"axis", std::int64_t{0}}}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::reverse>() {
  OpDef def = record("x with the elements of an axis in reverse order", 1,
                     {{"axis", AttributeKind::integer}});
  def.infer = [](const InferContext& c) {
    require_axis(c.attributes.integer("axis"), c.operands[0]);
    return std::vector<Type>{c.operands[0]};
  };
  def.evaluate = evaluate_reverse;
  def.vjp = [](VjpContext& c) {
    return Results{c.b.reverse(c.dy(), c.node.attributes.integer("axis"))};
  };
  def.batch = batch_along_axis;
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5})}, {{"axis", std::int64_t{0}}}, {}},
                              {{probe({3, 5})}, {{"axis", std::int64_t{1}}}, {}}};
  };
  return def;
}

}  // namespace treadle
