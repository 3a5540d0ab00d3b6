// Functions of one argument in f32 and f64.
//
// The polynomials for exp, expm1, log, sin, cos and erf are Norbert Juffa's
// minimax approximations for single precision; the reductions follow Cody and
// Waite, "Software Manual for the Elementary Functions" (1980).
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include <limits>
#include <numbers>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/trigonometric_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/diagnostic.h"

namespace treadle {

namespace {

using llvm::Value;

class SingleEmitter : public FloatEmitter {
 public:
  SingleEmitter(llvm::IRBuilderBase& builder, const Target& target)
      : FloatEmitter(builder, target), has_scale_(target.vector_bytes == 64) {}

  // x - n ln 2. The high part of ln 2 has trailing zeros: n times it is exact even
  // without a fused multiply-add.
  Value* remainder(Value* x, Value* n) { return fma(n, -1.42860677e-6, fma(n, -0.693145752, x)); }

  // x = n ln 2 + r with |r| <= ln 2 / 2.
  struct Reduced {
    Rounded n;
    Value* r;
  };
  Reduced reduce(Value* x) {
    const Rounded n = round(x, 1.44269502);
    return {n, remainder(x, n.real)};
  }

  // As above, with 2^(n + up) from the same sum: the number that is added to
  // round ends in the exponent's bias, so that its low bits are the exponent.
  struct Scaled {
    Value* n;  // as a float
    Value* scale;
  };
  Scaled round_to_scale(Value* x, double log2e, int up) {
    const double magic = 12582912 + 127 + up;
    Value* sum = fma(x, log2e, real(x, magic));
    Value* scale = from_bits(b.CreateShl(bits(sum), integer(bits(sum), 23)), x);
    return {sub(sum, magic), scale};
  }

  // exp(r), |r| <= ln 2 / 2.
  Value* exp_polynomial(Value* r) {
    return polynomial(
        r, {1.37805939e-3, 8.37312452e-3, 4.16695364e-2, 1.66664720e-1, 4.99999851e-1, 1.0, 1.0});
  }

  // exp(r) - 1 with a small relative error, |r| <= ln 2 / 2.
  Value* expm1_polynomial(Value* r) {
    Value* tail = polynomial(r, {1.97350979e-4, 1.39309070e-3, 8.33343994e-3, 4.16668020e-2,
                                 1.66666716e-1, 4.99999970e-1});
    return fma(mul(r, r), tail, r);
  }

  // n = low + high: two scales, since 2^n itself may be no normal number.
  struct Scales {
    Value* low;
    Value* high;
  };
  Scales halves(Value* n) {
    Value* half = b.CreateAShr(n, integer(n, 1));
    return {half, b.CreateSub(n, half)};
  }

  // x * 2^n, rounded once. With AVX-512 that is one instruction (VSCALEFPS) in place of nine.
  Value* scaled(Value* x, const Rounded& n) {
    auto* type = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
    constexpr unsigned lanes = 16;
    if (!has_scale_ || type == nullptr || type->getNumElements() % lanes != 0) {
      const Scales scales = halves(n.integer);
      return mul(mul(x, power_of_two(scales.low, x)), power_of_two(scales.high, x));
    }
    Value* out = llvm::PoisonValue::get(type);
    auto* part = llvm::FixedVectorType::get(type->getElementType(), lanes);
    for (unsigned i = 0; i < type->getNumElements(); i += lanes) {
      Value* at = b.getInt64(i);
      Value* y = b.CreateIntrinsic(
          llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {},
          {b.CreateExtractVector(part, x, at), b.CreateExtractVector(part, n.real, at),
           llvm::PoisonValue::get(part), b.getInt16(0xFFFF), b.getInt32(4)});  // as MXCSR has it
      out = b.CreateInsertVector(type, out, y, at);
    }
    return out;
  }

  Value* exp(Value* x) {
    const Reduced reduced = reduce(at_least(at_most(x, 90), -105));
    return scaled(exp_polynomial(reduced.r), reduced.n);
  }

