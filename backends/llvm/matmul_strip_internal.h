// Tiles one below the other. Included only by backends/llvm/*.cpp.
#pragma once
#include <string>
#include <vector>

#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/llvm/matmul_tile_internal.h"

namespace llvm {
class Function;
class IRBuilderBase;
class LLVMContext;
class Module;
class Value;
}  // namespace llvm

namespace treadle {

// What a strip takes behind a tile function's arguments.
enum StripArgument : unsigned {
  strip_b_next,      // rows of B that are wanted next, to be asked for,
  strip_b_k,         // how far apart, in bytes,
  strip_b_rows,      // and how many at each tile; 0: unless b_next is null, the first tiles ask
                     // for as many as they read, as they go
  strip_b_from,      // unless null, where the first tile finds B, b_k apart, to pack it
  strip_sums,        // what it adds B's rows to
  strip_a_ahead,     // how many bytes of each of A's rows to ask for one tile ahead
  strip_columns_at,  // unless null, where A's columns stand, for direct tiles (tile_columns_at)
  strip_a_asks,      // AsksForA
  strip_b_asked,     // -1: B's next panel is asked for as strip_b_rows has it; by direct tiles:
                     // the rows of those that could ask before,
  strip_b_tiles,     // and of all that can
  strip_a_height,    // from one tile's height of A's rows to the next, in bytes
  strip_ahead,       // unless null, the state of what is asked for ahead (ahead_state_type)
  strip_rows,
  strip_argument_count,
};

// What direct tiles ask for of A: the next line of each of the columns that they read; the last
// one for the first line of each of the next block's columns.
enum AsksForA : std::int8_t { a_next_line = 1, a_next_block = 2 };

// Tiles of the greatest height that still fits, one below the other. With `copies` b_from
// may be something: B's panel is packed on the way then.
llvm::Function* emit_strip_function(llvm::Module& module, const Target& target,
                                    const MatmulTile& tile, int vectors, const std::string& prefix,
                                    const TileEpilogue& epilogue, bool copies);

// The heights of a strip's tiles, and the name of a tile's function.
std::vector<int> row_counts(const MatmulTile& tile);
std::string tile_name(const MatmulTile& tile, const std::string& prefix, int rows, int vectors);

// Asks for so many bytes of each row of a tile's, a_m apart from `a` on.
void emit_ask_for_rows(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* a,
                       llvm::Value* a_m, llvm::Value* bytes);

// Row i of A, whose rows stand in strips of a tile's height.
llvm::Value* emit_a_row(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* a,
                        llvm::Value* a_m, llvm::Value* a_strip, llvm::Value* i);

}  // namespace treadle
