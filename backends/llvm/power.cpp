// x^y in f32, as 2^(y log2 x) worked out in f64.
#include <limits>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

class PowerEmitter : public FloatEmitter {
 public:
  using FloatEmitter::FloatEmitter;

  // log2 of a positive finite x that was an f32, so that it is a normal f64:
  // x = 2^n m with m around 1, and log m = 2 atanh s, s = (m - 1) / (m + 1).
  Value* log2(Value* x) {
    Value* i = bits(x);
    Value* offset = b.CreateSub(i, integer(i, 0x3fe6a09e00000000));  // sqrt(1/2)
    Value* exponent = b.CreateAnd(offset, integer(i, ~0xfffffffffffffLL));
    Value* m = from_bits(b.CreateSub(i, exponent), x);
    // Through i32, which every machine converts.
    Value* n = b.CreateTrunc(b.CreateAShr(exponent, integer(i, 52)),
                             i->getType()->getWithNewType(b.getInt32Ty()));
    Value* s = div(sub(m, 1), add(m, 1));
    Value* p = polynomial(mul(s, s), {2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7,
                                      2.0 / 5, 2.0 / 3, 2.0});
    return fma(mul(p, s), 1.4426950408889634, b.CreateSIToFP(n, x->getType()));
  }

  // |t| <= 200.
  Value* exp2(Value* t) {
    const Rounded n = round(t, 1);
    Value* r = mul(sub(t, n.real), 0.6931471805599453);
    Value* p = polynomial(r, {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
                              1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0});
    return mul(p, power_of_two(n.integer, t));
  }

  Value* floor(Value* x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x); }

  // The limits are those of C's pow (ISO C, annex F).
  Value* pow(Value* x, Value* y) {
    const double infinity = std::numeric_limits<double>::infinity();
    llvm::Type* wide = x->getType()->getWithNewType(b.getDoubleTy());
    Value* base = abs(b.CreateFPExt(x, wide));
    Value* power = b.CreateFPExt(y, wide);
    Value* logarithm = select(less(base, infinity), log2(base), base);
    logarithm = select(equal(base, 0), real(base, -infinity), logarithm);
    Value* t = at_least(at_most(mul(power, logarithm), 200), -200);
    Value* result = b.CreateFPTrunc(exp2(t), x->getType());

    Value* integral = b.CreateFCmpOEQ(floor(y), y);
    Value* half = mul(y, 0.5);
    Value* odd = b.CreateAnd(integral, b.CreateFCmpUNE(floor(half), half));
    result = select(odd, copysign(result, x), result);
    Value* imaginary =
        b.CreateAnd(b.CreateAnd(less(x, 0), greater(x, -infinity)), b.CreateNot(integral));
    result = select(imaginary, llvm::ConstantFP::getNaN(x->getType()), result);
    result = select(b.CreateFCmpUNO(x, y), b.CreateFAdd(x, y), result);
    Value* minus_one_to_infinity = b.CreateAnd(equal(x, -1), equal(abs(y), infinity));
    Value* one = b.CreateOr(b.CreateOr(equal(x, 1), equal(y, 0)), minus_one_to_infinity);
    return select(one, real(x, 1), result);
  }
};

}  // namespace

llvm::Value* emit_pow(llvm::IRBuilderBase& builder, llvm::Value* x, llvm::Value* y,
                      const Target& target) {
  return PowerEmitter(builder, target).pow(x, y);
}

}  // namespace treadle
