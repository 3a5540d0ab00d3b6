// Operators: numbers, dims and tensors under one type.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

using namespace syntax;

TensorValue GraphMaker::constant(const Type& type, double value) {
  return tensor(b().constant(type, value));
}

TensorValue GraphMaker::to_tensor(const Any& x, DType dtype, const SourceRange& range) {
  if (const auto* value = x.as<TensorValue>()) return *value;
  if (const auto* number = x.as<NumberValue>()) return constant({dtype, {}}, number->value);
  if (const auto* fill = x.as<FillValue>()) return constant({dtype, {}}, fill->value);
  if (const auto* flag = x.as<BoolValue>()) return constant({DType::b1, {}}, flag->value ? 1 : 0);
  if (const auto* dim = x.as<DimValue>()) {
    if (const auto value = dim->dim.constant())
      return constant({dtype, {}}, static_cast<double>(*value));
    return tensor(b().dimension(dim->dim, dtype));
  }
  if (x.is_poison()) throw Failure{};
  fail("T0346", range, fmt::format("a tensor is expected here, this is {}", show(x)));
}

TensorValue GraphMaker::broadcast_to(const TensorValue& x, const Dims& dims,
                                     const std::vector<Origin>& origins) {
  if (x.type.dims == dims) return x;
  Integers axes;
  for (std::size_t i = 0; i < x.type.rank(); ++i)
    axes.push_back(static_cast<std::int64_t>(dims.size() - x.type.rank() + i));
  TensorValue out = tensor(b().broadcast(use(x), dims, axes));
  out.origins = origins;
  return out;
}

std::pair<TensorValue, TensorValue> GraphMaker::align(const Any& a, const Any& b,
                                                      std::string_view what,
                                                      const SourceRange& range,
                                                      const SourceRange& a_range,
                                                      const SourceRange& b_range) {
  const auto* right = b.as<TensorValue>();
  TensorValue x = to_tensor(a, right ? right->type.dtype : options_.real, a_range);
  TensorValue y = to_tensor(b, x.type.dtype, b_range);
  const auto label = [&] {
    return fmt::format("{}: {}   {}: {}", source_text(a_range), show_type(x), source_text(b_range),
                       show_type(y));
  };
  if (x.type.dtype != y.type.dtype)
    fail("T0311", range, fmt::format("element types differ in '{}'", what), label(),
         {"cast one of them: real(x)"});
  const bool x_wider = x.type.rank() >= y.type.rank();
  const TensorValue& wide = x_wider ? x : y;
  const TensorValue& narrow = x_wider ? y : x;
  const std::size_t shift = wide.type.rank() - narrow.type.rank();
  for (std::size_t i = 0; i < narrow.type.rank(); ++i) {
    const Dim &n = narrow.type.dims[i], &w = wide.type.dims[shift + i];
    if (n == w) continue;
    std::vector<std::string> hints = dim_notes({&x, &y});
    const bool one_a_row = shift > 0 && std::equal(narrow.type.dims.begin(), narrow.type.dims.end(),
                                                   wide.type.dims.begin());
    if (one_a_row || n == Dim(1) || w == Dim(1))
      hints.push_back(
          "the smaller operand is repeated over leading dimensions only; spread(y, N) repeats it "
          "along a new last one");
    fail("T0310", range, fmt::format("dimensions differ in '{}'", what), label(), std::move(hints));
  }
  const Dims dims = wide.type.dims;
  const std::vector<Origin> origins = wide.origins;
  const LocationScope location(this->b(), range);
  return {broadcast_to(x, dims, origins), broadcast_to(y, dims, origins)};
}

TensorValue GraphMaker::pointwise(Op op, const std::vector<TensorValue>& operands) {
  std::vector<Value> values;
  for (const TensorValue& x : operands) values.push_back(use(x));
  TensorValue out = tensor(b().add_node(op, std::move(values)));
  out.origins = operands.back().origins;
  return out;
}

std::optional<double> number_of(const Any& x) {
  if (const auto* number = x.as<NumberValue>()) return number->value;
  if (const auto* dim = x.as<DimValue>())
    if (const auto value = dim->dim.constant()) return static_cast<double>(*value);
  return std::nullopt;
}

namespace {

std::optional<double> compute(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::subtract: return a - b;
    case BinaryOp::multiply: return a * b;
    case BinaryOp::divide: return a / b;
    case BinaryOp::modulo: return a - b * std::floor(a / b);
    case BinaryOp::power: return std::pow(a, b);
    default: return std::nullopt;
  }
}

std::optional<Dim> compute(BinaryOp op, const Dim& a, const Dim& b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::subtract: return a - b;
    case BinaryOp::multiply: return a * b;
    case BinaryOp::divide: return a.exact_div(b);
    default: return std::nullopt;
  }
}

