// Pointwise ops: elementary functions and activations.
#include <cmath>
#include <numbers>

#include "ir/ops/pointwise.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Args = std::span<const Scalar>;
using Results = std::vector<Value>;

OpDef function(std::string_view doc, ScalarRule scalar, VjpRule vjp) {
  OpDef def = pointwise_record(doc, 1, infer_float, scalar);
  def.vjp = vjp;
  def.jvp = jvp_pointwise;
  return def;
}

OpDef on_positive(OpDef def) {
  def.probes = probes_unary_positive;
  return def;
}

constexpr double inverse_sqrt_pi = std::numbers::inv_sqrtpi;

}  // namespace

template <>
OpDef make_op_def<Op::exp>() {
  return function(
      "e to the power x", [](ScalarBuilder&, Args x, DType) { return exp(x[0]); },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.outputs[0])}; });
}

template <>
OpDef make_op_def<Op::expm1>() {
  return function(
      "exp(x) - 1, exact near 0", [](ScalarBuilder&, Args x, DType) { return expm1(x[0]); },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.b.exp(c.operands[0]))}; });
}

template <>
OpDef make_op_def<Op::log>() {
  return on_positive(function(
      "the natural logarithm of x", [](ScalarBuilder&, Args x, DType) { return log(x[0]); },
      [](VjpContext& c) { return Results{c.b.div(c.dy(), c.operands[0])}; }));
}

template <>
OpDef make_op_def<Op::log1p>() {
  return on_positive(function(
      "log(1 + x), exact near 0", [](ScalarBuilder&, Args x, DType) { return log1p(x[0]); },
      [](VjpContext& c) { return Results{c.b.div(c.dy(), c.b.shift(c.operands[0], 1))}; }));
}

template <>
OpDef make_op_def<Op::sqrt>() {
  return on_positive(function(
      "the square root of x", [](ScalarBuilder&, Args x, DType) { return sqrt(x[0]); },
      [](VjpContext& c) { return Results{c.b.div(c.b.scale(c.dy(), 0.5), c.outputs[0])}; }));
}

template <>
OpDef make_op_def<Op::rsqrt>() {
  return on_positive(function(
      "1 / sqrt(x)", [](ScalarBuilder&, Args x, DType) { return 1.0 / sqrt(x[0]); },
      [](VjpContext& c) {
        const Value y = c.outputs[0];
        const Value cube = c.b.mul(y, c.b.square(y));
        return Results{c.b.mul(c.b.scale(c.dy(), -0.5), cube)};
      }));
}

template <>
OpDef make_op_def<Op::reciprocal>() {
  return on_positive(function(
      "1 / x", [](ScalarBuilder&, Args x, DType) { return 1.0 / x[0]; },
      [](VjpContext& c) { return Results{c.b.neg(c.b.mul(c.dy(), c.b.square(c.outputs[0])))}; }));
}

template <>
OpDef make_op_def<Op::square>() {
  OpDef def = function(
      "x * x", [](ScalarBuilder&, Args x, DType) { return x[0] * x[0]; },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.b.scale(c.operands[0], 2))}; });
  def.infer = infer_number;
  return def;
}

template <>
OpDef make_op_def<Op::sin>() {
  return function(
      "the sine of x", [](ScalarBuilder&, Args x, DType) { return sin(x[0]); },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.b.cos(c.operands[0]))}; });
}

template <>
OpDef make_op_def<Op::cos>() {
  return function(
      "the cosine of x", [](ScalarBuilder&, Args x, DType) { return cos(x[0]); },
      [](VjpContext& c) { return Results{c.b.neg(c.b.mul(c.dy(), c.b.sin(c.operands[0])))}; });
}

template <>
OpDef make_op_def<Op::erf>() {
  return function(
      "the error function of x", [](ScalarBuilder&, Args x, DType) { return erf(x[0]); },
      [](VjpContext& c) {
        const Value bell = c.b.exp(c.b.neg(c.b.square(c.operands[0])));
        return Results{c.b.mul(c.dy(), c.b.scale(bell, 2 * inverse_sqrt_pi))};
      });
}

template <>
OpDef make_op_def<Op::normal_cdf>() {
  return function(
      "the normal distribution's cumulative function at x, exact far below 0 too",
      [](ScalarBuilder&, Args x, DType) { return normal_cdf(x[0]); },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.b.normal_pdf(c.operands[0]))}; });
}

