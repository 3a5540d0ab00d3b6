// The product of one row with a packed matrix. Included only by
// backends/llvm/*.cpp.
#pragma once
#include "backends/llvm/matmul_kernel.h"

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace treadle {

// Adds to the module
//   void <prefix>.row(a, a_k, packed, c, n, k, begin, end, apart, runs, turn, start)
// which writes columns below n of C = start + A B, null being zero, with GemmFunction's arguments
// and bits: those of vectors begin ... end - 1, and as many in each of so many runs, `apart`
// vectors behind the run before. Vector v holds columns v * lanes ....
//
// One row leaves nothing to reuse: the bound is how fast B comes from the
// cache, so that several panels are read side by side, which hides the latency
// of the sums. In odd turns of a loop it goes from the last columns to the first: what
// of B was read last is still in the cache, which in a B larger than it would be gone
// by the time that it is read again.
llvm::Function* emit_row_product(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                 const char* prefix);

// The same as <prefix>.interleaved_row(..., start, state): while it waits for B, it computes of
// the product in `state` (interleaved_tile_internal.h) what is left for this turn.
llvm::Function* emit_interleaved_row_product(llvm::Module& module, const Target& target,
                                             const MatmulTile& tile, const char* prefix);

}  // namespace treadle