  // For x <= 88. The bound is that of the least exponent, of which the scale is 0.
  Value* exp_of_difference(Value* x) {
    Value* bounded = at_least(x, -88);
    const Scaled n = round_to_scale(bounded, 1.44269502, 0);
    return mul(exp_polynomial(remainder(bounded, n.n)), n.scale);
  }

  Value* expm1(Value* x) {
    const Reduced reduced = reduce(at_least(at_most(x, 89), -25));
    // With half of 2^n, which stays finite where the result is.
    Value* half = power_of_two(b.CreateSub(reduced.n.integer, integer(reduced.n.integer, 1)), x);
    Value* sum = fma(half, expm1_polynomial(reduced.r), sub(half, 0.5));
    return select(less(abs(x), 1e-8), x, add(sum, sum));
  }

  // 1 + exp(-x), exp(-x) = 2^n (1 + q), times 2^-32: 2^n has a normal number wherever
  // 1 / (1 + exp(-x)) is not 0 or 1, and results below the smallest normal number come out
  // right. Of the three terms 2^n q + 1 + 2^n the first two are added first: where 2^n is
  // large, 1 would be lost beside it.
  Value* one_and_exp(Value* x) {
    Value* bounded = at_least(at_most(x, 60), -110);
    const Scaled n = round_to_scale(bounded, -1.44269502, -32);
    Value* r = remainder(b.CreateFNeg(bounded), n.n);
    Value* tail =
        polynomial(r, {1.38131444e-3, 8.36941885e-3, 4.16684568e-2, 1.66665148e-1, 4.99999931e-1});
    Value* q = fma(mul(r, r), tail, r);
    return add(fma(n.scale, q, real(x, 0x1p-32)), n.scale);
  }

  // 1.9991 ulp at most, where 1 + q + 1 is a little above 2.
  Value* sigmoid(Value* x) { return div(real(x, 0x1p-32), one_and_exp(x)); }

  // x / (1 + exp(-x)), of which nothing is left below -110. 1.9981 ulp at most.
  Value* silu(Value* x) {
    Value* scaled_x = mul(at_least(x, -110), 0x1p-32);
    return select(less(abs(x), 0x1p-60), mul(x, 0.5), div(scaled_x, one_and_exp(x)));
  }

  // With t = exp(-2 |x|): tanh |x| = (1 - t) / (1 + t) = z - z v, where
  // z = (1 - t) / 2, v = -z / ((1 + t) / 2): what the division loses counts for a
  // quarter in the end. t = 2^n (1 + 2 q) with q = expm1(2 r) / 2, -|x| = n ln 2 / 2
  // + r: one constant for ln 2 will do, since t is small where n is not. 1.93 ulp at
  // most; never above 1.
  Value* tanh(Value* x) {
    Value* sign = b.CreateAnd(bits(x), integer(bits(x), std::int64_t{1} << 31));
    Value* magnitude = b.CreateFNeg(abs(x));
    magnitude = at_least(magnitude, -10);
    const Scaled n = round_to_scale(magnitude, 2.88539008, 0);
    Value* r = fma(n.n, -0.34657359, magnitude);
    // expm1(2 r) = 2 (r + r^2 times this), minimax of the relative error.
    Value* tail =
        polynomial(r, {4.44239919e-2, 1.33866349e-1, 3.33337631e-1, 6.66661707e-1, 9.99999963e-1});
    Value* q = fma(mul(r, r), tail, r);
    Value* half = real(x, 0.5);
    Value* z = fma(n.scale, q, fma(n.scale, half, real(x, -0.5)));
    Value* v = div(z, fma(n.scale, q, fma(n.scale, half, half)));
    Value* result = fma(z, v, b.CreateFNeg(z));
    return from_bits(b.CreateOr(bits(result), sign), x);
  }