std::optional<bool> compare(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::equal: return a == b;
    case BinaryOp::not_equal: return a != b;
    case BinaryOp::less: return a < b;
    case BinaryOp::less_equal: return a <= b;
    case BinaryOp::greater: return a > b;
    case BinaryOp::greater_equal: return a >= b;
    default: return std::nullopt;
  }
}

std::optional<Op> tensor_op(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return Op::add;
    case BinaryOp::subtract: return Op::sub;
    case BinaryOp::multiply: return Op::mul;
    case BinaryOp::divide: return Op::div;
    case BinaryOp::power: return Op::pow;
    case BinaryOp::equal: return Op::eq;
    case BinaryOp::not_equal: return Op::ne;
    case BinaryOp::less: return Op::lt;
    case BinaryOp::less_equal: return Op::le;
    case BinaryOp::greater: return Op::gt;
    case BinaryOp::greater_equal: return Op::ge;
    case BinaryOp::logical_and: return Op::logical_and;
    case BinaryOp::logical_or: return Op::logical_or;
    default: return std::nullopt;
  }
}

}  // namespace

Any GraphMaker::binary(BinaryOp op, const Any& a, const Any& b, const Binary& at,
                       const SourceRange& range) {
  if (a.is_poison() || b.is_poison()) throw Failure{};
  if ((a.as<NoneValue>() || b.as<NoneValue>()) &&
      (op == BinaryOp::equal || op == BinaryOp::not_equal)) {
    const bool both = a.as<NoneValue>() && b.as<NoneValue>();
    return {BoolValue{both == (op == BinaryOp::equal)}};
  }
  if (const auto* x = a.as<BoolValue>(), *y = b.as<BoolValue>(); x && y) {
    if (op == BinaryOp::logical_and) return {BoolValue{x->value && y->value}};
    if (op == BinaryOp::logical_or) return {BoolValue{x->value || y->value}};
  }
  if (const auto* x = a.as<DimValue>(), *y = b.as<DimValue>(); x && y)
    if (const auto dim = compute(op, x->dim, y->dim)) return {DimValue{*dim}};
  if (const auto x = number_of(a), y = number_of(b); x && y) {
    if (const auto number = compute(op, *x, *y)) return {NumberValue{*number}};
    if (const auto truth = compare(op, *x, *y)) return {BoolValue{*truth}};
  }
  if (op == BinaryOp::matmul)
    return {matmul(to_tensor(a, options_.real, at.left->range),
                   to_tensor(b, options_.real, at.right->range), at, range)};
  const auto code = tensor_op(op);
  if (!code)
    fail("T0347", range,
         fmt::format("'{}' is not defined between {} and {}", to_string(op), show(a), show(b)));
  const auto [x, y] = align(a, b, to_string(op), range, at.left->range, at.right->range);
  return guarded(range, [&, x = x, y = y]() -> Any { return {pointwise(*code, {x, y})}; });
}

Any GraphMaker::unary_minus(const Any& x, const SourceRange& range) {
  if (const auto* number = x.as<NumberValue>()) return {NumberValue{-number->value}};
  if (const auto* dim = x.as<DimValue>()) return {DimValue{Dim(0) - dim->dim}};
  const TensorValue value = to_tensor(x, options_.real, range);
  return guarded(range, [&]() -> Any { return {pointwise(Op::neg, {value})}; });
}

// The last axis of a meets the last but one of b (its only one, for a vector);
// further leading axes are shared when both have them.
TensorValue GraphMaker::matmul(const TensorValue& a, const TensorValue& b, const Binary& at,
                               const SourceRange& range) {
  const auto label = [&] {
    return fmt::format("{}: {}   {}: {}", source_text(at.left->range), show_type(a),
                       source_text(at.right->range), show_type(b));
  };
  const std::size_t m = a.type.rank(), n = b.type.rank();
  if (m == 0 || n == 0)
    fail("T0316", range, "'@' multiplies vectors and matrices, not numbers", label(),
         {"use * for numbers"});
  const std::size_t inner = n == 1 ? 0 : n - 2;
  if (a.type.dims[m - 1] != b.type.dims[inner])
    fail("T0312", range, "inner dimensions differ in '@'", label(), dim_notes({&a, &b}));
  Integers batch;
  if (n > 2) {
    for (std::size_t i = 0; i < n - 2; ++i) {
      if (m < n - 1 || a.type.dims[i] != b.type.dims[i])
        fail("T0313", range, "leading dimensions differ in '@'", label(), dim_notes({&a, &b}));
      batch.push_back(static_cast<std::int64_t>(i));
    }
  }
  return guarded(range, [&] {
    TensorValue out = tensor(this->b().matmul(use(a), use(b), {static_cast<std::int64_t>(m) - 1},
                                              {static_cast<std::int64_t>(inner)}, batch, batch));
    if (a.origins.size() == m && b.origins.size() == n) {
      out.origins.assign(a.origins.begin(), a.origins.end() - 1);
      if (n > 1) out.origins.push_back(b.origins.back());
    }
    return out;
  });
}

}  // namespace treadle::elaboration
