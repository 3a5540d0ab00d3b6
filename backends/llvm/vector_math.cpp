#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>

#include <vector>

#include "backends/llvm/bfloat16_internal.h"
#include "backends/llvm/target.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/diagnostic.h"

namespace treadle {

namespace {

using llvm::Value;

unsigned lanes_of(Value* value) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
  return vector != nullptr ? vector->getNumElements() : 1;
}

class ProgramEmitter {
 public:
  ProgramEmitter(llvm::IRBuilderBase& builder, const ScalarProgram& program,
                 std::span<Value* const> arguments, const Target& target)
      : b_(builder), program_(program), arguments_(arguments), target_(target) {
    for (Value* argument : arguments) lanes_ = std::max(lanes_, lanes_of(argument));
  }

  Value* run() {
    for (const ScalarInstruction& in : program_.instructions) values_.push_back(emit(in));
    return values_[program_.result];
  }

 private:
  llvm::Type* type(DType dtype) { return value_type(b_.getContext(), dtype, lanes_); }
  Value* operand(const ScalarInstruction& in, std::size_t i) { return values_[in.operands[i]]; }
  DType operand_dtype(const ScalarInstruction& in) {
    return program_.instructions[in.operands[0]].dtype;
  }

  Value* emit(const ScalarInstruction& in) {
    switch (in.op) {
      case ScalarOp::argument: {
        Value* argument = arguments_[static_cast<std::size_t>(in.immediate)];
        if (lanes_ == 1 || lanes_of(argument) == lanes_) return argument;
        return b_.CreateVectorSplat(lanes_, argument);
      }
      case ScalarOp::constant:
        if (is_float(in.dtype)) return llvm::ConstantFP::get(type(in.dtype), rounded(in));
        return llvm::ConstantInt::getSigned(type(in.dtype), in.immediate);
      case ScalarOp::select: return b_.CreateSelect(operand(in, 0), operand(in, 1), operand(in, 2));
      case ScalarOp::cast: return cast(operand(in, 0), operand_dtype(in), in.dtype);
      default: break;
    }
    const DType dtype = operand_dtype(in);
    if (dtype == DType::bf16) return compute_bf16(in);
    if (is_float(dtype)) return compute_float(in.op, operand(in, 0), operand(in, 1));
    if (is_integer(dtype)) return compute_integer(in.op, operand(in, 0), operand(in, 1));
    return compute_bool(in.op, operand(in, 0), operand(in, 1));
  }

  static double rounded(const ScalarInstruction& in) {
    return in.dtype == DType::f32 ? static_cast<double>(static_cast<float>(in.real)) : in.real;
  }

  Value* compute_bf16(const ScalarInstruction& in) {
    Value* x = widened(operand(in, 0));
    Value* y = operand(in, 1);
    if (y->getType() == type(DType::bf16)) y = widened(y);
    Value* result = compute_float(in.op, x, y);
    return in.dtype == DType::bf16 ? narrowed(result) : result;
  }

  // bf16 and f32 by their bits: where the processor has no bf16, LLVM may call a
  // function for each element, and where it has, numbers below the smallest normal one
  // become 0.
  Value* widened(Value* x) {
    Value* bits = b_.CreateZExt(b_.CreateBitCast(x, integers(16)), integers(32));
    return b_.CreateBitCast(b_.CreateShl(bits, 16), type(DType::f32));
  }

  Value* narrowed(Value* x) { return b_.CreateBitCast(nearest_bfloat16(b_, x), type(DType::bf16)); }

  llvm::Type* integers(unsigned bits) {
    llvm::Type* element = b_.getIntNTy(bits);
    return lanes_ == 1 ? element : llvm::FixedVectorType::get(element, lanes_);
  }

  Value* compute_float(ScalarOp op, Value* x, Value* y) {
    switch (op) {
      case ScalarOp::neg: return b_.CreateFNeg(x);
      case ScalarOp::add: return b_.CreateFAdd(x, y);
      case ScalarOp::sub: return b_.CreateFSub(x, y);
      case ScalarOp::mul: return b_.CreateFMul(x, y);
      case ScalarOp::div: return b_.CreateFDiv(x, y);
      case ScalarOp::minimum: return extreme(b_.CreateFCmpOLT(y, x), x, y);
      case ScalarOp::maximum: return extreme(b_.CreateFCmpOLT(x, y), x, y);
      case ScalarOp::lt: return b_.CreateFCmpOLT(x, y);
      case ScalarOp::le: return b_.CreateFCmpOLE(x, y);
      case ScalarOp::eq: return b_.CreateFCmpOEQ(x, y);
      case ScalarOp::is_finite: {
        Value* magnitude = b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
        return b_.CreateFCmpOLT(magnitude, llvm::ConstantFP::getInfinity(x->getType()));
      }
      case ScalarOp::pow:
        if (x->getType()->getScalarType()->isFloatTy()) return emit_pow(b_, x, y, target_);
        return b_.CreateBinaryIntrinsic(llvm::Intrinsic::pow, x, y);
      default: return emit_unary(b_, op, x, target_);
    }
  }

  // y where `take_y`, else x, which also takes care of a NaN in x.
  Value* extreme(Value* take_y, Value* x, Value* y) {
    Value* chosen = b_.CreateSelect(take_y, y, x);
    return b_.CreateSelect(b_.CreateFCmpUNO(y, y), y, chosen);
  }

