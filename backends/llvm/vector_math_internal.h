// A ScalarProgram as LLVM instructions, on scalars or on vectors.
// Included only by backends/llvm/*.cpp and its tests.
#pragma once
#include <span>

#include "ir/scalar.h"

namespace llvm {
class IRBuilderBase;
class LLVMContext;
class Type;
class Value;
}  // namespace llvm

namespace treadle {

struct Target;

// The LLVM type of a value of `dtype`; b1 is i1 here (one byte in memory).
llvm::Type* value_type(llvm::LLVMContext& context, DType dtype, unsigned lanes = 1);

// Emits `program` at the builder's insertion point, as straight-line code
// without new blocks, and returns its result. `arguments` are scalars or fixed
// vectors of value_type(); all vectors have the same number of lanes, and a
// scalar among vectors stands for every lane. The result has that many lanes,
// or is a scalar when all arguments are.
//
// A lane's bits do not depend on the number of lanes, so a scalar remainder
// equals the vector body. Every instruction rounds to its dtype; nothing is
// contracted. In f32 the functions are inline polynomials, within 2 ulp (pow
// too; without fused multiply-add 3, normal_cdf 4, gelu 5); in f64 sqrt, floor and sigmoid's
// arithmetic are inline and exp, log, tanh, ... are calls to libm, lane by lane. bf16 is computed
// in f32.
llvm::Value* emit_scalar_program(llvm::IRBuilderBase& builder, const ScalarProgram& program,
                                 std::span<llvm::Value* const> arguments, const Target& target);

// One f32 or f64 function of one argument (abs ... softplus) on x.
llvm::Value* emit_unary(llvm::IRBuilderBase& builder, ScalarOp op, llvm::Value* x,
                        const Target& target);

// exp(x) for x <= 88, as a softmax needs it: in f32 what is below 2^-126.5 is 0, so that
// one scale does, whatever the lanes.
llvm::Value* emit_exp_of_difference(llvm::IRBuilderBase& builder, llvm::Value* x,
                                    const Target& target);

// x^y in f32.
llvm::Value* emit_pow(llvm::IRBuilderBase& builder, llvm::Value* x, llvm::Value* y,
                      const Target& target);

}  // namespace treadle