  // log(1 + f), plus n ln 2; |f| <= 1/3.
  Value* log_polynomial(Value* f, Value* n) {
    Value* s = mul(f, f);
    Value* r = polynomial(s, {-0.130310059, -0.121483512, -0.166846126, -0.249996200});
    Value* t = polynomial(s, {0.140869141, 0.139814854, 0.200120345});
    r = fma(t, f, r);
    r = fma(r, f, 0.333331972);
    r = fma(r, f, -0.5);
    r = fma(r, s, f);
    return fma(n, 0.693147182, r);
  }

  // x = 2^n (1 + f), -1/3 <= f < 1/3, for a normal x.
  struct Mantissa {
    Value* exponent;  // 2^n's bits relative to those of 1, n << 23
    Value* f;
  };
  Mantissa split(Value* x) {
    Value* i = bits(x);
    Value* exponent = b.CreateAnd(b.CreateSub(i, integer(i, 0x3f2aaaab)), integer(i, ~0x7fffff));
    Value* m = from_bits(b.CreateSub(i, exponent), x);
    return {exponent, sub(m, 1)};
  }
  Value* exponent_value(const Mantissa& m, Value* like) {
    return b.CreateSIToFP(b.CreateAShr(m.exponent, integer(m.exponent, 23)), like->getType());
  }

  // `result`, but for an argument of the logarithm that is 0, negative,
  // infinite or NaN.
  Value* log_limits(Value* argument, Value* result) {
    const double infinity = std::numeric_limits<double>::infinity();
    Value* nan = llvm::ConstantFP::getNaN(argument->getType());
    result = select(less(argument, infinity), result, argument);  // infinity, NaN
    result = select(equal(argument, 0), real(argument, -infinity), result);
    return select(less(argument, 0), nan, result);
  }

  Value* log(Value* x) {
    Value* tiny = less(x, 0x1p-126);
    const Mantissa m = split(select(tiny, mul(x, 0x1p23), x));
    Value* n = exponent_value(m, x);
    n = select(tiny, sub(n, 23), n);
    return log_limits(x, log_polynomial(m.f, n));
  }

  // log(u + error), error small beside u >= 0, brought into the reduced argument.
  Value* log_with_error(Value* u, Value* error) {
    const Mantissa m = split(u);
    // 2^-n, or 0 where the error no longer matters and 2^-n is no normal number.
    Value* scale = from_bits(b.CreateSub(bits(real(u, 1)), m.exponent), u);
    scale = select(less(u, 0x1p60), scale, real(u, 0));
    return log_polynomial(fma(error, scale, m.f), exponent_value(m, u));
  }

  // log(u) where u = 1 + x rounded, with the rounding error (Knuth's two-sum).
  Value* log1p(Value* x) {
    Value* one = real(x, 1);
    Value* u = add(x, 1);
    Value* x_part = sub(u, 1);
    Value* error = add(sub(one, sub(u, x_part)), sub(x, x_part));
    Value* result = log_limits(u, log_with_error(u, error));
    return select(less(abs(x), 1e-8), x, result);  // keeps -0 and the smallest numbers
  }

  // max(x, 0) + log(1 + t), t = exp(-|x|) = 2^n (1 + q) as two numbers: what rounding 1 + q and
  // 1 + t loses is brought back into the logarithm's argument. 1.65 ulp at most.
  Value* softplus(Value* x) {
    Value* magnitude = b.CreateFNeg(abs(x));
    const Reduced reduced = reduce(at_least(magnitude, -105));
    Value* q = expm1_polynomial(reduced.r);
    Value *one = real(x, 1), *high = add(q, one);
    Value* t = scaled(high, reduced.n);
    // Where it counts 2^n is a normal number.
    Value* low = mul(sub(q, sub(high, one)), power_of_two(reduced.n.integer, x));
    Value* u = add(t, one);
    Value* sum = log_with_error(u, add(sub(t, sub(u, one)), low));
    return add(at_least(x, 0), select(less(t, 1e-8), t, sum));
  }

