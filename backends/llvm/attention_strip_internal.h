// The product of attention's tiles: a strip of C, as wide as a panel, where B's rows
// stand apart, as in V itself. Included only by backends/llvm/*.cpp.
#pragma once
#include "backends/llvm/matmul_kernel.h"
#include "backends/llvm/matmul_tile_internal.h"

namespace treadle {

// The arguments behind those of a tile function whose B is apart.
enum AttentionStripArgument : unsigned {
  strip_m = tile_next_step + 1,  // rows
};

// One for each module. Strides are in bytes.
llvm::Function* attention_strip(llvm::Module& module, const Target& target, const MatmulTile& tile);

}  // namespace treadle
