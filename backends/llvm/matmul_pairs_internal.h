// The operands of a product as pairs of bfloat16, copies that round as they go. Included
// only by backends/llvm/*.cpp.
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

// tile.depth(k) of any tile.
llvm::Value* emit_depth(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* k);

// `tile` is one of pairs below; the functions have internal linkage.
//
// A PackFunction that makes no sums: its last argument is not looked at.
llvm::Function* emit_pair_pack_function(llvm::Module& module, const Target& target,
                                        const MatmulTile& tile, const std::string& name);

// void(a, a_m, a_k, rows, k, to): a block of A, a_m and a_k in bytes, in strips of a tile's
// height, each pair by pair. Of the last strip's missing rows nothing is defined. With AMX
// in tiles: 16 rows of 16 pairs, 64 bytes each, the tiles of 16 rows one behind the other
// along k; what is missing of the last ones and of the last 32 rows is zero.
llvm::Function* emit_pair_copy_function(llvm::Module& module, const Target& target,
                                        const MatmulTile& tile, const std::string& name);

}  // namespace treadle