  Value* compute_integer(ScalarOp op, Value* x, Value* y) {
    switch (op) {
      case ScalarOp::neg: return b_.CreateNeg(x);
      case ScalarOp::add: return b_.CreateAdd(x, y);
      case ScalarOp::sub: return b_.CreateSub(x, y);
      case ScalarOp::mul: return b_.CreateMul(x, y);
      case ScalarOp::div: return divide(x, y);
      case ScalarOp::minimum: return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, y);
      case ScalarOp::maximum: return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, y);
      case ScalarOp::lt: return b_.CreateICmpSLT(x, y);
      case ScalarOp::le: return b_.CreateICmpSLE(x, y);
      case ScalarOp::eq: return b_.CreateICmpEQ(x, y);
      case ScalarOp::bit_and: return b_.CreateAnd(x, y);
      case ScalarOp::bit_or: return b_.CreateOr(x, y);
      case ScalarOp::bit_xor: return b_.CreateXor(x, y);
      case ScalarOp::shift_left: return shift(x, y, llvm::Instruction::Shl);
      case ScalarOp::shift_right: return shift(x, y, llvm::Instruction::LShr);
      default: internal_error("vector math", "not an operation on integers");
    }
  }

  // LLVM leaves x / 0 and min / -1 undefined; here they are 0 and min.
  Value* divide(Value* x, Value* y) {
    Value* zero = llvm::Constant::getNullValue(x->getType());
    Value* one = llvm::ConstantInt::get(x->getType(), 1);
    Value* minus_one = llvm::Constant::getAllOnesValue(x->getType());
    Value* by_zero = b_.CreateICmpEQ(y, zero);
    Value* negates = b_.CreateICmpEQ(y, minus_one);
    Value* divisor = b_.CreateSelect(b_.CreateOr(by_zero, negates), one, y);
    Value* quotient = b_.CreateSDiv(x, divisor);
    quotient = b_.CreateSelect(negates, b_.CreateNeg(x), quotient);
    return b_.CreateSelect(by_zero, zero, quotient);
  }

  // A shift by the width or more gives 0.
  Value* shift(Value* x, Value* y, llvm::Instruction::BinaryOps op) {
    llvm::Type* t = x->getType();
    Value* inside = b_.CreateICmpULT(y, llvm::ConstantInt::get(t, t->getScalarSizeInBits()));
    Value* zero = llvm::Constant::getNullValue(t);
    Value* amount = b_.CreateSelect(inside, y, zero);
    return b_.CreateSelect(inside, b_.CreateBinOp(op, x, amount), zero);
  }

  Value* compute_bool(ScalarOp op, Value* x, Value* y) {
    switch (op) {
      case ScalarOp::logical_and: return b_.CreateAnd(x, y);
      case ScalarOp::logical_or: return b_.CreateOr(x, y);
      case ScalarOp::logical_not: return b_.CreateNot(x);
      case ScalarOp::eq: return b_.CreateICmpEQ(x, y);
      case ScalarOp::lt: return b_.CreateICmpULT(x, y);
      case ScalarOp::le: return b_.CreateICmpULE(x, y);
      default: internal_error("vector math", "not an operation on truth values");
    }
  }

  Value* cast(Value* x, DType from, DType to) {
    if (from == to) return x;
    if (from == DType::bf16) return cast(widened(x), DType::f32, to);
    // By way of f32 from every dtype, as the evaluator does.
    if (to == DType::bf16) return narrowed(cast(x, from, DType::f32));
    if (is_float(from)) return cast_float(x, from, to);
    if (to == DType::b1) return b_.CreateICmpNE(x, llvm::Constant::getNullValue(x->getType()));
    if (is_float(to))
      return from == DType::b1 ? b_.CreateUIToFP(x, type(to)) : b_.CreateSIToFP(x, type(to));
    return from == DType::b1 ? b_.CreateZExt(x, type(to)) : b_.CreateSExtOrTrunc(x, type(to));
  }

  Value* cast_float(Value* x, DType from, DType to) {
    if (to == DType::b1) return b_.CreateFCmpUNE(x, llvm::Constant::getNullValue(x->getType()));
    if (is_integer(to))
      return b_.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {type(to), x->getType()}, {x});
    return from == DType::f32 ? b_.CreateFPExt(x, type(to)) : b_.CreateFPTrunc(x, type(to));
  }

  llvm::IRBuilderBase& b_;
  const ScalarProgram& program_;
  std::span<Value* const> arguments_;
  const Target& target_;
  unsigned lanes_ = 1;
  std::vector<Value*> values_;
};

}  // namespace

llvm::Type* value_type(llvm::LLVMContext& context, DType dtype, unsigned lanes) {
  llvm::Type* element = nullptr;
  switch (dtype) {
    case DType::f32: element = llvm::Type::getFloatTy(context); break;
    case DType::f64: element = llvm::Type::getDoubleTy(context); break;
    case DType::bf16: element = llvm::Type::getBFloatTy(context); break;
    case DType::i32: element = llvm::Type::getInt32Ty(context); break;
    case DType::i64: element = llvm::Type::getInt64Ty(context); break;
    case DType::b1: element = llvm::Type::getInt1Ty(context); break;
  }
  if (lanes == 1) return element;
  return llvm::FixedVectorType::get(element, lanes);
}

llvm::Value* emit_scalar_program(llvm::IRBuilderBase& builder, const ScalarProgram& program,
                                 std::span<llvm::Value* const> arguments, const Target& target) {
  return ProgramEmitter(builder, program, arguments, target).run();
}

}  // namespace treadle
