// Two products, one behind the other in the same tiles. Included only by backends/llvm/*.cpp.
#pragma once
#include <string>
#include <vector>

#include "backends/llvm/matmul_panel_internal.h"

namespace treadle {

// The strip of two products, C = initial + A2 B2 + A B (emit_chained_tile_function), and a whole
// panel, by the tiles that emit_strip_function has added.
llvm::Function* emit_chained_strip_function(llvm::Module& module, const Target& target,
                                            const MatmulTile& tile, const std::string& prefix);

// The first of the two products of a panel: where A's rows and B's panel stand, strides in bytes;
// B's next panel, unless null, to be asked for, and how many bytes of each of A's rows to ask for
// one tile ahead.
struct ChainedPanel {
  llvm::Function* strip;
  llvm::Value *a, *a_m, *a_k, *b, *k, *b_next, *a_ahead;
};

// As emit_panel_strips with the second product's arguments, whose strip_ahead is not null. Where
// the panel is narrower its sums stand in C between the two.
void emit_chained_strips(llvm::IRBuilderBase& b, const MatmulTile& tile, const PanelStrips& strips,
                         llvm::AllocaInst* buffer, const ChainedPanel& first,
                         const std::vector<llvm::Value*>& arguments, llvm::Value* width);

}  // namespace treadle
