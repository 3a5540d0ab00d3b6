// The gradient of attention: a unit is a whole batch. A tile's weights are computed again from
// what the forward half kept of each query, the logarithm of its sum [Dao 2023].
#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

// Arguments and outputs of the region, as ir/ops/attention.h has them.
enum Argument : std::size_t { score, weight, d_weights, d_scores };
enum Output : std::size_t { scores, weights, d_weight, d_score };

}  // namespace

void AttentionKernel::gradient(KernelEmitter& e, llvm::Value* batch) {
  Tile whole;
  whole.batch = batch;
  whole.batch_index = e.delinearise(batch, batch_dims_);
  copy_operands(e, whole);
  pack(e, whole);
  ask_for_batch(e, batch);
  if (plain_)
    inner_products(e, whole);
  else
    inner_products_of_weights(e, whole);
  // What nothing is added to; the first tile that is seen writes.
  const auto clear_result = [&](std::size_t i, llvm::Value* row, llvm::Value* rows) {
    clear_rows(e, result(i), row_of(e, result(i), whole, row), rows);
  };
  tiles(e, keys_, tile_keys_, [&](llvm::Value* column, llvm::Value* columns) {
    e.b.CreateStore(e.b.getFalse(), begun_);
    tiles(e, queries_, tile_queries_, [&](llvm::Value* row, llvm::Value* rows) {
      Tile tile = queries_of(e, whole, row, rows);
      tile.column = column;
      tile.columns = columns;
      llvm::Value* first_keys = e.b.CreateICmpEQ(column, e.integer(0));
      where_seen(
          e, tile,
          [&] {
            tile.edge = count_seen(e, tile);
            gradient_tile(e, tile);
            e.b.CreateStore(e.b.getTrue(), begun_);
          },
          [&] {
            emit_if(
                e.b, first_keys, [&] { clear_result(0, row, rows); }, [] {});
          });
    });
    emit_if(
        e.b, e.b.CreateLoad(e.b.getInt1Ty(), begun_), [] {},
        [&] {
          clear_result(1, column, columns);
          clear_result(2, column, columns);
        });
  });
  emit_if(
      e.b, e.b.CreateICmpEQ(e.extent(keys_), e.integer(0)),
      [&] { clear_result(0, e.integer(0), e.extent(queries_)); }, [] {});
}

// Here and not in front of the kernel: what is packed is read while it is in cache.
void AttentionKernel::pack(KernelEmitter& e, const Tile& whole) {
  llvm::Value* panels = panels_of(e, e.extent(queries_));
  const auto pack_one = [&](std::size_t i, AttentionScratch::Piece pack) {
    const Matrix from = operand(e, i);
    pack_queries(e, from, row_of(e, from, whole, e.integer(0)), e.extent(queries_), panels,
                 piece(e, pack));
  };
  pack_one(op_q, AttentionScratch::packed_q);
  pack_one(op_dy, AttentionScratch::packed_dy);
}

AttentionKernel::Tile AttentionKernel::queries_of(KernelEmitter& e, const Tile& whole,
                                                  llvm::Value* row, llvm::Value* rows) {
  llvm::IRBuilder<>& b = e.b;
  Tile tile = whole;
  tile.row = row;
  tile.rows = rows;
  tile.panels = panels_of(e, rows);
  tile.packed_queries =
      at(e, piece(e, AttentionScratch::packed_q), b.CreateMul(row, e.extent(width_)));
  tile.packed_gradients =
      at(e, piece(e, AttentionScratch::packed_dy), b.CreateMul(row, e.extent(value_width_)));
  return tile;
}

// Of each query, the sum of p * d_weight over the keys: it is that of
// result * dy where the weights are p.
void AttentionKernel::inner_products(KernelEmitter& e, const Tile& whole) {
  llvm::IRBuilder<>& b = e.b;
  const unsigned lanes = lanes_along(value_width_);
  llvm::Value* zeros = llvm::Constant::getNullValue(value_type(b.getContext(), dtype_, lanes));
  emit_loop(b, e.integer(0), e.extent(queries_), e.integer(1), [&](llvm::Value* row) {
    llvm::Value *x = row_of(e, operand(e, op_result), whole, row),
                *y = row_of(e, operand(e, op_dy), whole, row);
    llvm::Value* sums = sweep(
        e, e.extent(value_width_), value_width_, {zeros},
        [&](llvm::Value* column, llvm::Value* mask, Values& values) {
          const auto of = [&](llvm::Value* from) {
            return e.load(dtype_, from, {column, 1, nullptr}, mask, lanes);
          };
          values[0] = b.CreateFAdd(values[0], b.CreateFMul(of(x), of(y)));
        },
        lanes)[0];
    b.CreateStore(sum_of_lanes(e, sums, lanes),
                  at(e, piece(e, AttentionScratch::inner_products), row));
  });
}

