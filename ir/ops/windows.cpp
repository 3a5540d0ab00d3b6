// Sliding windows over an axis, and their transpose.
#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Results = std::vector<Value>;

// How many windows fit.
Dim window_count(const Dim& extent, const Dim& size, std::int64_t stride, std::int64_t dilation) {
  const Dim last = extent - (size - Dim(1)) * Dim(dilation) - Dim(1);
  return (last.floor_div(stride) + Dim(1)).at_least(0);
}

struct Step {
  explicit Step(const Attributes& attributes)
      : axis(attributes.integer("axis")),
        stride(attributes.integer("stride")),
        dilation(attributes.integer("dilation")) {}
  std::int64_t axis, stride, dilation;
};

void require_step(const Step& step) {
  if (step.stride < 1 || step.dilation < 1)
    fail("T0316", fmt::format("stride and dilation are at least 1, here {} and {}", step.stride,
                              step.dilation));
}

std::vector<Type> infer_windows(const InferContext& c) {
  const Step step(c.attributes);
  Type out = c.operands[0];
  require_axis(step.axis, out);
  require_step(step);
  const Dim& size = c.attributes.dim("size");
  if (const auto value = size.constant(); value && *value < 1)
    fail("T0316", fmt::format("windows of {} elements: x is {}", *value, to_string(out)));
  const auto at = out.dims.begin() + step.axis;
  *at = window_count(*at, size, step.stride, step.dilation);
  out.dims.insert(at + 1, size);
  return {out};
}

std::vector<Type> infer_overlap_add(const InferContext& c) {
  const Step step(c.attributes);
  const Type& x = c.operands[0];
  require_number(c, 0);
  require_axis(step.axis, x);
  require_axis(step.axis + 1, x);
  require_step(step);
  const auto axis = static_cast<std::size_t>(step.axis);
  const Dim& extent = c.attributes.dim("extent");
  const Dim count = window_count(extent, x.dims[axis + 1], step.stride, step.dilation);
  if (count != x.dims[axis])
    fail("T0310", fmt::format("{} elements have {} such windows: x is {}", extent.to_string(),
                              count.to_string(), to_string(x)));
  Type out = x;
  out.dims.erase(out.dims.begin() + step.axis);
  out.dims[axis] = extent;
  return {out};
}

// Calls function(element of the windows, element of what they slide over).
template <typename Function>
void for_each_element(const Shape& windows, const Shape& whole, const Step& step,
                      Function&& function) {
  const AxisView from(whole, step.axis);
  const std::int64_t count = windows[static_cast<std::size_t>(step.axis)];
  const std::int64_t size = windows[static_cast<std::size_t>(step.axis) + 1];
  std::int64_t next = 0;
  for (std::int64_t o = 0; o < from.outer; ++o)
    for (std::int64_t w = 0; w < count; ++w)
      for (std::int64_t k = 0; k < size; ++k)
        for (std::int64_t i = 0; i < from.inner; ++i)
          function(next++, from.at(o, w * step.stride + k * step.dilation, i));
}

void evaluate_windows(EvaluateContext& c) {
  for_each_element(c.results[0].shape(), c.operands[0]->shape(), Step(c.node.attributes),
                   [&](std::int64_t to, std::int64_t from) {
                     copy_element(c.results[0], to, *c.operands[0], from);
                   });
}

void evaluate_overlap_add(EvaluateContext& c) {
  const Tensor& x = *c.operands[0];
  Tensor& out = c.results[0];
  const bool floats = is_float(out.dtype());
  for_each_element(x.shape(), out.shape(), Step(c.node.attributes),
                   [&](std::int64_t from, std::int64_t to) {
                     if (floats)
                       out.set(to, out.get(to) + x.get(from));
                     else
                       out.set_integer(to, out.get_integer(to) + x.get_integer(from));
                   });
}

