#include "backends/llvm/matmul_kernel.h"
#include "backends/llvm/target.h"
#include "ir/strided_view.h"

namespace treadle {

MatmulTile matmul_tile(const Target& target, DType dtype) {
  MatmulTile tile;
  if (dtype == DType::bf16) {
    tile = matmul_tile(target, DType::f32);
    tile.pairs = true;
    tile.amx = target.has_amx;
    if (tile.amx) {
      tile.rows = tile.columns = 32;
      tile.vectors = tile.columns / tile.lanes;
    } else {
      tile.rows = tile.rows < 8 ? 4 : 8;  // squares of pairs are turned
    }
    return tile;
  }
  tile.dtype = dtype;
  tile.lanes = target.vector_bytes / static_cast<int>(size_of(dtype));
  tile.vectors = target.vector_registers >= 32 ? 3 : 2;
  // A product that is not fused needs a register of its own.
  tile.rows = target.vector_registers >= 32 ? 8 : target.has_fma ? 6 : 4;
  tile.columns = tile.vectors * tile.lanes;
  return tile;
}

const MatmulTile& MatmulTiles::of(DType dtype) const {
  return dtype == DType::f32 ? f32 : dtype == DType::f64 ? f64 : pairs;
}

MatmulTiles matmul_tiles(const Target& target) {
  return {matmul_tile(target, DType::f32), matmul_tile(target, DType::f64),
          matmul_tile(target, DType::bf16)};
}

Dim packed_depth(const MatmulTile& tile, const Dim& k) {
  if (tile.amx) return (k + Dim(31)).floor_div(32) * Dim(16);
  return tile.pairs ? (k + Dim(1)).floor_div(2) : k;
}

Dim packed_elements(const MatmulTile& tile, const MatmulShape& shape) {
  const Dim panels = (shape.n + Dim(tile.columns - 1)).floor_div(tile.columns);
  return shape.batch * panels * Dim(tile.columns) * packed_depth(tile, shape.k);
}

}  // namespace treadle
