// How operand B of a product is laid out for its tiles. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>

#include "backends/llvm/matmul_kernel.h"

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace treadle {

// A PackFunction, with internal linkage.
llvm::Function* emit_pack_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, const std::string& name);

}  // namespace treadle
