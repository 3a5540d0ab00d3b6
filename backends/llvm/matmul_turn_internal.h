// Blocks of a transposed operand A, copied for its tiles. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>

#include "backends/llvm/matmul_kernel.h"

namespace llvm {
class Function;
class IRBuilderBase;
class Module;
class Value;
}  // namespace llvm

namespace treadle {

// (a, a_k, run, a_run, k0, rows, k, to): a block of A, columns k0 ... k0 + k - 1, whose
// columns are dense, as when it is the transpose of a matrix, in strips of a tile's height,
// each column by column. Tiles that read it where it stands find one line of every column
// in the same few sets of the cache. Strides of A are in bytes, `run` as
// DirectGemmFunction has it.
llvm::Function* emit_turn_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, const std::string& name);

// Elements from one strip of a block of k columns to the next: a line more than it has, or
// the strips' ends would stand in the same few sets of the cache.
llvm::Value* emit_turned_strip(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* k);

}  // namespace treadle
