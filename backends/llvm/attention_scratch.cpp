#include "backends/llvm/attention_scratch.h"

#include <bit>

#include "ir/ops/attention.h"

namespace treadle {

namespace {

constexpr std::int64_t elements_of_line = 16;  // or a half of two

Dim whole(const Dim& n, std::int64_t of) { return (n + Dim(of - 1)).floor_div(of) * Dim(of); }

}  // namespace

MatmulTile attention_tile(MatmulTile tile) {
  const int sums = tile.rows * tile.vectors;
  tile.vectors = static_cast<int>(std::bit_ceil(static_cast<unsigned>(tile.vectors)));
  tile.rows = sums / tile.vectors;
  tile.columns = tile.vectors * tile.lanes;
  return tile;
}

Dim AttentionScratch::start(std::size_t piece) const {
  Dim out(0);
  for (std::size_t i = 0; i < piece; ++i) out = out + whole(elements[i], elements_of_line);
  return out;
}

AttentionScratch attention_scratch(const Node& node, std::span<const Type> operands,
                                   std::span<const RowsView> rows, const MatmulTile& products) {
  const MatmulTile tile = attention_tile(products);
  const AttentionView view(node);
  const Dim &width = operands[op_q].dims.back(), &value_width = operands[op_v].dims.back();
  AttentionScratch out;
  const auto copied = [&](AttentionScratch::Piece piece, std::size_t i, const Dim& count) {
    const Dim& columns = operands[i].dims.back();
    if (rows[i].row_stride != columns) out.elements[piece] = count * columns;
  };
  copied(AttentionScratch::copied_k, op_k, view.keys());
  copied(AttentionScratch::copied_v, op_v, view.keys());
  if (!view.gradient) {
    out.elements[AttentionScratch::packed_q] = Dim(queries_of_tile(tile)) * width;
    return out;
  }
  const Dim panels = whole(view.queries(), tile.columns);
  out.elements[AttentionScratch::packed_q] = panels * width;
  out.elements[AttentionScratch::packed_dy] = panels * value_width;
  out.elements[AttentionScratch::inner_products] = view.queries();
  copied(AttentionScratch::copied_q, op_q, view.queries());
  copied(AttentionScratch::copied_dy, op_dy, view.queries());
  return out;
}

}  // namespace treadle
