// Pointwise ops: arithmetic, comparison, logic, selection, conversion.
#include "ir/ops/pointwise.h"

namespace treadle {
namespace ops {

namespace {

void require_one_type(const InferContext& c) {
  for (std::size_t i = 1; i < c.operands.size(); ++i) require_same_type(c, 0, i);
}

Type truth(const InferContext& c) { return c.operands[0].with_dtype(DType::b1); }

}  // namespace

std::vector<Type> infer_float(const InferContext& c) {
  require_float(c, 0);
  require_one_type(c);
  return {c.operands[0]};
}
std::vector<Type> infer_number(const InferContext& c) {
  require_number(c, 0);
  require_one_type(c);
  return {c.operands[0]};
}
std::vector<Type> infer_any(const InferContext& c) {
  require_one_type(c);
  return {c.operands[0]};
}
std::vector<Type> infer_order(const InferContext& c) {
  require_number(c, 0);
  require_one_type(c);
  return {truth(c)};
}
std::vector<Type> infer_equal(const InferContext& c) {
  require_one_type(c);
  return {truth(c)};
}
std::vector<Type> infer_logical(const InferContext& c) {
  if (c.operands[0].dtype != DType::b1)
    fail("T0311", fmt::format("truth values expected: {}", describe(c.operands)));
  require_one_type(c);
  return {c.operands[0]};
}

OpDef pointwise_record(std::string_view doc, int operands,
                       std::vector<Type> (*infer)(const InferContext&), ScalarRule scalar) {
  OpDef def;
  def.doc = doc;
  def.family = Family::pointwise;
  def.operands = operands;
  def.infer = infer;
  def.scalar = scalar;
  def.batch = batch_pointwise;
  def.flops = flops_per_result;
  if (operands == 1) def.probes = probes_unary;
  if (operands == 2) def.probes = probes_binary;
  return def;
}

std::vector<Probe> probes_unary() {
  return {{{probe({3, 5}, -2, 2)}, {}, {}}, {{probe({})}, {}, {}}, {{probe({0, 3})}, {}, {}}};
}
std::vector<Probe> probes_unary_positive() {
  return {{{probe({3, 5}, 0.2, 3)}, {}, {}}, {{probe({}, 0.5, 2)}, {}, {}}};
}
std::vector<Probe> probes_binary() {
  return {{{probe({3, 5}, -2, 2), probe({3, 5}, -2, 2)}, {}, {}}, {{probe({}), probe({})}, {}, {}}};
}
std::vector<Probe> probes_logical_unary() { return {{{probe({3, 5}, 0, 1, DType::b1)}, {}, {}}}; }
std::vector<Probe> probes_logical_binary() {
  return {{{probe({3, 5}, 0, 1, DType::b1), probe({3, 5}, 0, 1, DType::b1)}, {}, {}}};
}

namespace {

constexpr std::string_view truth_has_none = "the result is a truth value";

OpDef differentiable(OpDef def, VjpRule vjp) {
  def.vjp = vjp;
  def.jvp = jvp_pointwise;
  return def;
}

OpDef comparison(std::string_view doc, std::vector<Type> (*infer)(const InferContext&),
                 ScalarRule scalar) {
  OpDef def = pointwise_record(doc, 2, infer, scalar);
  def.no_derivative = truth_has_none;
  def.probes = [] {
    std::vector<Probe> out = probes_binary();
    // Small integers, so that some are equal.
    out.push_back({{probe({3, 5}, 0, 2, DType::i32), probe({3, 5}, 0, 2, DType::i32)}, {}, {}});
    return out;
  };
  return def;
}

// The gradient is zero wherever there is one.
std::vector<Value> vjp_zero(VjpContext& c) { return std::vector<Value>(c.operands.size()); }

// `dy` where the condition holds goes to operand 0, elsewhere to operand 1.
std::vector<Value> route(VjpContext& c, Value to_first) {
  const Value zero = zeros_like(c.b, c.dy());
  std::vector<Value> out(2);
  if (c.needs[0]) out[0] = c.b.select(to_first, c.dy(), zero);
  if (c.needs[1]) out[1] = c.b.select(to_first, zero, c.dy());
  return out;
}

std::vector<Value> jvp_cast(JvpContext& c) {
  const DType to = c.node.types[0].dtype;
  if (!c.tangents[0].valid() || !is_float(to)) return {Value{}};
  return {c.b.cast(c.tangents[0], to)};
}

using Args = std::span<const Scalar>;

}  // namespace
}  // namespace ops

using namespace ops;  // NOLINT: a family file of the op records

template <>
OpDef make_op_def<Op::neg>() {
  return differentiable(
      pointwise_record("-x", 1, infer_number, [](ScalarBuilder&, Args x, DType) { return -x[0]; }),
      [](VjpContext& c) { return std::vector<Value>{c.b.neg(c.dy())}; });
}

template <>
OpDef make_op_def<Op::abs>() {
  return differentiable(
      pointwise_record("the absolute value of x; its slope at 0 is taken as 0", 1, infer_number,
                       [](ScalarBuilder&, Args x, DType) { return abs(x[0]); }),
      [](VjpContext& c) { return std::vector<Value>{c.b.mul(c.dy(), c.b.sign(c.operands[0]))}; });
}

template <>
OpDef make_op_def<Op::sign>() {
  return differentiable(
      pointwise_record("-1, 0 or 1 by the sign of x; NaN stays", 1, infer_number,
                       [](ScalarBuilder& s, Args x, DType t) {
                         const Scalar zero = s.constant(t, 0);
                         const Scalar below = s.select(less(x[0], zero), s.constant(t, -1), x[0]);
                         return s.select(less(zero, x[0]), s.constant(t, 1), below);
                       }),
      vjp_zero);
}

template <>
OpDef make_op_def<Op::floor>() {
  return differentiable(
      pointwise_record("the largest whole number that is not above x", 1, infer_float,
                       [](ScalarBuilder&, Args x, DType) { return floor(x[0]); }),
      vjp_zero);
}

template <>
OpDef make_op_def<Op::logical_not>() {
  OpDef def = pointwise_record("not x", 1, infer_logical, [](ScalarBuilder& s, Args x, DType) {
    return s.unary(ScalarOp::logical_not, x[0]);
  });
  def.no_derivative = truth_has_none;
  def.probes = probes_logical_unary;
  return def;
}

template <>
OpDef make_op_def<Op::is_finite>() {
  OpDef def = pointwise_record(
      "whether x is neither infinite nor NaN", 1,
      [](const InferContext& c) {
        require_float(c, 0);
        return std::vector<Type>{truth(c)};
      },
      [](ScalarBuilder& s, Args x, DType) { return s.unary(ScalarOp::is_finite, x[0]); });
  def.no_derivative = truth_has_none;
  return def;
}

template <>
OpDef make_op_def<Op::add>() {
  return differentiable(pointwise_record("x + y", 2, infer_number,
                                         [](ScalarBuilder&, Args x, DType) { return x[0] + x[1]; }),
                        [](VjpContext& c) {
                          return std::vector<Value>{c.dy(), c.dy()};
                        });
}

template <>
OpDef make_op_def<Op::sub>() {
  return differentiable(pointwise_record("x - y", 2, infer_number,
                                         [](ScalarBuilder&, Args x, DType) { return x[0] - x[1]; }),
                        [](VjpContext& c) {
                          return std::vector<Value>{c.dy(), c.needs[1] ? c.b.neg(c.dy()) : Value{}};
                        });
}

template <>
OpDef make_op_def<Op::mul>() {
  return differentiable(pointwise_record("x * y", 2, infer_number,
                                         [](ScalarBuilder&, Args x, DType) { return x[0] * x[1]; }),
                        [](VjpContext& c) {
                          return std::vector<Value>{
                              c.needs[0] ? c.b.mul(c.dy(), c.operands[1]) : Value{},
                              c.needs[1] ? c.b.mul(c.dy(), c.operands[0]) : Value{}};
                        });
}

template <>
OpDef make_op_def<Op::div>() {
  OpDef def = differentiable(
      pointwise_record("x / y; of integers: towards zero, and 0 where y is 0", 2, infer_number,
                       [](ScalarBuilder&, Args x, DType) { return x[0] / x[1]; }),
      [](VjpContext& c) {
        const Value dx = c.b.div(c.dy(), c.operands[1]);
        return std::vector<Value>{dx, c.needs[1] ? c.b.neg(c.b.mul(dx, c.outputs[0])) : Value{}};
      });
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5}, -2, 2), probe({3, 5}, 0.5, 2)}, {}, {}},
                              {{probe({}), probe({}, -2, -0.5)}, {}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::minimum>() {
  return differentiable(
      pointwise_record("the smaller of x and y; NaN if either is; of equals, the gradient is x's",
                       2, infer_number,
                       [](ScalarBuilder&, Args x, DType) { return minimum(x[0], x[1]); }),
      [](VjpContext& c) { return route(c, c.b.le(c.operands[0], c.operands[1])); });
}

template <>
OpDef make_op_def<Op::maximum>() {
  return differentiable(
      pointwise_record("the larger of x and y; NaN if either is; of equals, the gradient is x's", 2,
                       infer_number,
                       [](ScalarBuilder&, Args x, DType) { return maximum(x[0], x[1]); }),
      [](VjpContext& c) { return route(c, c.b.ge(c.operands[0], c.operands[1])); });
}

template <>
OpDef make_op_def<Op::lt>() {
  return comparison("x < y", infer_order,
                    [](ScalarBuilder&, Args x, DType) { return less(x[0], x[1]); });
}
template <>
OpDef make_op_def<Op::le>() {
  return comparison("x <= y", infer_order,
                    [](ScalarBuilder&, Args x, DType) { return less_equal(x[0], x[1]); });
}
template <>
OpDef make_op_def<Op::gt>() {
  return comparison("x > y", infer_order,
                    [](ScalarBuilder&, Args x, DType) { return less(x[1], x[0]); });
}
template <>
OpDef make_op_def<Op::ge>() {
  return comparison("x >= y", infer_order,
                    [](ScalarBuilder&, Args x, DType) { return less_equal(x[1], x[0]); });
}
template <>
OpDef make_op_def<Op::eq>() {
  return comparison("x == y", infer_equal,
                    [](ScalarBuilder&, Args x, DType) { return equal(x[0], x[1]); });
}
template <>
OpDef make_op_def<Op::ne>() {
  return comparison("x != y; true if either is NaN", infer_equal,
                    [](ScalarBuilder& s, Args x, DType) {
                      return s.unary(ScalarOp::logical_not, equal(x[0], x[1]));
                    });
}

template <>
OpDef make_op_def<Op::logical_and>() {
  OpDef def = pointwise_record("x and y", 2, infer_logical, [](ScalarBuilder& s, Args x, DType) {
    return s.binary(ScalarOp::logical_and, x[0], x[1]);
  });
  def.no_derivative = truth_has_none;
  def.probes = probes_logical_binary;
  return def;
}

template <>
OpDef make_op_def<Op::logical_or>() {
  OpDef def = pointwise_record("x or y", 2, infer_logical, [](ScalarBuilder& s, Args x, DType) {
    return s.binary(ScalarOp::logical_or, x[0], x[1]);
  });
  def.no_derivative = truth_has_none;
  def.probes = probes_logical_binary;
  return def;
}

template <>
OpDef make_op_def<Op::select>() {
  OpDef def = differentiable(
      pointwise_record(
          "y where x holds, z elsewhere", 3,
          [](const InferContext& c) {
            if (c.operands[0].dtype != DType::b1)
              fail("T0311", fmt::format("the condition must be bool: {}", describe(c.operands)));
            if (c.operands[0].dims != c.operands[1].dims)
              fail("T0310", fmt::format("shapes differ: {}", describe(c.operands)));
            require_same_type(c, 1, 2);
            return std::vector<Type>{c.operands[1]};
          },
          [](ScalarBuilder& s, Args x, DType) { return s.select(x[0], x[1], x[2]); }),
      [](VjpContext& c) {
        const Value zero = zeros_like(c.b, c.dy());
        std::vector<Value> out(3);
        if (c.needs[1]) out[1] = c.b.select(c.operands[0], c.dy(), zero);
        if (c.needs[2]) out[2] = c.b.select(c.operands[0], zero, c.dy());
        return out;
      });
  def.probes = [] {
    return std::vector<Probe>{
        {{probe({3, 5}, 0, 1, DType::b1), probe({3, 5}), probe({3, 5})}, {}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::cast>() {
  OpDef def = pointwise_record(
      "x as another element type: float to integer truncates and saturates, bool is 0 or 1", 1,
      [](const InferContext& c) {
        return std::vector<Type>{c.operands[0].with_dtype(c.attributes.dtype("dtype"))};
      },
      [](ScalarBuilder& s, Args x, DType out) { return s.cast(x[0], out); });
  def.attributes = {{"dtype", AttributeKind::dtype}};
  def.vjp = [](VjpContext& c) {
    const DType from = c.b.type(c.operands[0]).dtype;
    const bool flows = is_float(from) && is_float(c.node.types[0].dtype);
    return std::vector<Value>{flows ? c.b.cast(c.dy(), from) : Value{}};
  };
  def.jvp = jvp_cast;
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5}, -2, 2)}, {{"dtype", DType::f64}}, {}},
                              {{probe({3, 5}, -3, 3)}, {{"dtype", DType::i32}}, {}},
                              {{probe({3, 5}, 0, 1, DType::b1)}, {{"dtype", DType::f32}}, {}},
                              {{probe({3, 5}, -9, 9, DType::i64)}, {{"dtype", DType::f32}}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::stop_gradient>() {
  OpDef def = pointwise_record("x, of which no gradient is taken", 1, infer_any,
                               [](ScalarBuilder&, Args x, DType) { return x[0]; });
  def.no_derivative = "that is its purpose";
  def.flops = flops_none;
  return def;
}

}  // namespace treadle
