// The forward half of attention: a unit is a tile of queries.
#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

// Keys whose exps are computed side by side.
constexpr std::int64_t keys_together = 4;

}  // namespace

// Tiles from both ends in turn, so that a thread's share of tiles under a causal
// mask has short rows and long ones.
void AttentionKernel::forward(KernelEmitter& e, llvm::Value* unit) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* count = e.extent((queries_ + Dim(tile_queries_ - 1)).floor_div(tile_queries_));
  const auto place = [&](llvm::Value* number) {
    Tile tile;
    tile.batch = b.CreateUDiv(number, count);
    tile.batch_index = e.delinearise(tile.batch, batch_dims_);
    llvm::Value* turn = b.CreateURem(number, count);
    llvm::Value* half = b.CreateLShr(turn, e.integer(1));
    llvm::Value* from_end = b.CreateSub(b.CreateSub(count, e.integer(1)), half);
    llvm::Value* odd = b.CreateTrunc(turn, b.getInt1Ty());
    tile.row = b.CreateMul(b.CreateSelect(odd, from_end, half), e.integer(tile_queries_));
    return tile;
  };
  const Tile next = place(b.CreateAdd(unit, e.integer(1)));
  Tile tile = place(unit);
  emit_if(
      b, b.CreateICmpEQ(tile.batch, b.CreateLoad(b.getInt64Ty(), at_batch_)), [] {},
      [&] { copy_operands(e, tile); });
  b.CreateStore(tile.batch, at_batch_);
  const Matrix queries = operand(e, op_q);
  tile.next_queries = row_of(e, queries, next, next.row);
  tile.rows = smaller(e, e.integer(tile_queries_), b.CreateSub(e.extent(queries_), tile.row));
  tile.panels = panels_of(e, tile.rows);
  tile.packed_queries = piece(e, AttentionScratch::packed_q);
  pack_queries(e, queries, row_of(e, queries, tile, tile.row), tile.rows, tile.panels,
               tile.packed_queries);
  llvm::Value* out = row_of(e, result(0), tile, tile.row);
  ask_for_unit(e, tile, next);
  b.CreateStore(b.getFalse(), begun_);
  clear(e, sums_, e.integer(tile_queries_));
  emit_loop(b, e.integer(0), e.integer(tile_queries_), e.integer(function_lanes_),
            [&](llvm::Value* query) {
              e.store(minus_infinity(function_lanes_), dtype_, tops_, query, nullptr);
            });
  tiles(e, keys_, tile_keys_, [&](llvm::Value* column, llvm::Value* columns) {
    tile.column = column;
    tile.columns = columns;
    where_seen(
        e, tile,
        [&] {
          tile.edge = count_seen(e, tile);
          forward_tile(e, tile, out);
          b.CreateStore(b.getTrue(), begun_);
        },
        [] {});
  });
  emit_if(
      b, b.CreateLoad(b.getInt1Ty(), begun_), [] {},
      [&] { clear_rows(e, result(0), out, tile.rows); });
  finish(e, tile, out);
}

// Scores become weights below the largest score so far; what was summed before
// is scaled to it [Dao 2023].
void AttentionKernel::forward_tile(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  // V's rows of this tile are asked for meanwhile.
  llvm::Value* values = row_of(e, operand(e, op_v), tile, tile.column);
  llvm::Value* elements = e.b.CreateMul(tile.columns, e.extent(value_width_));
  multiply_keys(e, tile, operand(e, op_k), tile.packed_queries, scores_,
                asked(e, values, elements, tile.columns, tile.panels, e.extent(width_)));
  where_whole(e, tile, [&](const std::vector<Value>& true_here, unsigned lanes) {
    largest_scores(e, tile, true_here, lanes);
  });
  scale_to_largest(e, tile, out);
  weigh(e, tile);
  multiply_values(e, tile, out);
}

