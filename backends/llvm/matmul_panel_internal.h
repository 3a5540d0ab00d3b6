// The strips of one panel. Included only by backends/llvm/*.cpp.
#pragma once
#include <string>
#include <vector>

#include "backends/llvm/matmul_kernel_internal.h"

namespace llvm {
class AllocaInst;
class Constant;
}  // namespace llvm

namespace treadle {

struct PanelStrips {
  std::vector<llvm::Function*> by_vectors;  // emit_strip_function, from one vector on
  llvm::Function* amx = nullptr;            // or emit_amx_strip
  bool with_epilogue = false;
};

// What a sum starts from that has no `initial`: a row of a panel.
llvm::Constant* emit_zero_row(llvm::Module& module, const MatmulTile& tile,
                              const std::string& prefix);

// Where a tile of a panel's last columns goes that are no whole vectors; one for a function.
llvm::AllocaInst* emit_panel_buffer(llvm::IRBuilderBase& b, const MatmulTile& tile);

// Calls the strip of so many columns, with the arguments of one (matmul_strip_internal.h).
void emit_panel_strips(llvm::IRBuilderBase& b, const MatmulTile& tile, const PanelStrips& strips,
                       llvm::AllocaInst* buffer, const std::vector<llvm::Value*>& arguments,
                       llvm::Value* width);

}  // namespace treadle