  Value* erf(Value* x) {
    Value* t = abs(x);
    Value* s = mul(x, x);
    Value* r = fma(t, -1.72853470e-5, real(x, 3.83197126e-4));
    Value* u = fma(t, -3.88396438e-3, real(x, 2.42546219e-2));
    r = fma(r, s, u);
    r = fma(r, t, -1.06777877e-1);
    r = fma(r, t, -6.34846687e-1);
    r = fma(r, t, -1.28717512e-1);
    r = fma(r, t, b.CreateFNeg(t));
    // erf = 1 - exp(r). Where r falls below the bound, also to minus infinity, the
    // result has long been 1; nor does one constant for ln 2 change it.
    Value* bounded = at_least(r, -80);
    const Scaled n = round_to_scale(bounded, 1.44269502, 0);
    Value* tail = exp_polynomial(fma(n.n, -0.693147182, bounded));
    Value* far = copysign(fma(tail, b.CreateFNeg(n.scale), real(x, 1)), x);
    Value* p = polynomial(s, {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1,
                              -3.76125336e-1, 1.28379166e-1});
    return select(greater(t, 0.927734375), far, fma(p, x, x));
  }

  // x^2 - high where high is x^2 rounded: what that lost.
  Value* lost_by_square(Value* x, Value* high) {
    if (has_fma()) return fma(x, x, b.CreateFNeg(high));
    Value* upper = from_bits(b.CreateAnd(bits(x), integer(bits(x), ~0xfff)), x);
    Value* lower = sub(x, upper);
    Value* cross = mul(add(upper, upper), lower);
    return add(add(sub(mul(upper, upper), high), cross), mul(lower, lower));
  }

  // |x|, no more than where the density is long 0.
  Value* normal_magnitude(Value* x) { return at_most(abs(x), 14.5); }

  // exp(-x^2 / 2) / sqrt(2 pi) = 2^n value, value = peak + tail r, with x^2 = r - 2 n ln 2, in
  // which what x^2 lost by rounding is part of r. Of r a minimax polynomial of the relative error
  // (least squares with Lawson's weights, the coefficients rounded one by one); n is 32 more, so
  // that all of these are normal numbers.
  struct Density {
    Value *r, *tail, *value, *exponent;
  };
  static constexpr double peak = 0.398942292;
  Density density(Value* magnitude) {
    Value* square = mul(magnitude, magnitude);
    constexpr double magic = 12582912 + 32;
    Value* sum = fma(square, -0.721347520, real(magnitude, magic));
    Value* n = sub(sum, magic);
    // The constants are twice those of remainder().
    Value* r = fma(n, 2.85721353e-6, fma(n, 1.38629150, square));
    r = add(r, lost_by_square(magnitude, square));
    Value* tail = polynomial(r, {8.60335058e-6, -1.04332008e-4, 1.03896076e-3, -8.3112251e-3,
                                 4.9867779e-2, -0.199471146});
    // A NaN, which is more than any sum as an integer, gets 0 added to its exponent.
    constexpr std::int64_t above_all_sums = 0x4b400200;
    Value* low = b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, bits(sum),
                                         integer(bits(sum), above_all_sums));
    Value* value = fma(tail, r, real(magnitude, peak));
    return {r, tail, value, b.CreateShl(low, integer(low, 23))};
  }
  // 2^n x by adding n to x's exponent, x being a normal number that remains one. `scale` takes
  // back the 32 by which n is more, and what x is.
  Value* times_power(Value* x, const Density& d, double scale = 0x1p-32) {
    return mul(from_bits(b.CreateAdd(bits(x), d.exponent), x), scale);
  }

  // 1.29 ulp at most on all floats.
  Value* normal_pdf(Value* x) {
    const Density d = density(normal_magnitude(x));
    return times_power(d.value, d);
  }