void AttentionKernel::largest_scores(KernelEmitter& e, const Tile& tile,
                                     const std::vector<Value>& true_here, unsigned lanes) {
  const std::vector<Value> in_rows = read_in_rows({0}, true_here);
  if (!in_rows.empty()) lanes = square_lanes();
  const auto largest = [&](llvm::Value* query, llvm::Value* mask, Values&) {
    llvm::Value* maximum = down_keys(
        e, tile, query, lanes, {minus_infinity(lanes)},
        mask == nullptr ? in_rows : std::vector<Value>{},
        [&](const LaneIndices& where, llvm::Value* offset, Values& values) {
          llvm::Value* place = at(e, scores_, offset);
          e.define(body_.input_value(0), where, mask, lanes,
                   vector_at(e, place, e.integer(0), lanes));
          for (const Value condition : true_here)
            e.define(condition, where, mask, lanes,
                     llvm::ConstantInt::getTrue(value_type(e.b.getContext(), DType::b1, lanes)));
          llvm::Value* score = e.emit(body_.outputs()[0].value, where, mask, lanes);
          set_vector(e, place, e.integer(0), score);
          values[0] = larger(e, score, values[0]);
        })[0];
    set_vector(e, maxima_, query, maximum);
  };
  sweep(e, tile.rows, queries_, {}, largest, lanes);
}

// Behind the first tiles a larger score is rare.
void AttentionKernel::scale_to_largest(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  llvm::IRBuilder<>& b = e.b;
  const auto load = [&](llvm::Value* numbers, llvm::Value* query) {
    return vector_at(e, numbers, query, function_lanes_);
  };
  const auto store = [&](llvm::Value* value, llvm::Value* numbers, llvm::Value* query) {
    e.store(value, dtype_, numbers, query, nullptr);
  };
  emit_loop(b, e.integer(0), tile.rows, e.integer(function_lanes_), [&](llvm::Value* query) {
    llvm::Value *before = load(tops_, query), *top = larger(e, load(maxima_, query), before);
    store(top, tops_, query);
    llvm::Value* shift = finite_or_zero(e, top);
    store(shift, maxima_, query);
    llvm::Value* changed = b.CreateAnd(b.CreateFCmpUNE(top, before),
                                       b.CreateFCmpUNE(before, minus_infinity(function_lanes_)));
    emit_if(
        b, b.CreateOrReduce(changed),
        [&] {
          llvm::Value* factor = exp(e, b.CreateFSub(before, shift));
          store(factor, factors_, query);
          store(b.CreateFMul(load(sums_, query), factor), sums_, query);
          llvm::Value* end = b.CreateAdd(query, e.integer(function_lanes_));
          scale_rows(e, out, query, smaller(e, end, tile.rows));
        },
        [] {});
  });
}

void AttentionKernel::scale_rows(KernelEmitter& e, llvm::Value* out, llvm::Value* begin,
                                 llvm::Value* end) {
  llvm::IRBuilder<>& b = e.b;
  emit_loop(b, begin, end, e.integer(1), [&](llvm::Value* r) {
    llvm::Value* factor = b.CreateLoad(element_, at(e, factors_, r));
    emit_if(
        b, b.CreateFCmpOEQ(factor, llvm::ConstantFP::get(element_, 1)), [] {},
        [&] {
          scale_row(e, at(e, out, b.CreateMul(r, row_stride(e, result(0)))), value_width_, factor);
        });
  });
}