void AttentionKernel::inner_products_of_weights(KernelEmitter& e, const Tile& whole) {
  tiles(e, queries_, tile_queries_, [&](llvm::Value* row, llvm::Value* rows) {
    Tile tile = queries_of(e, whole, row, rows);
    clear(e, sums_, e.integer(tile_queries_));
    tiles(e, keys_, tile_keys_, [&](llvm::Value* column, llvm::Value* columns) {
      tile.column = column;
      tile.columns = columns;
      where_seen(
          e, tile,
          [&] {
            tile.edge = count_seen(e, tile);
            multiply_scores(e, tile);
            gradient_scores(e, tile, true, {}, lanes_);
          },
          [] {});
    });
    llvm::Value* inner = at(e, piece(e, AttentionScratch::inner_products), row);
    sweep(
        e, rows, queries_, {},
        [&](llvm::Value* query, llvm::Value* mask, Values&) {
          e.store(vector_at(e, sums_, query, function_lanes_), dtype_, inner, query, mask);
        },
        function_lanes_);
  });
}

void AttentionKernel::multiply_scores(KernelEmitter& e, const Tile& tile) {
  const auto multiply = [&](std::size_t i, llvm::Value* packed_rows, llvm::Value* to) {
    multiply_keys(e, tile, operand(e, i), packed_rows, to,
                  {packed_rows, e.integer(0), e.integer(0)});
  };
  multiply(op_k, tile.packed_queries, scores_);
  multiply(op_v, tile.packed_gradients, gradients_);
  if (masked_)
    emit_if(
        e.b, tile.edge, [&] { clear_unseen(e, tile); }, [] {});
}

// What a group of queries does not see is not computed, but may be read together with what
// others see.
void AttentionKernel::clear_unseen(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *group = e.integer(group_), *stride = e.integer(score_stride_);
  emit_loop(b, e.integer(0), tile.rows, group, [&](llvm::Value* first) {
    emit_loop(b, keys_seen(e, tile, first, 1), tile.columns, e.integer(1), [&](llvm::Value* key) {
      llvm::Value* offset = b.CreateAdd(b.CreateMul(key, stride), first);
      for (llvm::Value* to : {scores_, gradients_}) clear(e, at(e, to, offset), group);
    });
  });
}

void AttentionKernel::gradient_tile(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  multiply_scores(e, tile);
  where_whole(e, tile, [&](const std::vector<Value>& true_here, unsigned lanes) {
    gradient_scores(e, tile, false, true_here, lanes);
  });
  llvm::Value *zero = e.integer(0), *one = e.integer(1);
  llvm::Value *stride = e.integer(score_stride_), *group = e.integer(group_);
  const auto multiply = [&](const RowsProduct& product) {
    multiply_rows(e, product, [&](llvm::Value*) { return std::pair(product.b, zero); });
  };
  // At the edge of what is seen, a group of rows at a time.
  const auto blocks = [&](llvm::Value* count, const auto& body) {
    llvm::Value* step = b.CreateSelect(tile.edge, group, count);
    emit_loop(b, zero, count, step, [&](llvm::Value* first) {
      body(first, smaller(e, step, b.CreateSub(count, first)));
    });
  };
  llvm::Value* begun = b.CreateLoad(b.getInt1Ty(), begun_);
  llvm::Value* first_keys = b.CreateICmpEQ(tile.column, zero);
  // += the tile's weights, or its d_score, times the queries' rows of operand `i`.
  const auto add_to_keys = [&](std::size_t of, llvm::Value* from, std::size_t i) {
    const Matrix others = operand(e, i), sums = result(of);
    llvm::Value *b_k = row_stride(e, others), *c_m = row_stride(e, sums);
    llvm::Value *rows_of = row_of(e, others, tile, tile.row),
                *to = row_of(e, sums, tile, tile.column);
    blocks(tile.columns, [&](llvm::Value* key, llvm::Value* rows) {
      const auto [begin, end] = seen_by(e, tile, key);
      llvm::Value* query = b.CreateMul(begin, group);
      llvm::Value* last = smaller(e, b.CreateMul(end, group), tile.rows);
      multiply({at(e, from, b.CreateAdd(b.CreateMul(key, stride), query)), stride, one,
                at(e, rows_of, b.CreateMul(query, b_k)), b_k, e.extent(sums.width),
                at(e, to, b.CreateMul(key, c_m)), c_m, rows, b.CreateSub(last, query), begun});
    });
  };
  add_to_keys(2, scores_, op_dy);
  add_to_keys(1, gradients_, op_q);
  const Matrix all_keys = operand(e, op_k), sums = result(0);
  llvm::Value *b_k = row_stride(e, all_keys), *c_m = row_stride(e, sums);
  llvm::Value* to = row_of(e, sums, tile, tile.row);
  llvm::Value* keys = row_of(e, all_keys, tile, tile.column);
  blocks(tile.rows, [&](llvm::Value* query, llvm::Value* rows) {
    llvm::Value* seen = b.CreateSelect(tile.edge, keys_seen(e, tile, query, 1), tile.columns);
    multiply({at(e, gradients_, query), one, stride, keys, b_k, e.extent(width_),
              at(e, to, b.CreateMul(query, c_m)), c_m, rows, seen, b.CreateNot(first_keys)});
  });
}

