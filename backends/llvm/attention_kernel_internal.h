// The code of attention and of its gradient, tile by tile. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "backends/llvm/attention_scratch.h"
#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/llvm/tile_ranges_internal.h"
#include "ir/ops/attention.h"
#include "ir/strided_view.h"

namespace treadle {

// A unit of `attention` is a tile of queries, one of its gradient is a whole
// batch: sums over tiles have one order, whoever computes them.
class AttentionKernel {
 public:
  // `types` are the operands'; `matrices` says where the rows of its row operands stand (ir/ops/
  // attention.h), and behind them those of its results but lse. All else is dense.
  AttentionKernel(const Target& target, DimTable& dims, const Node& node,
                  const std::vector<Type>& types, const std::vector<RowsView>& matrices,
                  const MatmulKernels& kernels);

  const Dim& units() const { return units_; }

  struct Pointers {
    std::vector<llvm::Value*> operands, results;
    llvm::Value* scratch = nullptr;  // the thread's own, as attention_scratch() says
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
    // Of queries; what is packed of them, and of their results' gradients.
    llvm::Value *panels = nullptr, *packed_queries = nullptr, *packed_gradients = nullptr;
    llvm::Value* next_queries = nullptr;  // of the next unit, forward
    llvm::Value* edge = nullptr;          // an i1: what of it is not seen is left out
  };
  // A matrix of each batch: an operand or a result.
  struct Matrix {
    llvm::Value* pointer = nullptr;
    const RowsView& rows;
    const Dim& width;
  };
  // The running values of a sweep over one row of a tile.
  using Values = std::vector<llvm::Value*>;

  // attention_tile.cpp
  void prepare_tiles();
  llvm::Value* panels_of(KernelEmitter& e, llvm::Value* rows);
  llvm::Value* groups_of(KernelEmitter& e, const Tile& tile);
  llvm::Value* up_to(KernelEmitter& e, llvm::Value* count, std::int64_t of);
  void pack_queries(KernelEmitter& e, const Matrix& matrix, llvm::Value* first, llvm::Value* rows,
                    llvm::Value* panels, llvm::Value* to);
  llvm::Value* count_seen(KernelEmitter& e, const Tile& tile);
  llvm::Value* keys_seen(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                         std::int64_t queries);
  std::pair<llvm::Value*, llvm::Value*> seen_by(KernelEmitter& e, const Tile& tile,
                                                llvm::Value* key);
  struct Strip {
    llvm::Value *a, *a_m, *a_k;
    llvm::Value *b, *b_k;
    llvm::Value *c, *c_m, *initial, *initial_m;
    llvm::Value *rows, *vectors, *k;
    llvm::Value *next, *next_step;  // as tile_next
  };
  void multiply_strip(KernelEmitter& e, const Strip& strip);
  struct Asked {
    llvm::Value *first, *step, *panel_bytes;
    llvm::Value* from(KernelEmitter& e, llvm::Value* panel) const;
  };
  Asked asked(KernelEmitter& e, llvm::Value* first, llvm::Value* elements, llvm::Value* rows,
              llvm::Value* panels, llvm::Value* k);
  void multiply_keys(KernelEmitter& e, const Tile& tile, const Matrix& keys,
                     llvm::Value* packed_queries, llvm::Value* to, const Asked& next);
  // c [rows, across] = a b, or += if `add`.
  struct RowsProduct {
    llvm::Value *a, *a_m, *a_k, *b, *b_k, *across, *c, *c_m, *rows, *k, *add;
  };
  // What is asked for with a panel, as tile_next and tile_next_step.
  using Ask = std::function<std::pair<llvm::Value*, llvm::Value*>(llvm::Value* panel)>;
  void multiply_rows(KernelEmitter& e, const RowsProduct& product, const Ask& ask);
  // Over the keys of the tile, for the queries from `query` on: body(index, offset, values),
  // where offset is that of a score. Of `turned`, read_in_rows(), the values are defined, for
  // square_lanes() whole queries.
  template <typename Body>
  Values down_keys(KernelEmitter& e, const Tile& tile, llvm::Value* query, unsigned lanes,
                   Values values, const std::vector<Value>& turned, Body&& body);
  // body(conditions that are true in the whole tile, lanes), whichever way it turns out.
  template <typename Body>
  void where_whole(KernelEmitter& e, const Tile& tile, Body&& body);