void AttentionKernel::weigh(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  if (plain_) {  // what stands in lanes behind the last query is not read
    llvm::Function* function = weigh_function(*b.GetInsertBlock()->getModule());
    const std::int64_t lanes = square_lanes();
    emit_loop(b, e.integer(0), tile.rows, e.integer(lanes), [&](llvm::Value* query) {
      b.CreateCall(function, {at(e, scores_, query), at(e, maxima_, query), at(e, sums_, query),
                              keys_seen(e, tile, query, lanes)});
    });
    return;
  }
  const std::vector<Value> in_rows = read_in_rows({1}, {});
  const unsigned lanes = in_rows.empty() ? lanes_ : square_lanes();
  const auto weigh_keys = [&](llvm::Value* query, llvm::Value* mask, Values&) {
    llvm::Value* shift = vector_at(e, maxima_, query, lanes);
    llvm::Value* sum = vector_at(e, sums_, query, lanes);
    sum = down_keys(e, tile, query, lanes, {sum}, mask == nullptr ? in_rows : std::vector<Value>{},
                    [&](const LaneIndices& where, llvm::Value* offset, Values& values) {
                      llvm::Value* place = at(e, scores_, offset);
                      llvm::Value* score = vector_at(e, place, e.integer(0), lanes);
                      llvm::Value* weight = exp(e, b.CreateFSub(score, shift));
                      values[0] = b.CreateFAdd(values[0], weight);
                      e.define(body_.input_value(1), where, mask, lanes, weight);
                      weight = e.emit(body_.outputs()[1].value, where, mask, lanes);
                      set_vector(e, place, e.integer(0), weight);
                    })[0];
    set_vector(e, sums_, query, sum);
  };
  sweep(e, tile.rows, queries_, {}, weigh_keys, lanes);
}

// (scores, shifts, sums, keys), of a vector of queries: scores become weights. A function of its
// own has the registers that the chains of several exps side by side need, those of keys that
// follow each other: queries at the edge of a mask see keys of different number.
llvm::Function* AttentionKernel::weigh_function(llvm::Module& module) {
  const std::string name = std::string("attention.weigh.") + std::string(to_string(dtype_));
  if (llvm::Function* known = module.getFunction(name)) return known;
  llvm::LLVMContext& context = module.getContext();
  llvm::Type *p = llvm::PointerType::get(context, 0), *i = llvm::Type::getInt64Ty(context);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {p, p, p, i}, false);
  auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target_);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", f));
  llvm::Type* vector = value_type(context, dtype_, square_lanes());
  const auto load = [&](llvm::Value* from) {
    return b.CreateAlignedLoad(vector, from, llvm::Align(size_of(dtype_)));
  };
  const auto store = [&](llvm::Value* value, llvm::Value* to) {
    b.CreateAlignedStore(value, to, llvm::Align(size_of(dtype_)));
  };
  llvm::Value *sums = f->getArg(2), *keys = f->getArg(3), *begin = b.getInt64(0);
  llvm::Value* shift = load(f->getArg(1));
  Values sum = {load(sums)};
  for (const std::int64_t together : {keys_together, std::int64_t{1}}) {
    llvm::Value* step = b.getInt64(static_cast<std::uint64_t>(together));
    llvm::Value* end = b.CreateAnd(keys, b.CreateNeg(step));
    sum = emit_loop(b, begin, end, step, sum, [&](llvm::Value* key, Values& values) {
      Values places, weights;
      for (std::int64_t j = 0; j < together; ++j) {
        llvm::Value* row = b.CreateAdd(key, b.getInt64(static_cast<std::uint64_t>(j)));
        llvm::Value* offset =
            b.CreateMul(row, b.getInt64(static_cast<std::uint64_t>(score_stride_)));
        places.push_back(b.CreateGEP(element_, f->getArg(0), offset));
        weights.push_back(
            emit_exp_of_difference(b, b.CreateFSub(load(places.back()), shift), target_));
      }
      for (std::size_t j = 0; j < places.size(); ++j) {
        values[0] = b.CreateFAdd(values[0], weights[j]);
        store(weights[j], places[j]);
      }
    });
    begin = end;
  }
  store(sum[0], sums);
  b.CreateRetVoid();
  return f;
}

