// What attention's tiles read beside the operands themselves.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "backends/llvm/matmul_kernel.h"
#include "ir/graph.h"
#include "ir/strided_view.h"

namespace treadle {

enum AttentionOperand : std::size_t { op_q, op_k, op_v, op_dy, op_result, op_lse };

// Queries and keys of a tile at least and at most: its scores fit the first cache beside a panel.
constexpr std::int64_t least_queries = 64;
constexpr std::int64_t most_keys = 64;
// As many sums in registers as the products' tile has, in a power of two of vectors a row: so
// many columns divide the tile's queries and most heads' widths.
MatmulTile attention_tile(MatmulTile tile);
// Whole panels of attention_tile().
constexpr std::int64_t queries_of_tile(const MatmulTile& tile) {
  return (least_queries + tile.columns - 1) / tile.columns * tile.columns;
}

// Each thread has one for the batch that it is at, so that it stays in the cache.
struct AttentionScratch {
  enum Piece : std::size_t {
    packed_q,  // turned and packed (matmul_kernel.h): forward, those of a tile
    packed_dy,
    inner_products,  // of the gradient, one of each query
    // Copies of operands whose rows do not stand behind one another: as they are read again and
    // again, those would push each other out of the few sets of the cache that they start in.
    copied_q,
    copied_k,
    copied_v,
    copied_dy,
    pieces
  };
  std::array<Dim, pieces> elements;  // 0: not needed
  Dim start(std::size_t piece) const;
  Dim all() const { return start(pieces); }
};
// `rows` are those of the operands, `tile` is that of the products.
AttentionScratch attention_scratch(const Node& node, std::span<const Type> operands,
                                   std::span<const RowsView> rows, const MatmulTile& tile);

}  // namespace treadle
