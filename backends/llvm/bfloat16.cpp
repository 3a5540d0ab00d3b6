#include "backends/llvm/bfloat16_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/target.h"

namespace treadle {

namespace {

using llvm::Value;

unsigned lanes_of(Value* x) {
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  return vector != nullptr ? vector->getNumElements() : 1;
}

// Integers in place of the elements, as many bits each.
llvm::Type* integers(llvm::IRBuilderBase& b, unsigned bits, unsigned lanes) {
  llvm::Type* element = b.getIntNTy(bits);
  return lanes == 1 ? element : llvm::FixedVectorType::get(element, lanes);
}

std::vector<int> range(unsigned begin, unsigned count) {
  std::vector<int> out(count);
  std::iota(out.begin(), out.end(), static_cast<int>(begin));
  return out;
}

// What is no normal number becomes the zero of its sign.
Value* flushed(llvm::IRBuilderBase& b, const Target& target, Value* x) {
  FloatEmitter e(b, target);
  return b.CreateSelect(e.less(e.abs(x), 0x1p-126), e.copysign(e.real(x, 0), x), x);
}

// The intrinsic, whose types of bfloat16 have changed with LLVM's versions.
Value* call(llvm::IRBuilderBase& b, llvm::Intrinsic::ID id, std::vector<Value*> arguments) {
  llvm::FunctionType* type = llvm::Intrinsic::getType(b.getContext(), id);
  for (unsigned i = 0; i < arguments.size(); ++i)
    arguments[i] = b.CreateBitCast(arguments[i], type->getParamType(i));
  return b.CreateIntrinsic(id, {}, arguments);
}

// VCVTNEPS2BF16, which knows 8 or 16 lanes here.
Value* converted(llvm::IRBuilderBase& b, Value* x) {
  const unsigned lanes = lanes_of(x), most = 16;
  if (lanes > most) {
    std::vector<Value*> parts;
    for (unsigned begin = 0; begin < lanes; begin += most)
      parts.push_back(converted(b, b.CreateShuffleVector(x, x, range(begin, most))));
    while (parts.size() > 1) {
      for (std::size_t i = 0; i < parts.size() / 2; ++i)
        parts[i] = b.CreateShuffleVector(parts[2 * i], parts[2 * i + 1],
                                         range(0, 2 * lanes_of(parts[2 * i])));
      parts.resize(parts.size() / 2);
    }
    return parts[0];
  }
  const unsigned width = lanes <= 8 ? 8 : most;
  if (lanes < width) {  // some lanes twice
    std::vector<int> some(width);
    for (unsigned i = 0; i < width; ++i) some[i] = static_cast<int>(i % lanes);
    x = b.CreateShuffleVector(x, x, some);
  }
  const auto id = width == 8 ? llvm::Intrinsic::x86_avx512bf16_cvtneps2bf16_256
                             : llvm::Intrinsic::x86_avx512bf16_cvtneps2bf16_512;
  Value* out = b.CreateBitCast(call(b, id, {x}), integers(b, 16, width));
  return lanes == width ? out : b.CreateShuffleVector(out, out, range(0, lanes));
}

// Vectors of f32, rounded to integers of 16 bits.
Value* rounded(llvm::IRBuilderBase& b, const Target& target, Value* x) {
  return target.has_bfloat16 ? converted(b, x) : nearest_bfloat16(b, flushed(b, target, x));
}

// One half of each pair.
Value* half(llvm::IRBuilderBase& b, const Target& target, Value* pairs, bool second) {
  llvm::Type* type = integers(b, 32, lanes_of(pairs));
  Value* bits = b.CreateBitCast(pairs, type);
  bits = second ? b.CreateAnd(bits, llvm::ConstantInt::get(type, 0xFFFF0000U))
                : b.CreateShl(bits, llvm::ConstantInt::get(type, 16));
  return flushed(b, target, b.CreateBitCast(bits, pairs->getType()));
}

}  // namespace

Value* nearest_bfloat16(llvm::IRBuilderBase& b, Value* x) {
  llvm::Type* type = integers(b, 32, lanes_of(x));
  const auto constant = [&](std::uint64_t i) { return llvm::ConstantInt::get(type, i); };
  Value* bits = b.CreateBitCast(x, type);
  Value* odd = b.CreateAnd(b.CreateLShr(bits, 16), constant(1));
  Value* nearest = b.CreateAdd(bits, b.CreateAdd(odd, constant(0x7FFF)));
  Value* quiet = b.CreateOr(bits, constant(0x400000));
  Value* chosen = b.CreateSelect(b.CreateFCmpUNO(x, x), quiet, nearest);
  return b.CreateTrunc(b.CreateLShr(chosen, 16), integers(b, 16, lanes_of(x)));
}

Value* emit_pairs(llvm::IRBuilderBase& b, const Target& target, Value* first, Value* second) {
  const unsigned lanes = lanes_of(first);
  if (lanes == 1) {
    Value* both = llvm::PoisonValue::get(llvm::FixedVectorType::get(first->getType(), 2));
    both = b.CreateInsertElement(both, first, b.getInt64(0));
    both = b.CreateInsertElement(both, second, b.getInt64(1));
    return b.CreateBitCast(rounded(b, target, both), first->getType());
  }
  const auto wide = [&](Value* x) {
    return b.CreateZExt(rounded(b, target, x), integers(b, 32, lanes));
  };
  Value* upper = b.CreateShl(wide(second), llvm::ConstantInt::get(integers(b, 32, lanes), 16));
  return b.CreateBitCast(b.CreateOr(wide(first), upper), first->getType());
}

Value* emit_adjacent_pairs(llvm::IRBuilderBase& b, const Target& target, Value* x) {
  llvm::Type* type = llvm::FixedVectorType::get(x->getType()->getScalarType(), lanes_of(x) / 2);
  return b.CreateBitCast(rounded(b, target, x), type);
}

Value* emit_pair_product(llvm::IRBuilderBase& b, const Target& target, Value* sum, Value* x,
                         Value* y) {
  if (target.has_bfloat16 && lanes_of(sum) == 16)
    return call(b, llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {sum, x, y});
  // A product of two bfloat16 is exact in f32, so that its sum is rounded once in any case.
  FloatEmitter e(b, target);
  sum = flushed(b, target, sum);
  for (const bool second : {true, false})
    sum = flushed(b, target, e.fma(half(b, target, x, second), half(b, target, y, second), sum));
  return sum;
}

}  // namespace treadle
