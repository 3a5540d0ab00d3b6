// The code of attention and of its gradient, tile by tile. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <vector>

#include "backends/llvm/attention_packs.h"
#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/llvm/tile_ranges_internal.h"
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
    std::vector<llvm::Value*> packed;  // as attention_packs() says, filled by the kernel
    llvm::Value* scratch = nullptr;    // of the gradient: a number for each query
  };
  // The builder stands in the function's entry block.
  void emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* begin, llvm::Value* end,
            const Pointers& pointers);

 private:
  // Registers side by side, at most: the long chain of an exp waits for itself, so that
  // others have to fill the time.
  static constexpr unsigned most_registers = 4;

  // A tile: rows of queries, columns of keys.
  struct Tile {
    llvm::Value *batch = nullptr, *row = nullptr, *rows = nullptr, *column = nullptr,
                *columns = nullptr;
    LaneIndices batch_index;
    llvm::Value *panels = nullptr, *packed_queries = nullptr;  // of queries, forward
    llvm::Value* next_queries = nullptr;
    llvm::Value* edge = nullptr;  // an i1: what of it is not seen is left out
  };
  // The running values of a sweep over one row of a tile.
  using Values = std::vector<llvm::Value*>;

  // attention_forward.cpp
  void prepare_forward();
  void forward(KernelEmitter& e, llvm::Value* unit);
  void forward_tile(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void multiply_keys(KernelEmitter& e, const Tile& tile);
  void largest_scores(KernelEmitter& e, const Tile& tile);
  void largest_scores(KernelEmitter& e, const Tile& tile, const std::vector<Value>& true_here);
  void scale_to_largest(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void weigh(KernelEmitter& e, const Tile& tile);
  llvm::Function* weigh_function(llvm::Module& module);
  struct Strip {
    llvm::Value *a, *a_m, *a_k;
    llvm::Value *b, *b_k;
    llvm::Value *c, *c_m, *initial, *initial_m;
    llvm::Value *rows, *k;
    llvm::Value *next, *next_step;  // as tile_next
  };
  void multiply_strip(KernelEmitter& e, const Strip& strip);
  struct Asked {
    llvm::Value *first, *step, *panel_bytes;
    llvm::Value* from(KernelEmitter& e, llvm::Value* panel) const;
  };
  Asked asked(KernelEmitter& e, llvm::Value* first, llvm::Value* elements, llvm::Value* rows,
              llvm::Value* panels, llvm::Value* k);
  void multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out, llvm::Value* query,
                       llvm::Value* rows, llvm::Value* keys, bool ask);
  llvm::Value* count_seen(KernelEmitter& e, const Tile& tile);
  llvm::Value* keys_seen(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                         std::int64_t queries);
  void finish(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  // Over the keys of the tile, for the queries from `query` on: body(index, scores, values).
  // Of `turned`, read_in_rows(), the values are defined, for square_lanes() whole queries.
  template <typename Body>
  Values down_keys(KernelEmitter& e, const Tile& tile, llvm::Value* query, Values values,
                   const std::vector<Value>& turned, Body&& body);
  llvm::Value* vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column, unsigned lanes);
  void scale_rows(KernelEmitter& e, llvm::Value* out, llvm::Value* begin, llvm::Value* end);

  // attention_turned.cpp
  // What `output` needs, unless `known`, that stands in memory in a row of keys for each query.
  std::vector<Value> read_in_rows(Value output, const std::vector<Value>& known) const;
  unsigned square_lanes() const;
  void define_turned(KernelEmitter& e, const Tile& tile, llvm::Value* query, llvm::Value* key,
                     const std::vector<Value>& values, const std::vector<LaneIndices>& where);

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
  // An i1, or null: never for certain.
  llvm::Value* unseen(KernelEmitter& e, const Tile& tile);
  IndexRanges ranges(KernelEmitter& e, const Tile& tile);
  // Over the vectors of `columns` columns: body(column, mask, values).
  template <typename Body>
  Values sweep(KernelEmitter& e, llvm::Value* columns, const Dim& extent, Values values,
               Body&& body, unsigned lanes);
  template <typename Body>
  Values sweep(KernelEmitter& e, llvm::Value* columns, const Dim& extent, Values values,
               Body&& body) {
    return sweep(e, columns, extent, std::move(values), std::forward<Body>(body), lanes_);
  }
  // c [rows, n] += a packed (or =), where panels of `packed` are `panel_rows` rows
  // high and begin at row `from`.
  struct Product {
    llvm::Value *a, *a_m, *a_k;
    llvm::Value *packed, *panel_rows, *from;
    llvm::Value *c, *c_m;
    llvm::Value *rows, *n, *k;
    llvm::Value* add;
  };
  void multiply(KernelEmitter& e, const Product& product);
  void multiply_tile(KernelEmitter& e, const Tile& tile, std::size_t operand, std::size_t pack,
                     const Dim& width, llvm::Value* to);

  LaneIndices index(KernelEmitter& e, const Tile& tile, llvm::Value* r, llvm::Value* column);
  LaneIndices turned_index(KernelEmitter& e, const Tile& tile, llvm::Value* r, llvm::Value* column);
  llvm::Value* fold(KernelEmitter& e, llvm::Value* x, bool maximum);
  llvm::Value* smaller(KernelEmitter& e, llvm::Value* x, llvm::Value* y) {
    return e.b.CreateSelect(e.b.CreateICmpSLT(x, y), x, y);
  }
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
  bool gradient_, plain_, masked_;
  Dims batch_dims_;
  Dim batch_, queries_, keys_, width_, value_width_, units_;
  unsigned lanes_ = 1;
  std::int64_t tile_columns_ = 0, narrow_columns_ = 0;  // most, and of a tile with few
  // Of the forward half: queries and keys of a tile, elements from one key's scores to
  // the next, lanes where only functions of `dtype_` are computed.
  std::int64_t tile_queries_ = 0, tile_keys_ = 0, score_stride_ = 0;
  unsigned function_lanes_ = 1;
  const Pointers* pointers_ = nullptr;
  llvm::Type* element_ = nullptr;
  // On the stack: a tile's scores and their gradients.
  llvm::Value *scores_ = nullptr, *gradients_ = nullptr;
  // Of each query, its largest score and sum so far, the largest score of a tile and by
  // what its result is to be multiplied; of values, a panel.
  llvm::Value *tops_ = nullptr, *sums_ = nullptr, *maxima_ = nullptr, *factors_ = nullptr,
              *panel_ = nullptr, *begun_ = nullptr, *zeros_ = nullptr, *seen_ = nullptr;
};