template <>
OpDef make_op_def<Op::normal_pdf>() {
  return function(
      "the normal distribution's density at x",
      [](ScalarBuilder&, Args x, DType) { return normal_pdf(x[0]); },
      [](VjpContext& c) {
        return Results{c.b.neg(c.b.mul(c.dy(), c.b.mul(c.operands[0], c.outputs[0])))};
      });
}

template <>
OpDef make_op_def<Op::sigmoid>() {
  return function(
      "1 / (1 + exp(-x))", [](ScalarBuilder&, Args x, DType) { return sigmoid(x[0]); },
      [](VjpContext& c) {
        const Value y = c.outputs[0];
        const Value slope = c.b.mul(y, c.b.shift(c.b.neg(y), 1));
        return Results{c.b.mul(c.dy(), slope)};
      });
}

template <>
OpDef make_op_def<Op::tanh>() {
  return function(
      "the hyperbolic tangent of x", [](ScalarBuilder&, Args x, DType) { return tanh(x[0]); },
      [](VjpContext& c) {
        const Value slope = c.b.shift(c.b.neg(c.b.square(c.outputs[0])), 1);
        return Results{c.b.mul(c.dy(), slope)};
      });
}

template <>
OpDef make_op_def<Op::relu>() {
  return function(
      "max(x, 0); its slope at 0 is 0, NaN stays",
      [](ScalarBuilder& s, Args x, DType t) { return maximum(x[0], s.constant(t, 0)); },
      [](VjpContext& c) {
        const Value zero = zeros_like(c.b, c.dy());
        return Results{c.b.select(c.b.gt(c.operands[0], zero), c.dy(), zero)};
      });
}

template <>
OpDef make_op_def<Op::gelu>() {
  return function(
      "x times the normal distribution's cumulative function at x (Hendrycks and Gimpel 2016)",
      [](ScalarBuilder&, Args x, DType) { return gelu(x[0]); },
      [](VjpContext& c) {
        const Value x = c.operands[0];
        const Value slope = c.b.add(c.b.normal_cdf(x), c.b.mul(x, c.b.normal_pdf(x)));
        return Results{c.b.mul(c.dy(), slope)};
      });
}

template <>
OpDef make_op_def<Op::silu>() {
  return function(
      "x * sigmoid(x)", [](ScalarBuilder&, Args x, DType) { return silu(x[0]); },
      [](VjpContext& c) {
        const Value x = c.operands[0];
        const Value s = c.b.sigmoid(x);
        const Value inner = c.b.shift(c.b.mul(x, c.b.shift(c.b.neg(s), 1)), 1);
        return Results{c.b.mul(c.dy(), c.b.mul(s, inner))};
      });
}

template <>
OpDef make_op_def<Op::softplus>() {
  return function(
      "log(1 + exp(x))", [](ScalarBuilder&, Args x, DType) { return softplus(x[0]); },
      [](VjpContext& c) { return Results{c.b.mul(c.dy(), c.b.sigmoid(c.operands[0]))}; });
}

template <>
OpDef make_op_def<Op::pow>() {
  OpDef def = pointwise_record(
      "x to the power y; the gradient for x is 0 where y is 0, that for y is 0 where x is 0", 2,
      infer_float, [](ScalarBuilder&, Args x, DType) { return pow(x[0], x[1]); });
  def.vjp = [](VjpContext& c) {
    Builder& b = c.b;
    const Value x = c.operands[0], y = c.operands[1];
    const Value zero = zeros_like(b, x);
    const Value one = b.constant(b.type(x), 1);
    Results out(2);
    if (c.needs[0]) {
      // An exponent of 1 in place of 0 keeps 0^(-1) out of all derivatives.
      const Value flat = b.eq(y, zero);
      const Value exponent = b.select(flat, one, y);
      const Value slope = b.mul(exponent, b.pow(x, b.shift(exponent, -1)));
      out[0] = b.mul(c.dy(), b.select(flat, zero, slope));
    }
    if (c.needs[1]) {
      const Value safe = b.select(b.eq(x, zero), one, x);
      out[1] = b.mul(c.dy(), b.mul(c.outputs[0], b.log(safe)));
    }
    return out;
  };
  def.jvp = jvp_pointwise;
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5}, 0.3, 2), probe({3, 5}, -2, 3)}, {}, {}},
                              {{probe({}, 0.5, 2), probe({}, 1, 3)}, {}, {}}};
  };
  return def;
}

}  // namespace treadle