  // attention_forward.cpp
  void forward(KernelEmitter& e, llvm::Value* unit);
  void forward_tile(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void largest_scores(KernelEmitter& e, const Tile& tile, const std::vector<Value>& true_here,
                      unsigned lanes);
  void scale_to_largest(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void weigh(KernelEmitter& e, const Tile& tile);
  llvm::Function* weigh_function(llvm::Module& module);
  void multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out, llvm::Value* query,
                       llvm::Value* rows, llvm::Value* keys, bool ask);
  void finish(KernelEmitter& e, const Tile& tile, llvm::Value* out);
  void scale_rows(KernelEmitter& e, llvm::Value* out, llvm::Value* begin, llvm::Value* end);

  // attention_ahead.cpp
  struct AskedRows {
    Matrix matrix;
    llvm::Value* first;  // row of it
  };
  bool asks() const;
  void prepare_asks(KernelEmitter& e);
  Tile batch_behind(KernelEmitter& e, llvm::Value* batch);
  void ask_for_unit(KernelEmitter& e, const Tile& tile, const Tile& next);
  void ask_for_batch(KernelEmitter& e, llvm::Value* batch);
  void ask_for_rows(KernelEmitter& e, const std::vector<AskedRows>& matrices, const Tile& behind,
                    llvm::Value* rows);

  // attention_turned.cpp
  // What these outputs need, unless `known`, that stands in memory in a row of keys for each
  // query.
  std::vector<Value> read_in_rows(const std::vector<std::size_t>& outputs,
                                  const std::vector<Value>& known) const;
  unsigned square_lanes() const;
  void define_turned(KernelEmitter& e, const Tile& tile, llvm::Value* query, llvm::Value* key,
                     const std::vector<Value>& values, const std::vector<LaneIndices>& where);

  // attention_gradient.cpp
  void gradient(KernelEmitter& e, llvm::Value* batch);
  void pack(KernelEmitter& e, const Tile& whole);
  Tile queries_of(KernelEmitter& e, const Tile& whole, llvm::Value* row, llvm::Value* rows);
  void inner_products(KernelEmitter& e, const Tile& whole);
  void inner_products_of_weights(KernelEmitter& e, const Tile& whole);
  void multiply_scores(KernelEmitter& e, const Tile& tile);
  void clear_unseen(KernelEmitter& e, const Tile& tile);
  void gradient_tile(KernelEmitter& e, const Tile& tile);
  void gradient_scores(KernelEmitter& e, const Tile& tile, bool sum_only,
                       const std::vector<Value>& true_here, unsigned lanes);

  // Over tiles of rows or of columns: body(begin, count).
  template <typename Body>
  void tiles(KernelEmitter& e, const Dim& extent, std::int64_t size, Body&& body);
  // Unless no query of the tile sees a key of it, as far as the indices tell: otherwise().
  template <typename Body, typename Else>
  void where_seen(KernelEmitter& e, const Tile& tile, Body&& body, Else&& otherwise);
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
  LaneIndices index(KernelEmitter& e, const Tile& tile, llvm::Value* r, llvm::Value* column);
  LaneIndices turned_index(KernelEmitter& e, const Tile& tile, llvm::Value* r, llvm::Value* column);
  llvm::Value* sum_of_lanes(KernelEmitter& e, llvm::Value* x, unsigned lanes);
  unsigned lanes_along(const Dim& width) const;
  llvm::Value* smaller(KernelEmitter& e, llvm::Value* x, llvm::Value* y) {
    return e.b.CreateSelect(e.b.CreateICmpSLT(x, y), x, y);
  }
  llvm::Value* larger(KernelEmitter& e, llvm::Value* x, llvm::Value* y);
  llvm::Value* finite_or_zero(KernelEmitter& e, llvm::Value* x);
  llvm::Value* exp(KernelEmitter& e, llvm::Value* x);
  llvm::Value* minus_infinity(unsigned lanes);
  llvm::Value* vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column, unsigned lanes);
  void set_vector(KernelEmitter& e, llvm::Value* row, llvm::Value* column, llvm::Value* value);
  void scale_row(KernelEmitter& e, llvm::Value* row, const Dim& width, llvm::Value* factor);
  void clear(KernelEmitter& e, llvm::Value* pointer, llvm::Value* elements);
  llvm::Value* at(KernelEmitter& e, llvm::Value* pointer, llvm::Value* offset);
  Matrix operand(KernelEmitter& e, std::size_t i);  // or its copy
  Matrix original(std::size_t i) const;
  Matrix result(std::size_t i) const;
  llvm::Value* row_of(KernelEmitter& e, const Matrix& matrix, const Tile& tile, llvm::Value* row);
  llvm::Value* row_stride(KernelEmitter& e, const Matrix& matrix) {
    return e.extent(matrix.rows.row_stride);
  }
  void clear_rows(KernelEmitter& e, const Matrix& matrix, llvm::Value* first, llvm::Value* rows);
  // From the tile's first query on.
  llvm::Value* lse_of(KernelEmitter& e, llvm::Value* lse, const Tile& tile);
  llvm::Value* piece(KernelEmitter& e, AttentionScratch::Piece piece);
  std::optional<AttentionScratch::Piece> copy_of(std::size_t operand) const;
  void copy_operands(KernelEmitter& e, const Tile& batch);