  // The density at x times Mills' ratio at a = |x|, which is the distribution below -a, as
  // 2^n (value + lost). Nothing cancels, so that far below 0 as many digits are right. Mills'
  // ratio is 1 / (a + N / D) with N / D about 1 / (a + 2 / (a + ...)): minimax of the ratio's
  // relative error, found in the same way, 0.5 exactly at 0. D and N are scaled so that rounding
  // them loses least where it counts, at small a; what the sums a D + N and peak + tail r, the
  // quotient and their product lose is found by fused multiply-adds.
  struct Below {
    Value *a, *value, *lost;  // without fused multiply-add `lost` is null
    Density density;
  };
  Below distribution_below(Value* x) {
    Value* a = normal_magnitude(x);
    Value* d =
        polynomial(a, {1.39691103, 15.4393492, 83.4192886, 263.013336, 481.507782, 419.746704});
    Value* n = polynomial(a, {1.39691103, 15.4395638, 80.6400757, 231.659927, 334.909424});
    const Density of_x = density(a);
    Value* high = of_x.value;
    Value* sum = fma(a, d, n);
    if (!has_fma()) return {a, div(mul(high, d), sum), nullptr, of_x};
    Value* low = fma(of_x.tail, of_x.r, sub(real(x, peak), high));
    Value* one_of_sum = div(real(x, 1), sum);
    Value* ratio = mul(d, one_of_sum);
    Value* minus = b.CreateFNeg(ratio);
    Value* rest = fma(minus, fma(a, d, sub(n, sum)), fma(minus, sum, d));
    Value* product = mul(ratio, high);
    Value* lost = fma(ratio, low, fma(ratio, high, b.CreateFNeg(product)));
    lost = fma(mul(rest, one_of_sum), high, lost);
    Value* value = add(product, lost);
    return {a, value, sub(lost, sub(value, product)), of_x};
  }

  // For x >= 0 it is that from 1. 1.96 ulp at most on all floats, without fused multiply-add 4.
  Value* normal_cdf(Value* x) {
    const Below below = distribution_below(x);
    // By the sign's bits, not by a comparison, which takes a multiplication's time.
    Value* positive = b.CreateNot(b.CreateAShr(bits(x), integer(bits(x), 31)));
    Value* step = from_bits(b.CreateAnd(positive, bits(real(x, 1))), x);
    return abs(sub(step, times_power(below.value, below.density)));
  }

  // x times that: max(x, 0) less a times what is below -a. 2^26 keeps a normal, and 2^n of 0
  // is less than what rounds to 0. 1.91 ulp at most, without fused multiply-add 5.
  Value* gelu(Value* x) {
    const Below below = distribution_below(x);
    Value* a = mul(below.a, 0x1p26);
    Value* product =
        below.lost == nullptr ? mul(a, below.value) : fma(a, below.value, mul(a, below.lost));
    return sub(at_least(x, 0), times_power(product, below.density, 0x1p-58));
  }

  // Is there an instruction that multiplies by powers of two?
  const bool has_scale_;

