// The argument is reduced modulo pi / 2 as in Payne and Hanek, "Radian
// reduction for trigonometric functions" (1983): of 2 / pi only the bits count
// that decide x * 2 / pi modulo 4, and those depend on the exponent of x. They
// are kept in a table as three doubles of 29 bits, whose products with the 24
// bits of x are exact.
#include "backends/llvm/trigonometric_internal.h"

#include <llvm/IR/Module.h>

#include <array>
#include <cmath>
#include <vector>

#include "backends/llvm/float_emitter_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// 2 / pi in binary, behind the point.
constexpr std::array<std::uint32_t, 10> two_over_pi = {
    0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599,
    0x3C439041, 0xFE5163AB, 0xDEBBC561, 0xB7246E3A, 0x424DD2E0};

// Bits `first` ... `first + 28` of 2 / pi (bit i weighs 2^-i; there is none
// before 1), weighted by 2^shift.
double two_over_pi_bits(int first, int shift) {
  double sum = 0;
  for (int i = std::max(first, 1); i < first + 29; ++i) {
    const std::uint32_t word = two_over_pi[static_cast<std::size_t>((i - 1) / 32)];
    if ((word >> (31 - (i - 1) % 32)) & 1) sum += std::ldexp(1.0, shift - i);
  }
  return sum;
}

constexpr int first_exponent = 150;  // biased; x below 2^24 needs all bits from the first on
constexpr int rows = 256 - first_exponent;

// Row e, column j: x with the biased exponent 150 + e is m * 2^e, and bit i of
// 2 / pi counts from i = e - 1 on.
llvm::GlobalVariable* reduction_table(llvm::Module& module) {
  const char* name = "treadle.two_over_pi";
  if (llvm::GlobalVariable* known = module.getGlobalVariable(name, true)) return known;
  std::vector<double> values;
  for (int e = 0; e < rows; ++e)
    for (int j = 0; j < 3; ++j)
      values.push_back(e == rows - 1 ? 0 : two_over_pi_bits(e - 1 + 29 * j, 0));
  llvm::Constant* data = llvm::ConstantDataArray::get(module.getContext(), values);
  auto* table = new llvm::GlobalVariable(module, data->getType(), true,
                                         llvm::GlobalValue::PrivateLinkage, data, name);
  table->setAlignment(llvm::Align(8));
  return table;
}

class TrigonometricEmitter : public FloatEmitter {
 public:
  using FloatEmitter::FloatEmitter;

  // x = (quadrant + f) pi / 2, r = f pi / 2, |r| <= pi / 4.
  struct Reduced {
    Value* quadrant;  // i32, modulo 4
    Value* r;         // f32
  };
  Reduced reduce(Value* x) {
    Value* i = bits(x);
    Value* exponent = b.CreateAnd(b.CreateLShr(i, integer(i, 23)), integer(i, 255));
    Value* row = b.CreateSub(exponent, integer(i, first_exponent));
    row = b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, row, integer(i, 0));
    Value* offset = b.CreateMul(row, integer(i, 24));
    Value* wide = b.CreateFPExt(x, x->getType()->getWithNewType(b.getDoubleTy()));
    Value* high = mul(wide, column(offset, 0, wide));
    Value* middle = mul(wide, column(offset, 1, wide));
    Value* low = mul(wide, column(offset, 2, wide));
    const Rounded quadrant = round(add(high, middle), 1);
    Value* f = add(add(sub(high, quadrant.real), middle), low);
    Value* r = b.CreateFPTrunc(mul(f, 1.5707963267948966), x->getType());
    return {b.CreateTrunc(quadrant.integer, i->getType()), r};
  }

  Value* sin(Value* r) {
    Value* s = mul(r, r);
    Value* p = polynomial(s, {2.86567956e-6, -1.98559923e-4, 8.33338592e-3, -1.66666672e-1});
    return fma(p, mul(r, s), r);
  }

  Value* cos(Value* r) {
    return polynomial(mul(r, r), {2.44677067e-5, -1.38877297e-3, 4.16666567e-2, -0.5, 1.0});
  }

  // sin(x + shift pi / 2).
  Value* shifted_sin(Value* x, int shift) {
    const Reduced reduced = reduce(x);
    Value* q = b.CreateAdd(reduced.quadrant, integer(reduced.quadrant, shift));
    Value* odd = b.CreateICmpNE(b.CreateAnd(q, integer(q, 1)), integer(q, 0));
    Value* value = select(odd, cos(reduced.r), sin(reduced.r));
    Value* sign = b.CreateShl(b.CreateAnd(q, integer(q, 2)), integer(q, 30));
    return from_bits(b.CreateXor(bits(value), sign), x);
  }

 private:
  // table[offset + 8 * j], `offset` in bytes; lane by lane, since a gather is
  // no faster on most machines.
  Value* column(Value* offset, int j, Value* like) {
    llvm::Module& module = *b.GetInsertBlock()->getModule();
    llvm::GlobalVariable* table = reduction_table(module);
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(like->getType());
    if (vector == nullptr) return entry(table, offset, j);
    Value* result = llvm::PoisonValue::get(vector);
    for (unsigned lane = 0; lane < vector->getNumElements(); ++lane) {
      Value* y = entry(table, b.CreateExtractElement(offset, lane), j);
      result = b.CreateInsertElement(result, y, lane);
    }
    return result;
  }

  Value* entry(llvm::GlobalVariable* table, Value* offset, int j) {
    Value* bytes = b.CreateAdd(offset, integer(offset, 8 * j));
    Value* address = b.CreateGEP(b.getInt8Ty(), table, b.CreateZExt(bytes, b.getInt64Ty()));
    return b.CreateAlignedLoad(b.getDoubleTy(), address, llvm::Align(8));
  }
};

}  // namespace

llvm::Value* emit_sin(llvm::IRBuilderBase& builder, llvm::Value* x, const Target& target) {
  TrigonometricEmitter e(builder, target);
  // Keeps -0, and the smallest numbers, which the product with 2 / pi rounds.
  return e.select(e.less(e.abs(x), 1e-5), x, e.shifted_sin(x, 0));
}

llvm::Value* emit_cos(llvm::IRBuilderBase& builder, llvm::Value* x, const Target& target) {
  return TrigonometricEmitter(builder, target).shifted_sin(x, 1);
}

}  // namespace treadle