  const Target& target_;
  DimTable& dims_;
  const Graph& body_;
  const MatmulKernels& kernels_;
  MatmulTile tile_;  // of products whose B is not packed by kernels_
  DType dtype_;
  bool gradient_, plain_, masked_;
  std::size_t matrices_, arguments_;  // as AttentionView has them
  std::vector<RowsView> operand_rows_, result_rows_;
  AttentionScratch scratch_;
  std::vector<RowsView> copied_rows_;  // of an operand that is copied
  Dims batch_dims_;
  Dim batch_, queries_, keys_, width_, value_width_, units_;
  // Queries and keys of a tile, elements from one key's scores to the next.
  std::int64_t tile_queries_ = 0, tile_keys_ = 0, score_stride_ = 0;
  // Queries, and keys, that are seen or left out together on the edge of a mask: a part of a panel.
  std::int64_t group_ = 0;
  // Of what the body computes, and of functions of `dtype_` alone.
  unsigned lanes_ = 1, function_lanes_ = 1;
  const Pointers* pointers_ = nullptr;
  llvm::Type* element_ = nullptr;
  // On the stack: a tile's scores and their gradients.
  llvm::Value *scores_ = nullptr, *gradients_ = nullptr;
  // What is asked for meanwhile: a list of places in memory, and from where to where it still holds
  // some (attention_strip_internal.h).
  llvm::Value *asked_ = nullptr, *asks_ = nullptr;
  // Of each query, its largest score and sum so far, the largest score of a tile and by
  // what its result is to be multiplied; of rows that are packed, a panel.
  llvm::Value *tops_ = nullptr, *sums_ = nullptr, *maxima_ = nullptr, *factors_ = nullptr,
              *panel_ = nullptr, *begun_ = nullptr, *zeros_ = nullptr, *seen_ = nullptr,
              *at_batch_ = nullptr;
};

template <typename Body>
void AttentionKernel::tiles(KernelEmitter& e, const Dim& extent, std::int64_t size, Body&& body) {
  llvm::Value* all = e.extent(extent);
  emit_loop(e.b, e.integer(0), all, e.integer(size), [&](llvm::Value* begin) {
    body(begin, smaller(e, e.integer(size), e.b.CreateSub(all, begin)));
  });
}

template <typename Body, typename Else>
void AttentionKernel::where_seen(KernelEmitter& e, const Tile& tile, Body&& body,
                                 Else&& otherwise) {
  llvm::Value* none = unseen(e, tile);
  if (none == nullptr)
    body();
  else
    emit_if(e.b, none, otherwise, body);
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

template <typename Body>
AttentionKernel::Values AttentionKernel::down_keys(KernelEmitter& e, const Tile& tile,
                                                   llvm::Value* query, unsigned lanes,
                                                   Values values, const std::vector<Value>& turned,
                                                   Body&& body) {
  // Every score that a vector of queries sees is written, whichever sweep reads it: those of
  // plain weights are of single registers at the edge of a mask.
  const std::int64_t together = plain_ ? lanes : std::max(lanes_, function_lanes_);
  llvm::Value* first = e.b.CreateAnd(query, e.integer(-together));
  llvm::Value *begin = e.integer(0), *end = keys_seen(e, tile, first, together);
  const auto at_key = [&](llvm::Value* key, const LaneIndices& where, Values& next) {
    llvm::Value* offset = e.b.CreateMul(key, e.integer(score_stride_));
    body(where, e.b.CreateAdd(offset, query), next);
  };
  if (!turned.empty()) {
    const std::int64_t side = square_lanes();
    llvm::Value* whole = e.b.CreateAnd(end, e.integer(-side));
    values = emit_loop(e.b, begin, whole, e.integer(side), std::move(values),
                       [&](llvm::Value* key, Values& next) {
                         e.start_block();
                         std::vector<llvm::Value*> keys;
                         std::vector<LaneIndices> where;
                         for (std::int64_t i = 0; i < side; ++i) {
                           keys.push_back(e.b.CreateAdd(key, e.integer(i)));
                           where.push_back(turned_index(e, tile, query, keys.back()));
                         }
                         define_turned(e, tile, query, key, turned, where);
                         for (std::size_t i = 0; i < keys.size(); ++i)
                           at_key(keys[i], where[i], next);
                       });
    begin = whole;
  }
  return emit_loop(e.b, begin, end, e.integer(1), std::move(values),
                   [&](llvm::Value* key, Values& next) {
                     e.start_block();
                     at_key(key, turned_index(e, tile, query, key), next);
                   });
}

// Most tiles are seen as a whole: conditions of positions need not be asked there.
template <typename Body>
void AttentionKernel::where_whole(KernelEmitter& e, const Tile& tile, Body&& body) {
  llvm::IRBuilder<>& b = e.b;
  std::vector<Value> conditions;
  llvm::Value* whole = b.getTrue();
  e.start_block();
  const IndexRanges index = ranges(e, tile);
  for (const Node& node : body_.nodes()) {
    if (node.op != Op::select ||
        body_.type(node.operands[0]).dims != body_.type(body_.input_value(0)).dims)
      continue;
    llvm::Value* always = TileRanges(e).always(node.operands[0], index);
    if (always == nullptr) continue;
    conditions.push_back(node.operands[0]);
    whole = b.CreateAnd(whole, always);
  }
  e.start_block();
  if (conditions.empty()) return body(conditions, lanes_);
  // At the edge of a mask a vector of few queries leaves out more; others fill the time that the
  // chain of an exp takes, since no turn depends on the one before.
  emit_if(
      b, whole, [&] { body(conditions, lanes_); },
      [&] { body(std::vector<Value>{}, plain_ ? square_lanes() : lanes_); });
}

}  // namespace treadle