  Value* emit(ScalarOp op, Value* x) {
    switch (op) {
      case ScalarOp::exp: return exp(x);
      case ScalarOp::expm1: return expm1(x);
      case ScalarOp::sigmoid: return sigmoid(x);
      case ScalarOp::tanh: return tanh(x);
      case ScalarOp::log: return log(x);
      case ScalarOp::log1p: return log1p(x);
      case ScalarOp::erf: return erf(x);
      case ScalarOp::normal_cdf: return normal_cdf(x);
      case ScalarOp::normal_pdf: return normal_pdf(x);
      case ScalarOp::gelu: return gelu(x);
      case ScalarOp::silu: return silu(x);
      case ScalarOp::softplus: return softplus(x);
      default: internal_error("vector math", "not a function of one f32");
    }
  }
};

// A function of libm, called for each lane.
Value* call_libm(llvm::IRBuilderBase& b, const char* name, Value* x) {
  llvm::Type* f64 = b.getDoubleTy();
  llvm::Module* module = b.GetInsertBlock()->getModule();
  llvm::FunctionCallee callee = module->getOrInsertFunction(name, f64, f64);
  if (auto* function = llvm::dyn_cast<llvm::Function>(callee.getCallee())) {
    function->setDoesNotAccessMemory();
    function->setDoesNotThrow();
    function->setWillReturn();
  }
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (vector == nullptr) return b.CreateCall(callee, {x});
  Value* result = llvm::PoisonValue::get(vector);
  for (unsigned lane = 0; lane < vector->getNumElements(); ++lane) {
    Value* y = b.CreateCall(callee, {b.CreateExtractElement(x, lane)});
    result = b.CreateInsertElement(result, y, lane);
  }
  return result;
}

const char* libm_name(ScalarOp op) {
  switch (op) {
    case ScalarOp::exp: return "exp";
    case ScalarOp::expm1: return "expm1";
    case ScalarOp::log: return "log";
    case ScalarOp::log1p: return "log1p";
    case ScalarOp::sin: return "sin";
    case ScalarOp::cos: return "cos";
    case ScalarOp::erf: return "erf";
    case ScalarOp::tanh: return "tanh";
    default: internal_error("vector math", "not a function of one f64");
  }
}

// With e = exp(-|x|): 1 / (1 + e), or e / (1 + e) for a negative x.
Value* double_sigmoid(FloatEmitter& e, Value* x) {
  Value* small = call_libm(e.b, "exp", e.b.CreateFNeg(e.abs(x)));
  Value* numerator = e.select(e.less(x, 0), small, e.real(x, 1));
  return e.div(numerator, e.add(small, 1));
}

Value* double_normal_cdf(FloatEmitter& e, Value* x) {
  return e.mul(call_libm(e.b, "erfc", e.div(x, e.real(x, -std::numbers::sqrt2))), 0.5);
}

Value* double_normal_pdf(FloatEmitter& e, Value* x) {
  Value* bell = call_libm(e.b, "exp", e.mul(e.mul(x, -0.5), x));
  return e.mul(bell, std::numbers::inv_sqrtpi / std::numbers::sqrt2);
}

// Where the bounds count the other factor is 0: the limit far below 0 is 0.
Value* double_gelu(FloatEmitter& e, Value* x) {
  return e.mul(e.at_least(x, -100), double_normal_cdf(e, x));
}

Value* double_silu(FloatEmitter& e, Value* x) {
  return e.mul(e.at_least(x, -1000), double_sigmoid(e, x));
}

Value* double_softplus(FloatEmitter& e, Value* x) {
  Value* small = call_libm(e.b, "exp", e.b.CreateFNeg(e.abs(x)));
  return e.add(e.at_least(x, 0), call_libm(e.b, "log1p", small));
}

}  // namespace

llvm::Value* emit_unary(llvm::IRBuilderBase& builder, ScalarOp op, llvm::Value* x,
                        const Target& target) {
  SingleEmitter single(builder, target);
  if (op == ScalarOp::abs) return single.abs(x);
  if (op == ScalarOp::sqrt) return builder.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x);
  if (op == ScalarOp::floor) return builder.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
  if (single.is_single(x)) {
    if (op == ScalarOp::sin) return emit_sin(builder, x, target);
    if (op == ScalarOp::cos) return emit_cos(builder, x, target);
    return single.emit(op, x);
  }
  if (op == ScalarOp::sigmoid) return double_sigmoid(single, x);
  if (op == ScalarOp::normal_cdf) return double_normal_cdf(single, x);
  if (op == ScalarOp::normal_pdf) return double_normal_pdf(single, x);
  if (op == ScalarOp::gelu) return double_gelu(single, x);
  if (op == ScalarOp::silu) return double_silu(single, x);
  if (op == ScalarOp::softplus) return double_softplus(single, x);
  return call_libm(builder, libm_name(op), x);
}

llvm::Value* emit_exp_of_difference(llvm::IRBuilderBase& builder, llvm::Value* x,
                                    const Target& target) {
  SingleEmitter single(builder, target);
  if (single.is_single(x)) return single.exp_of_difference(x);
  return emit_unary(builder, ScalarOp::exp, x, target);
}

}  // namespace treadle
