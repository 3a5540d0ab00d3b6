// Sine and cosine in f32. Included only by backends/llvm/*.cpp.
#pragma once

namespace llvm {
class IRBuilderBase;
class Value;
}  // namespace llvm

namespace treadle {

struct Target;

// Within 2 ulp for every f32, however large; NaN for an infinite x.
llvm::Value* emit_sin(llvm::IRBuilderBase& builder, llvm::Value* x, const Target& target);
llvm::Value* emit_cos(llvm::IRBuilderBase& builder, llvm::Value* x, const Target& target);

}  // namespace treadle
