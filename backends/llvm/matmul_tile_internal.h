// One register tile of the matrix multiplication. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <cstdint>
#include <string>

#include "backends/llvm/matmul_kernel_internal.h"

namespace llvm {
class FunctionType;
class IRBuilderBase;
class LLVMContext;
}  // namespace llvm

namespace treadle {

// The arguments of every tile function; strides are in bytes here.
enum TileArgument : unsigned {
  tile_a,
  tile_a_m,
  tile_a_k,
  tile_b,
  tile_c,
  tile_c_m,
  tile_initial,
  tile_initial_m,
  tile_k,
  // Only with an epilogue: where the tile is, whether its sums are complete.
  tile_row,
  tile_column,
  tile_last,
  tile_context,
  // Only where B's rows are apart or a tile asks, without an epilogue: by how much they, or the
  // rows asked for, are apart, and what is read next and asked for meanwhile, so many bytes
  // further on after each steps_together along k.
  tile_b_k = tile_row,
  tile_next,
  tile_next_step,
  // Only of a tile that reads listed columns of A: where each of them is, in bytes from tile_a.
  tile_columns_at = tile_next_step + 1,
  // Of one that asks, where those of A stand that it asks for, and how far they are from there.
  tile_asked_at,
  tile_a_asked,
  // Only of a chained tile: the product that its sums start with, as it is said above, and what it
  // asks for meanwhile.
  chained_a = tile_next_step + 1,
  chained_a_m,
  chained_a_k,
  chained_b,
  chained_k,
  chained_next,
  chained_next_step,
  chained_argument_end,
  // Of one that copies B: sums of B's columns, and where its panel goes.
  tile_sums = tile_next,
  tile_packed = tile_a_asked,
};

// Steps along k that the tile of most rows and vectors takes together.
inline constexpr unsigned steps_together = 4;

llvm::FunctionType* tile_function_type(llvm::LLVMContext& context, bool with_epilogue,
                                       bool b_apart = false);

// Asks for the line at `address`: locality 3, into the first level of cache, 2, the second.
void emit_prefetch(llvm::IRBuilderBase& b, llvm::Value* address, int locality);

// void tile(a, a_m, a_k, b, c, c_m, initial, initial_m, k): C's `rows` rows of
// `vectors` vectors = initial + A B, where b is a block of a
// packed panel and initial_m = 0 starts every row from the same one.
llvm::Function* emit_tile_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, int rows, int vectors,
                                   const std::string& name, const TileEpilogue& epilogue);
// The same for a whole panel of B whose rows are tile_b_k apart.
llvm::Function* emit_apart_tile_function(llvm::Module& module, const Target& target,
                                         const MatmulTile& tile, int rows, const std::string& name);

// The first one's function for a packed panel that asks, meanwhile, for rows_asked rows of
// another, or of other memory, from `next` on, tile_b_k apart, after each steps_together along k:
// so many such tiles ask for as much as they read of B.
inline constexpr int tiles_that_ask = 2;
inline constexpr int rows_asked = steps_together / tiles_that_ask;
llvm::Function* emit_asking_tile_function(llvm::Module& module, const Target& target,
                                          const MatmulTile& tile, const std::string& name);

// The same for two products, C = initial + A2 B2 + A B, whose sums stay in registers between
// them: the asking tile's arguments and those from chained_a on. Rows of both that are asked for
// are tile_b_k apart; without `asks` none are.
llvm::Function* emit_chained_tile_function(llvm::Module& module, const Target& target,
                                           const MatmulTile& tile, bool asks,
                                           const std::string& name);

// The tiles of a B that stands where it is: they read A column by column, each of which is dense
// and stands where a list says (tile_columns_at). All take the same arguments; of most rows are
//   asks_b:  for up to three lines, tile_b_k apart, of B's next panel after each steps_together, or
//            for none anew: memory takes hundreds of cycles to answer, and few lines may be on the
//            way at a time; what a tile reads itself would wait behind more.
//   asks_ab: and for a line of each of A's columns.
//   copies:  the apart one's, that packs B's panel as it reads it and adds its rows to `sums`, as
//            PackFunction does, and asks for the next line of each of A's columns;
// of fewer
//   plain:   asks for nothing.
// Only where there are registers enough: copies_b.
enum class DirectTile : std::uint8_t { asks_b, copies, asks_ab, plain };
llvm::Function* emit_direct_tile_function(llvm::Module& module, const Target& target,
                                          const MatmulTile& tile, int rows, int vectors,
                                          DirectTile kind, const std::string& name);
inline constexpr int lines_asked = 3;

// Vectors of a panel that is narrower than others for that they are of even widths. With one of
// two vectors a tile would wait for its multiply-adds.
int least_vectors(const MatmulTile& tile);

// Does the first tile of a panel pack B where it stands? To pack it before takes 3 to 6 % of
// the time of a weight's gradient; with 16 registers there are none left for that.
bool copies_b(const Target& target, const MatmulTile& tile);

}  // namespace treadle
