// Products of pairs of bfloat16 by the tile registers of AMX. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>

namespace llvm {
class Function;
class IRBuilderBase;
class Module;
}  // namespace llvm

namespace treadle {

struct Target;

// Around what calls the strip: all tile registers are 16 rows of 64 bytes; then they are
// given back.
void emit_amx_begin(llvm::IRBuilderBase& b);
void emit_amx_end(llvm::IRBuilderBase& b);

// void(a, b, c, c_m, initial, initial_m, depth, rows): C = initial + A B for 32 columns and
// whole tiles of 32 rows, as many as it takes for `rows`; strides are in bytes. A is a block
// in tiles (matmul_pairs_internal.h), b a panel's.
llvm::Function* emit_amx_strip(llvm::Module& module, const Target& target, const std::string& name);

}  // namespace treadle
