#include "passes/row_ranges.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "ir/scalar.h"

namespace treadle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

constexpr double largest = std::numeric_limits<double>::max();

Interval between(double low, double high) {
  return std::isnan(low) || std::isnan(high) ? Interval{} : Interval{low, high};
}

// What is not known is still finite, so that it disappears beside -inf.
double end_of_sum(double x, double y) {
  return std::isinf(x) || std::isinf(y) ? x + y : std::clamp(x + y, -largest, largest);
}
Interval sum(Interval x, Interval y) {
  return between(end_of_sum(x.low, y.low), end_of_sum(x.high, y.high));
}
Interval negated(Interval x) { return {-x.high, -x.low}; }

Interval product(Interval x, Interval y) {
  if (x.is(0) || y.is(0)) return {0, 0};
  const std::array<double, 4> ends{x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high};
  if (std::any_of(ends.begin(), ends.end(), [](double e) { return !std::isfinite(e); })) return {};
  return {*std::min_element(ends.begin(), ends.end()), *std::max_element(ends.begin(), ends.end())};
}

// x - y, two row numbers. Of pairs with s > t, t - s is at most -1.
Interval difference(const Dependence& x, const Dependence& y, bool later) {
  if (!x.offset || !y.offset) return sum(x.range, negated(y.range));
  const auto offset = static_cast<double>(*x.offset - *y.offset);
  if (x.counts_past == y.counts_past) return {offset, offset};
  if (!later) return {};
  return x.counts_past ? Interval{offset + 1, largest} : Interval{-largest, offset - 1};
}

// 1 where d is below zero (or at zero, with `or_equal`), 0 where it is not.
Interval below_zero(Interval d, bool or_equal) {
  if (d.high < 0 || (or_equal && d.high <= 0)) return {1, 1};
  if (d.low > 0 || (!or_equal && d.low >= 0)) return {0, 0};
  return {0, 1};
}

// The op on known numbers.
Interval computed(const Graph& graph, const Node& node, std::span<const Dependence> operands) {
  ScalarBuilder scalars;
  std::vector<Scalar> arguments;
  std::vector<Tensor> values;
  for (std::uint32_t i = 0; i < operands.size(); ++i) {
    const DType dtype = graph.type(node.operands[i]).dtype;
    arguments.push_back(scalars.argument(i, dtype));
    values.emplace_back(dtype, Shape{});
    if (is_float(dtype))
      values.back().set(0, operands[i].range.low);
    else
      values.back().set_integer(0, static_cast<std::int64_t>(operands[i].range.low));
  }
  const DType dtype = node.types[0].dtype;
  const ScalarProgram program = scalars.finish(op_def(node.op).scalar(scalars, arguments, dtype));
  Tensor result(dtype, {});
  std::vector<const std::byte*> data;
  for (const Tensor& value : values) data.push_back(value.data());
  const std::vector<std::int64_t> strides(data.size(), 0);
  run_scalar_program(program, 1, data, strides, result.data());
  const double value = is_float(dtype) ? result.get(0) : static_cast<double>(result.get_integer(0));
  return between(value, value);
}

Interval range_of(const Graph& graph, const Node& node, std::span<const Dependence> x, bool later) {
  const auto known = [](const Dependence& d) { return d.range.low == d.range.high; };
  if (!x.empty() && std::all_of(x.begin(), x.end(), known)) return computed(graph, node, x);
  switch (node.op) {
    case Op::neg: return negated(x[0].range);
    case Op::add: return sum(x[0].range, x[1].range);
    case Op::sub: return difference(x[0], x[1], later);
    case Op::mul: return product(x[0].range, x[1].range);
    case Op::minimum:
      return {std::min(x[0].range.low, x[1].range.low), std::min(x[0].range.high, x[1].range.high)};
    case Op::maximum:
      return {std::max(x[0].range.low, x[1].range.low), std::max(x[0].range.high, x[1].range.high)};
    case Op::lt: return below_zero(difference(x[0], x[1], later), false);
    case Op::le: return below_zero(difference(x[0], x[1], later), true);
    case Op::gt: return below_zero(difference(x[1], x[0], later), false);
    case Op::ge: return below_zero(difference(x[1], x[0], later), true);
    case Op::eq: {
      const Interval d = difference(x[0], x[1], later);
      return d.low > 0 || d.high < 0 ? Interval{0, 0} : Interval{0, 1};
    }
    case Op::ne: {
      const Interval d = difference(x[0], x[1], later);
      return d.low > 0 || d.high < 0 ? Interval{1, 1} : Interval{0, 1};
    }
    case Op::logical_and:
      return x[0].range.is(0) || x[1].range.is(0) ? Interval{0, 0} : Interval{0, 1};
    case Op::logical_or:
      return x[0].range.is(1) || x[1].range.is(1) ? Interval{1, 1} : Interval{0, 1};
    case Op::logical_not: return sum({1, 1}, negated(x[0].range));
    case Op::select:
      if (x[0].range.is(1)) return x[1].range;
      if (x[0].range.is(0)) return x[2].range;
      return {std::min(x[1].range.low, x[2].range.low), std::max(x[1].range.high, x[2].range.high)};
    case Op::stop_gradient: return x[0].range;
    case Op::cast:
      // To bool and to narrower numbers a cast may do more than round.
      if (node.types[0].dtype == DType::f64 || node.types[0].dtype == DType::i64) return x[0].range;
      return {};
    default: return {};
  }
}

bool whole(double x) { return std::isfinite(x) && x == std::floor(x) && std::abs(x) < 1e9; }

// t + offset stays a row number when whole numbers are added to it.
void keep_offset(const Node& node, std::span<const Dependence> x, Dependence& out) {
  const auto take = [&](const Dependence& from, double added) {
    if (!from.offset || !whole(added)) return;
    out.offset = *from.offset + static_cast<std::int64_t>(added);
    out.counts_past = from.counts_past;
  };
  const auto number = [](const Dependence& d) {
    return d.range.low == d.range.high ? d.range.low : infinity;
  };
  switch (node.op) {
    case Op::cast:
      if (node.types[0].dtype != DType::b1) take(x[0], 0);
      return;
    case Op::add:
      take(x[0], number(x[1]));
      if (!out.offset) take(x[1], number(x[0]));
      return;
    case Op::sub: take(x[0], -number(x[1])); return;
    case Op::stop_gradient: take(x[0], 0); return;
    default: return;
  }
}

}  // namespace

Dependence pointwise_range(const Graph& graph, const Node& node,
                           std::span<const Dependence> operands, bool later) {
  Dependence out;
  out.range = range_of(graph, node, operands, later);
  keep_offset(node, operands, out);
  return out;
}

}  // namespace treadle
