// Functions of one argument in f32 and f64.
//
// The polynomials for exp, expm1, log, sin, cos and erf are Norbert Juffa's
// minimax approximations for single precision; the reductions follow Cody and
// Waite, "Software Manual for the Elementary Functions" (1980).
#include <llvm/IR/Module.h>

#include <limits>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/trigonometric_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/diagnostic.h"

namespace treadle {

namespace {

using llvm::Value;

class SingleEmitter : public FloatEmitter {
 public:
  using FloatEmitter::FloatEmitter;

  // x = n ln 2 + r with |r| <= ln 2 / 2. The high part of ln 2 has trailing
  // zeros: n times it is exact even without a fused multiply-add.
  struct Reduced {
    Value* n;  // integer
    Value* r;
  };
  Reduced reduce(Value* x) {
    const Rounded n = round(x, 1.44269502);
    Value* r = fma(n.real, -0.693145752, x);
    return {n.integer, fma(n.real, -1.42860677e-6, r)};
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

  Value* exp(Value* x) {
    const Reduced reduced = reduce(at_least(at_most(x, 90), -105));
    const Scales n = halves(reduced.n);
    Value* scaled = mul(exp_polynomial(reduced.r), power_of_two(n.low, x));
    return mul(scaled, power_of_two(n.high, x));
  }

  // For x <= 88. The least exponent is that of the smallest normal number.
  Value* exp_of_difference(Value* x) {
    constexpr double least = -87;
    const Reduced reduced = reduce(at_least(x, least));
    Value* result = mul(exp_polynomial(reduced.r), power_of_two(reduced.n, x));
    return select(less(x, least), real(x, 0), result);
  }

  Value* expm1(Value* x) {
    const Reduced reduced = reduce(at_least(at_most(x, 89), -25));
    // With half of 2^n, which stays finite where the result is.
    Value* half = power_of_two(b.CreateSub(reduced.n, integer(reduced.n, 1)), x);
    Value* sum = fma(half, expm1_polynomial(reduced.r), sub(half, 0.5));
    return select(less(abs(x), 1e-8), x, add(sum, sum));
  }

  // 1 / (1 + exp(-x)) = 2^-n / (2^-n + 1 + q) with exp(-x) = 2^n (1 + q): one
  // division, and results below the smallest normal number come out right too.
  // The three terms are added in the order that loses least.
  Value* sigmoid(Value* x) {
    const Reduced reduced = reduce(at_least(at_most(b.CreateFNeg(x), 105), -30));
    const Scales n = halves(b.CreateNeg(reduced.n));
    Value* low = power_of_two(n.low, x);
    Value* high = power_of_two(n.high, x);
    Value* q = expm1_polynomial(reduced.r);
    Value* one = real(x, 1);
    Value* below_one = b.CreateICmpSGT(reduced.n, integer(reduced.n, 0));
    Value* inner = fma(low, high, select(below_one, q, one));
    Value* denominator = add(inner, select(below_one, one, q));
    return mul(div(low, denominator), high);
  }

  // With e = exp(2 |x|) - 1: tanh |x| = e / (e + 2). Near 0, where these
  // roundings weigh most, x + x^3 times the Taylor polynomial, whose last
  // coefficient stands for the terms behind it too.
  Value* tanh(Value* x) {
    Value* magnitude = abs(x);
    const Reduced reduced = reduce(at_most(add(magnitude, magnitude), 20));
    Value* scale = power_of_two(reduced.n, x);
    Value* e = fma(scale, expm1_polynomial(reduced.r), sub(scale, 1));
    Value* far = div(e, add(e, 2));
    Value* s = mul(x, x);
    Value* p = polynomial(s, {0.02143, -17.0 / 315, 2.0 / 15, -1.0 / 3});
    Value* near = fma(mul(p, s), magnitude, magnitude);
    return copysign(select(less(magnitude, 0.26), near, far), x);
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

  // log(u) where u = 1 + x rounded, with the rounding error (Knuth's two-sum)
  // brought back into the reduced argument.
  Value* log1p(Value* x) {
    Value* one = real(x, 1);
    Value* u = add(x, 1);
    Value* x_part = sub(u, 1);
    Value* error = add(sub(one, sub(u, x_part)), sub(x, x_part));
    const Mantissa m = split(u);
    // 2^-n, or 0 where the error no longer matters and 2^-n is no normal number.
    Value* scale = from_bits(b.CreateSub(bits(one), m.exponent), x);
    scale = select(less(u, 0x1p60), scale, real(x, 0));
    Value* f = fma(error, scale, m.f);
    Value* result = log_limits(u, log_polynomial(f, exponent_value(m, x)));
    return select(less(abs(x), 1e-8), x, result);  // keeps -0 and the smallest numbers
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
    // Beyond 10 the result has long been 1; infinite terms would make a NaN.
    r = select(greater(t, 10), real(x, -105), r);
    Value* far = copysign(sub(real(x, 1), exp(r)), x);
    Value* p = polynomial(s, {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1,
                              -3.76125336e-1, 1.28379166e-1});
    return select(greater(t, 0.927734375), far, fma(p, x, x));
  }

  Value* emit(ScalarOp op, Value* x) {
    switch (op) {
      case ScalarOp::exp: return exp(x);
      case ScalarOp::expm1: return expm1(x);
      case ScalarOp::sigmoid: return sigmoid(x);
      case ScalarOp::tanh: return tanh(x);
      case ScalarOp::log: return log(x);
      case ScalarOp::log1p: return log1p(x);
      case ScalarOp::erf: return erf(x);
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
  return call_libm(builder, libm_name(op), x);
}

llvm::Value* emit_exp_of_difference(llvm::IRBuilderBase& builder, llvm::Value* x,
                                    const Target& target) {
  SingleEmitter single(builder, target);
  if (single.is_single(x)) return single.exp_of_difference(x);
  return emit_unary(builder, ScalarOp::exp, x, target);
}

}  // namespace treadle
