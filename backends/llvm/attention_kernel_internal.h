// The code of attention and of its gradient, tile by tile. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <vector>

#include "backends/llvm/attention_packs.h"
#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "ir/ops/attention.h"

namespace treadle {

// A unit of `attention` is a tile of queries, one of its gradient is a whole
// batch: sums over tiles have one order, whoever computes them.
class AttentionKernel {
 public:
  // Operands are dense. `types` are theirs.
  AttentionKernel(const Target& target, DimTable& dims, const Node& node,
                  const std::vector<Type>& types, const MatmulKernels& kernels);

  const Dim& units() const { return units_; }

  struct Pointers {
    std::vector<llvm::Value*> operands, results;
    std::vector<llvm::Value*> packed;  // as attention_packs() says; a gradient fills it itself
    llvm::Value* scratch = nullptr;    // of the gradient: a number for each query
  };
  // The builder stands in the function's entry block.
  void emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* begin, llvm::Value* end,
            const Pointers& pointers);

 private:
  // A tile: rows of queries, columns of keys.
  struct Tile {
    llvm::Value *batch = nullptr, *row = nullptr, *rows = nullptr, *column = nullptr,
                *columns = nullptr;
    LaneIndices batch_index;
  };
  // The running values of a sweep over one row of a tile.
  using Values = std::vector<llvm::Value*>;

  void forward(KernelEmitter& e, llvm::Value* unit);
  void forward_row(KernelEmitter& e, const Tile& tile, llvm::Value* r);
  void finish_row(KernelEmitter& e, const Tile& tile, llvm::Value* r);
  void gradient(KernelEmitter& e, llvm::Value* batch);
  void pack(KernelEmitter& e, const Tile& whole);
  void inner_products(KernelEmitter& e, const Tile& whole);
  void inner_products_of_weights(KernelEmitter& e, const Tile& whole);
  void gradient_tile(KernelEmitter& e, const Tile& tile);
  void gradient_row(KernelEmitter& e, const Tile& tile, llvm::Value* r, bool sum_only);

  // Over tiles of rows or of columns: body(begin, count).
  template <typename Body>
  void tiles(KernelEmitter& e, const Dim& extent, std::int64_t size, Body&& body);
  // Unless no query of the tile sees a key of it, as far as the indices tell.
  template <typename Body>
  void where_seen(KernelEmitter& e, const Tile& tile, Body&& body);
  // Over the vectors of `columns` columns: body(column, mask, values).
  template <typename Body>
  Values sweep(KernelEmitter& e, llvm::Value* columns, const Dim& extent, Values values,
               Body&& body);
  // c [rows, n] += a packed (or =), where panels of `packed` are `panel_rows` rows
  // high and begin at row `from`.
  struct Product {
    llvm::Value *a, *a_m, *a_k;
    llvm::Value *packed, *panel_rows, *from;
    llvm::Value *c, *c_m;
    llvm::Value *rows, *n, *k;
    bool add = false;
  };
  void multiply(KernelEmitter& e, const Product& product);
  void multiply_tile(KernelEmitter& e, const Tile& tile, std::size_t operand, std::size_t pack,
                     const Dim& width, llvm::Value* to);

  LaneIndices index(KernelEmitter& e, const Tile& tile, llvm::Value* r, llvm::Value* column);
  llvm::Value* fold(KernelEmitter& e, llvm::Value* x, bool maximum);
  llvm::Value* larger(KernelEmitter& e, llvm::Value* x, llvm::Value* y);
  llvm::Value* finite_or_zero(KernelEmitter& e, llvm::Value* x);
  llvm::Value* exp(KernelEmitter& e, llvm::Value* x);
  llvm::Value* minus_infinity(unsigned lanes);
  llvm::Value* vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column);
  void set_vector(KernelEmitter& e, llvm::Value* row, llvm::Value* column, llvm::Value* value);
  void scale_row(KernelEmitter& e, llvm::Value* row, const Dim& width, llvm::Value* factor);
  void clear(KernelEmitter& e, llvm::Value* pointer, llvm::Value* elements);
  llvm::Value* at(KernelEmitter& e, llvm::Value* pointer, llvm::Value* offset);
  llvm::Value* at(KernelEmitter& e, llvm::Value* pointer, const Tile& tile, llvm::Value* row,
                  const Dim& rows, const Dim& width);
  llvm::Value* stride(KernelEmitter& e, const Tile& tile);
  llvm::Value* packed(KernelEmitter& e, std::size_t pack, const Tile& tile, const Dim& k,
                      const Dim& n);

  const Target& target_;
  DimTable& dims_;
  const Graph& body_;
  const MatmulKernels& kernels_;
  DType dtype_;
  bool gradient_, plain_;
  Dims batch_dims_;
  Dim batch_, queries_, keys_, width_, value_width_, units_;
  unsigned lanes_ = 1;
  std::int64_t tile_columns_ = 0, narrow_columns_ = 0;  // most, and of a tile with few
  const Pointers* pointers_ = nullptr;
  llvm::Type* element_ = nullptr;
  // On the stack: a tile's scores and their gradients, a row's maximum and sum.
  llvm::Value *scores_ = nullptr, *gradients_ = nullptr, *tops_ = nullptr, *sums_ = nullptr;
};

}  // namespace treadle
