// bfloat16 numbers by their bits, and products of pairs of them. Included only by
// backends/llvm/*.cpp and its tests.
//
// A lane of f32 may hold a pair: two bfloat16, the first in the lower half. With AVX512_BF16
// the three functions below are its instructions; on any other target they are the same
// arithmetic in other instructions, bit by bit but for the payload of a NaN: round to
// nearest, ties to even, and what is smaller than 2^-126, the smallest normal number,
// counts as 0, before and after each operation.
// [Intel, Architecture Instruction Set Extensions: VCVTNEPS2BF16, VDPBF16PS]
#pragma once

namespace llvm {
class IRBuilderBase;
class Value;
}  // namespace llvm

namespace treadle {

struct Target;

// The nearest bfloat16 of f32, as integers of 16 bits; a NaN becomes a quiet one. Here
// small numbers stay what they are.
llvm::Value* nearest_bfloat16(llvm::IRBuilderBase& b, llvm::Value* x);

// Lane i is the pair (first[i], second[i]), rounded. Scalars or vectors of f32.
llvm::Value* emit_pairs(llvm::IRBuilderBase& b, const Target& target, llvm::Value* first,
                        llvm::Value* second);

// Lane i is the pair (x[2i], x[2i + 1]), rounded.
llvm::Value* emit_adjacent_pairs(llvm::IRBuilderBase& b, const Target& target, llvm::Value* x);

// Lane by lane fma(x's first, y's first, fma(x's second, y's second, sum)).
llvm::Value* emit_pair_product(llvm::IRBuilderBase& b, const Target& target, llvm::Value* sum,
                               llvm::Value* x, llvm::Value* y);

}  // namespace treadle
