// Short names for the arithmetic that polynomial approximations are made of.
// Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>

#include <cstdint>
#include <initializer_list>

#include "backends/llvm/target.h"

namespace treadle {

// Works on values of one shape: a scalar, or vectors of a number of lanes; the
// element type of a constant is that of the value it is combined with.
class FloatEmitter {
 public:
  using Value = llvm::Value;

  FloatEmitter(llvm::IRBuilderBase& builder, const Target& target)
      : b(builder), has_fma_(target.has_fma) {}

  Value* real(Value* like, double value) const {
    return llvm::ConstantFP::get(like->getType(), value);
  }
  Value* integer(Value* like, std::int64_t value) const {
    return llvm::ConstantInt::getSigned(like->getType(), value);
  }

  Value* add(Value* x, Value* y) { return b.CreateFAdd(x, y); }
  Value* sub(Value* x, Value* y) { return b.CreateFSub(x, y); }
  Value* mul(Value* x, Value* y) { return b.CreateFMul(x, y); }
  Value* div(Value* x, Value* y) { return b.CreateFDiv(x, y); }
  Value* add(Value* x, double y) { return add(x, real(x, y)); }
  Value* sub(Value* x, double y) { return sub(x, real(x, y)); }
  Value* mul(Value* x, double y) { return mul(x, real(x, y)); }

  // x * y + z, rounded once where the machine can.
  Value* fma(Value* x, Value* y, Value* z) {
    if (!has_fma_) return add(mul(x, y), z);
    return b.CreateIntrinsic(llvm::Intrinsic::fma, {x->getType()}, {x, y, z});
  }
  Value* fma(Value* x, double y, Value* z) { return fma(x, real(x, y), z); }
  Value* fma(Value* x, Value* y, double z) { return fma(x, y, real(x, z)); }

  // Horner's rule; the highest coefficient first.
  Value* polynomial(Value* x, std::initializer_list<double> coefficients) {
    Value* sum = real(x, *coefficients.begin());
    for (const double* c = coefficients.begin() + 1; c != coefficients.end(); ++c)
      sum = fma(sum, x, *c);
    return sum;
  }

  Value* abs(Value* x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }
  Value* copysign(Value* magnitude, Value* sign) {
    return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude, sign);
  }
  Value* select(Value* condition, Value* x, Value* y) { return b.CreateSelect(condition, x, y); }
  Value* less(Value* x, double y) { return b.CreateFCmpOLT(x, real(x, y)); }
  Value* greater(Value* x, double y) { return b.CreateFCmpOGT(x, real(x, y)); }
  Value* equal(Value* x, double y) { return b.CreateFCmpOEQ(x, real(x, y)); }

  // Bounds x; a NaN stays.
  Value* at_most(Value* x, double bound) { return select(greater(x, bound), real(x, bound), x); }
  Value* at_least(Value* x, double bound) { return select(less(x, bound), real(x, bound), x); }

  // The integer type of the same shape and width, and both ways to it.
  llvm::Type* bits_type(Value* x) const {
    return x->getType()->getWithNewType(b.getIntNTy(x->getType()->getScalarSizeInBits()));
  }
  Value* bits(Value* x) { return b.CreateBitCast(x, bits_type(x)); }
  Value* from_bits(Value* i, Value* like) { return b.CreateBitCast(i, like->getType()); }

  bool has_fma() const { return has_fma_; }
  bool is_single(Value* x) const { return x->getType()->getScalarType()->isFloatTy(); }

  // The nearest integer of scale * x, as a float and as an integer, for
  // magnitudes below 2^22 (f32) or 2^51 (f64): the sum with 1.5 * 2^23 has it
  // in its low bits.
  struct Rounded {
    Value* real;
    Value* integer;
  };
  Rounded round(Value* x, double scale) {
    const double magic = is_single(x) ? 12582912.0 : 6755399441055744.0;
    Value* sum = scale == 1 ? add(x, magic) : fma(x, scale, real(x, magic));
    Value* offset = bits(real(x, magic));
    return {sub(sum, magic), b.CreateSub(bits(sum), offset)};
  }

  // 2^n for a normal result.
  Value* power_of_two(Value* n, Value* like) {
    const bool single = is_single(like);
    Value* biased = b.CreateAdd(n, integer(n, single ? 127 : 1023));
    return from_bits(b.CreateShl(biased, integer(n, single ? 23 : 52)), like);
  }

  llvm::IRBuilderBase& b;

 private:
  bool has_fma_;
};

}  // namespace treadle