// At the edge of what is seen, a group of queries at a time.
void AttentionKernel::multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  llvm::IRBuilder<>& b = e.b;
  const auto whole = [&] {
    multiply_values(e, tile, out, e.integer(0), tile.rows, tile.columns, true);
  };
  if (!masked_) return whole();
  llvm::Value* group = e.integer(group_);
  emit_if(
      b, tile.edge,
      [&] {
        emit_loop(b, e.integer(0), tile.rows, group, [&](llvm::Value* first) {
          multiply_values(e, tile, out, first, smaller(e, group, b.CreateSub(tile.rows, first)),
                          keys_seen(e, tile, first, 1), false);
        });
      },
      whole);
}

// Keys of the next tile and, with the first tile, the next unit's queries are asked for
// meanwhile, if `ask`.
void AttentionKernel::multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out,
                                      llvm::Value* query, llvm::Value* rows, llvm::Value* keys,
                                      bool ask) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *zero = e.integer(0), *one = e.integer(1), *across = e.extent(value_width_);
  const Matrix values = operand(e, op_v), all_keys = operand(e, op_k);
  llvm::Value* begun = b.CreateLoad(b.getInt1Ty(), begun_);
  llvm::Value* panels = b.CreateUDiv(across, e.integer(tile_.columns));
  llvm::Value* next_keys = row_of(e, all_keys, tile, b.CreateAdd(tile.column, tile.columns));
  llvm::Value* half = b.CreateLShr(b.CreateAdd(panels, one), one);
  const Asked next_key_rows =
      asked(e, next_keys, b.CreateMul(tile.columns, e.extent(width_)), rows, half, keys);
  llvm::Value* queries = b.CreateMul(e.integer(tile_queries_), e.extent(width_));
  const Asked next_queries =
      asked(e, tile.next_queries, b.CreateSelect(begun, zero, queries), rows, half, keys);
  llvm::Value* c_m = row_stride(e, result(0));
  multiply_rows(
      e,
      {at(e, scores_, query), one, e.integer(score_stride_), row_of(e, values, tile, tile.column),
       row_stride(e, values), across, at(e, out, b.CreateMul(query, c_m)), c_m, rows, keys, begun},
      [&](llvm::Value* panel) -> std::pair<llvm::Value*, llvm::Value*> {
        // A single panel asks for one of them.
        llvm::Value* of_queries = b.CreateSelect(b.CreateICmpEQ(panels, one), b.CreateNot(begun),
                                                 b.CreateTrunc(panel, b.getInt1Ty()));
        llvm::Value* turn = b.CreateLShr(panel, one);
        llvm::Value* next =
            b.CreateSelect(of_queries, next_queries.from(e, turn), next_key_rows.from(e, turn));
        return {next,
                ask ? b.CreateSelect(of_queries, next_queries.step, next_key_rows.step) : zero};
      });
}

void AttentionKernel::finish(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* lse = lse_of(e, pointers_->results[1], tile);
  sweep(
      e, tile.rows, queries_, {},
      [&](llvm::Value* query, llvm::Value* mask, Values&) {
        llvm::Value* sum = vector_at(e, sums_, query, function_lanes_);
        llvm::Value* shift = finite_or_zero(e, vector_at(e, tops_, query, function_lanes_));
        llvm::Value* one = llvm::ConstantFP::get(sum->getType(), 1);
        llvm::Value* nothing = b.CreateFCmpOEQ(sum, llvm::Constant::getNullValue(sum->getType()));
        llvm::Value* factor = b.CreateFDiv(one, b.CreateSelect(nothing, one, sum));
        e.store(factor, dtype_, factors_, query, nullptr);
        llvm::Value* log = b.CreateFAdd(emit_unary(b, ScalarOp::log, sum, target_), shift);
        e.store(b.CreateSelect(nothing, minus_infinity(function_lanes_), log), dtype_, lse, query,
                mask);
      },
      function_lanes_);
  scale_rows(e, out, e.integer(0), tile.rows);
}

}  // namespace treadle
