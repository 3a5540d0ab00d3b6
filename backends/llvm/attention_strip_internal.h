// The product of attention's tiles: a strip of C, as wide as a panel or narrower, where B's rows
// stand apart, as in V itself. Included only by backends/llvm/*.cpp.
#pragma once
#include "backends/llvm/matmul_kernel.h"
#include "backends/llvm/matmul_tile_internal.h"

namespace treadle {

// The arguments behind those of a tile function whose B is apart.
enum AttentionStripArgument : unsigned {
  strip_m = tile_next_step + 1,  // rows
  strip_vectors,                 // that a row of C has: none, up to the tile's
  // Of one that asks: two pointers, to where a list begins and ends of pointers to pairs of lines.
  // Some are asked for with each tile; those that are left stand there afterwards.
  strip_asks,
};
inline constexpr std::int64_t pair_bytes = 128;

// One for each module, and one that is `asking`. Strides are in bytes.
llvm::Function* attention_strip(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                bool asking);

// A PackFunction of that tile's panels (matmul_kernel.h), one for each module.
llvm::Function* attention_pack(llvm::Module& module, const Target& target, const MatmulTile& tile);

}  // namespace treadle
