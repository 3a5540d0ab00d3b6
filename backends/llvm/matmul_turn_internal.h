// Blocks of operand A, and copies of them for their tiles. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>

#include "backends/llvm/matmul_kernel.h"

namespace llvm {
class Function;
class IRBuilderBase;
class Module;
class Type;
class Value;
}  // namespace llvm

namespace treadle {

// A block of A (row_block x k_block) and one of B (k_block x columns) share the
// L2 cache while all tiles between them are worked out.
inline constexpr int k_block = 256;
inline constexpr int row_block = 256;
static_assert(rows_of_two <= row_block);

// The blocks of a product: those, where both operands' are copied, as pairs, or, but for their
// depth (MatmulTile), where B's are (`direct`). Of packed B they are deeper, since each tile begins
// and ends with its sums in memory, unless A may have to be copied, its columns being dense; and a
// block of A has so many bytes, a quarter of Zen 3's L2 cache, since C's lines pass through that as
// well. With 256 x 256 products of 2,048 rows take 1.05 to 1.09 of the time, one of 16 rows by 512
// x 2,048 takes 1.03.
inline constexpr int deep_k_block = 512;
constexpr int a_block_bytes(const MatmulTile& tile) {
  return (tile.lanes * static_cast<int>(size_of(tile.dtype)) == 64 ? 256 : 128) << 10;
}
struct BlockSize {
  llvm::Value *rows = nullptr, *k = nullptr;
};
BlockSize emit_block_size(llvm::IRBuilderBase& b, const MatmulTile& tile, bool direct,
                          llvm::Value* rows, llvm::Value* k, llvm::Value* a_m);

// How many blocks `extent` is, and an A of m rows: the turns of a DirectGemmFunction.
llvm::Value* emit_blocks_of(llvm::IRBuilderBase& b, llvm::Value* extent, int block);
llvm::Value* emit_direct_turns(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* m,
                               llvm::Value* k);

// (a, a_k, run, a_run, k0, rows, k, to): a block of A, columns k0 ... k0 + k - 1, whose
// columns are dense, as when it is the transpose of a matrix, in strips of a tile's height,
// each column by column. Tiles that read it where it stands find one line of every column
// in the same few sets of the cache. Strides of A are in bytes, `run` as
// DirectGemmFunction has it.
llvm::Function* emit_turn_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, const std::string& name);

// How columns of A stand: in runs of `run`, each a_run behind the one before, a_k apart within;
// in bytes.
struct ColumnRuns {
  llvm::Value *a_k, *run, *a_run;
};
llvm::Value* emit_column_at(llvm::IRBuilderBase& b, const ColumnRuns& runs, llvm::Value* k);
// Writes to `list` where `count` columns from k0 on, of k, stand from the first of them on;
// behind the last column, that one again.
void emit_list_columns(llvm::IRBuilderBase& b, const ColumnRuns& runs, llvm::Value* k0,
                       llvm::Value* k, int count, llvm::Value* list);

// Elements from one strip of a block of k columns to the next: a line more than it has, or
// the strips' ends would stand in the same few sets of the cache.
llvm::Value* emit_turned_strip(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* k);

}  // namespace treadle