// Scores become weights, d_weights become d_score; or only the sum of
// p * d_weight is added.
void AttentionKernel::gradient_scores(KernelEmitter& e, const Tile& tile, bool sum_only,
                                      const std::vector<Value>& true_here, unsigned lanes) {
  llvm::IRBuilder<>& b = e.b;
  const std::vector<std::size_t> outputs =
      sum_only ? std::vector<std::size_t>{scores, d_weight}
               : std::vector<std::size_t>{scores, weights, d_weight, d_score};
  const std::vector<Value> in_rows = read_in_rows(outputs, true_here);
  if (!in_rows.empty()) lanes = square_lanes();
  llvm::Value* all_lse = lse_of(e, pointers_->operands[op_lse], tile);
  llvm::Value* all_inner = at(e, piece(e, AttentionScratch::inner_products), tile.row);
  const auto of_queries = [&](llvm::Value* query, llvm::Value* mask, Values&) {
    llvm::Value* lse = e.load(dtype_, all_lse, {query, 1, nullptr}, mask, lanes);
    llvm::Value* inner = e.load(dtype_, all_inner, {query, 1, nullptr}, mask, lanes);
    // A query that saw nothing has only scores of -inf; one with a NaN keeps it.
    llvm::Value* shift = b.CreateSelect(b.CreateFCmpOEQ(lse, minus_infinity(lanes)),
                                        llvm::Constant::getNullValue(lse->getType()), lse);
    Values start;
    if (sum_only) start.push_back(vector_at(e, sums_, query, lanes));
    const Values sums = down_keys(
        e, tile, query, lanes, start, mask == nullptr ? in_rows : std::vector<Value>{},
        [&](const LaneIndices& where, llvm::Value* offset, Values& values) {
          llvm::Value *place = at(e, scores_, offset), *gradient = at(e, gradients_, offset);
          const auto known = [&](std::size_t argument, llvm::Value* value) {
            e.define(body_.input_value(argument), where, mask, lanes, value);
          };
          const auto output = [&](std::size_t i) {
            return e.emit(body_.outputs()[i].value, where, mask, lanes);
          };
          for (const Value condition : true_here)
            e.define(condition, where, mask, lanes,
                     llvm::ConstantInt::getTrue(value_type(b.getContext(), DType::b1, lanes)));
          known(score, vector_at(e, place, e.integer(0), lanes));
          llvm::Value* p = exp(e, b.CreateFSub(output(scores), shift));
          known(weight, p);
          known(d_weights, vector_at(e, gradient, e.integer(0), lanes));
          llvm::Value* by_weight = output(d_weight);
          if (sum_only) {
            values[0] = b.CreateFAdd(values[0], b.CreateFMul(p, by_weight));
            return;
          }
          known(d_scores, b.CreateFMul(p, b.CreateFSub(by_weight, inner)));
          set_vector(e, place, e.integer(0), output(weights));
          set_vector(e, gradient, e.integer(0), output(d_score));
        });
    if (sum_only) set_vector(e, sums_, query, sums[0]);
  };
  sweep(e, tile.rows, queries_, {}, of_queries, lanes);
}

}  // namespace treadle
