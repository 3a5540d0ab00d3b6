// Emits matrix multiplication kernels. Included only by backends/llvm/*.cpp and
// its tests.
#pragma once
#include <functional>
#include <span>

#include "backends/llvm/matmul_kernel.h"

namespace llvm {
class Function;
class IRBuilderBase;
class Module;
class Value;
}  // namespace llvm

namespace treadle {

// One finished tile, before it is stored. sums[i * vectors + v] holds columns
// column + v * lanes ... of row (row + i); the hook may replace the sums, and
// emits straight-line code only.
struct MatmulTileSums {
  std::span<llvm::Value*> sums;
  int rows = 0;
  int vectors = 0;
  llvm::Value* row = nullptr;      // i64
  llvm::Value* column = nullptr;   // i64; vectors may reach past n, where values are not stored
  llvm::Value* context = nullptr;  // the last argument of gemm
};
using TileEpilogue = std::function<void(llvm::IRBuilderBase&, const MatmulTileSums&)>;

struct MatmulKernels {
  MatmulTile tile;
  llvm::Function* pack = nullptr;     // PackFunction
  llvm::Function* gemm = nullptr;     // GemmFunction; with an epilogue it takes one pointer more
  llvm::Function* asking = nullptr;   // AskingGemmFunction, where it is asked for; not with AMX
  llvm::Function* chained = nullptr;  // ChainedGemmFunction, where it is asked for
  llvm::Function* direct = nullptr;   // DirectGemmFunction, where it is asked for; not of pairs
};

// Adds `<prefix>.pack`, `<prefix>.gemm` and their helpers to the module, all
// with internal linkage, for f32 or f64, or for pairs (bf16). `epilogue`, if any, runs on every
// tile once its sums are complete; pack is left null then, since the packed form is that of the
// kernels without one. `direct` and `asks`, which goes without an epilogue, add what is named
// like them, and so does `chains` where there may be such a one (may_chain), together with `asks`.
MatmulKernels emit_matmul_kernels(llvm::Module& module, const Target& target, DType dtype,
                                  const char* prefix, const TileEpilogue& epilogue = {},
                                  bool direct = false, bool asks = false, bool chains = false);

// Not of pairs, of which A is copied.
inline bool may_chain(const MatmulTile& tile) { return !tile.pairs && !tile.amx; }

}  // namespace treadle