template <typename Body>
void AttentionKernel::tiles(KernelEmitter& e, const Dim& extent, std::int64_t size, Body&& body) {
  llvm::Value* all = e.extent(extent);
  emit_loop(e.b, e.integer(0), all, e.integer(size), [&](llvm::Value* begin) {
    body(begin, smaller(e, e.integer(size), e.b.CreateSub(all, begin)));
  });
}

template <typename Body>
void AttentionKernel::where_seen(KernelEmitter& e, const Tile& tile, Body&& body) {
  llvm::Value* none = unseen(e, tile);
  if (none == nullptr)
    body();
  else
    emit_if(
        e.b, none, [] {}, body);
}

template <typename Body>
AttentionKernel::Values AttentionKernel::sweep(KernelEmitter& e, llvm::Value* columns,
                                               const Dim& extent, Values values, Body&& body,
                                               unsigned lanes) {
  llvm::IRBuilder<>& b = e.b;
  const auto constant = extent.constant();
  const bool divisible = constant && *constant % lanes == 0;
  llvm::Value* whole = b.CreateSub(columns, b.CreateAnd(columns, e.integer(lanes - 1)));
  values = emit_loop(b, e.integer(0), whole, e.integer(lanes), std::move(values),
                     [&](llvm::Value* column, Values& next) {
                       e.start_block();
                       body(column, nullptr, next);
                     });
  if (divisible) return values;
  return emit_loop(b, whole, columns, e.integer(lanes), std::move(values),
                   [&](llvm::Value* column, Values& next) {
                     e.start_block();
                     std::vector<llvm::Constant*> steps;
                     for (unsigned i = 0; i < lanes; ++i) steps.push_back(b.getInt64(i));
                     llvm::Value* left = b.CreateVectorSplat(lanes, b.CreateSub(columns, column));
                     body(column, b.CreateICmpSLT(llvm::ConstantVector::get(steps), left), next);
                   });
}

}  // namespace treadle