std::vector<Value> batch_step(BatchContext& c) {
  return {rebuild(c.b, c.node, {c.force(0)}, {{"axis", c.node.attributes.integer("axis") + 1}})};
}

OpDef record(std::string_view doc) {
  OpDef def;
  def.doc = doc;
  def.family = Family::shape;
  def.operands = 1;
  def.jvp = jvp_linear;
  def.batch = batch_step;
  return def;
}

Attributes attributes(std::int64_t axis, std::string name, Dim dim, std::int64_t stride,
                      std::int64_t dilation) {
  return {{"axis", axis},
          {std::move(name), Dims{std::move(dim)}},
          {"stride", stride},
          {"dilation", dilation}};
}

}  // namespace

template <>
OpDef make_op_def<Op::windows>() {
  OpDef def =
      record("an axis becomes two: element k of window i is element i * stride + k * dilation");
  def.attributes = {{"axis", AttributeKind::integer},
                    {"size", AttributeKind::dims},
                    {"stride", AttributeKind::integer},
                    {"dilation", AttributeKind::integer}};
  def.infer = infer_windows;
  def.evaluate = evaluate_windows;
  def.vjp = [](VjpContext& c) {
    const Step step(c.node.attributes);
    const Dim extent = c.b.type(c.operands[0]).dims[static_cast<std::size_t>(step.axis)];
    return Results{c.b.overlap_add(c.dy(), step.axis, extent, step.stride, step.dilation)};
  };
  def.flops = flops_none;
  // Windows that overlap, that leave elements out, that lie wider than the
  // axis, and that are the axis.
  def.probes = [] {
    const auto with = [](std::int64_t axis, Dim size, std::int64_t stride, std::int64_t dilation) {
      return attributes(axis, "size", std::move(size), stride, dilation);
    };
    return std::vector<Probe>{
        {{probe({7})}, with(0, 3, 1, 1), {}},       {{probe({9, 5})}, with(0, 3, 2, 2), {}},
        {{probe({2, 8, 3})}, with(1, 2, 3, 1), {}}, {{probe({3, 6})}, with(1, 4, 1, 1), {}},
        {{probe({3, 20})}, with(1, 3, 2, 3), {}},   {{probe({2, 5})}, with(1, 3, 1, 4), {}},
        {{probe({4, 3})}, with(0, 4, 5, 1), {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::overlap_add>() {
  OpDef def = record("windows added up where they lie in an axis of `extent` elements");
  def.attributes = {{"axis", AttributeKind::integer},
                    {"extent", AttributeKind::dims},
                    {"stride", AttributeKind::integer},
                    {"dilation", AttributeKind::integer}};
  def.infer = infer_overlap_add;
  def.evaluate = evaluate_overlap_add;
  def.vjp = [](VjpContext& c) {
    const Step step(c.node.attributes);
    const Dim size = c.b.type(c.operands[0]).dims[static_cast<std::size_t>(step.axis) + 1];
    return Results{c.b.windows(c.dy(), step.axis, size, step.stride, step.dilation)};
  };
  def.flops = flops_per_operand;
  def.probes = [] {
    const auto with = [](std::int64_t axis, Dim extent, std::int64_t stride,
                         std::int64_t dilation) {
      return attributes(axis, "extent", std::move(extent), stride, dilation);
    };
    return std::vector<Probe>{
        {{probe({5, 3})}, with(0, 7, 1, 1), {}},       {{probe({3, 3, 5})}, with(0, 9, 2, 2), {}},
        {{probe({2, 3, 2, 3})}, with(1, 8, 3, 1), {}}, {{probe({3, 3, 4})}, with(1, 6, 1, 1), {}},
        {{probe({3, 7, 3})}, with(1, 20, 2, 3), {}},   {{probe({2, 0, 3})}, with(1, 5, 1, 4), {}},
        {{probe({1, 4, 3})}, with(0, 4, 5, 1), {}}};
  };
  return def;
}

}  // namespace treadle
