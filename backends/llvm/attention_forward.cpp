// The forward half of attention. A tile's scores stand turned, a row for each key and a
// column for each query: K and V are read as they stand, the queries alone are packed,
// and a query's maximum and sum run from row to row in a lane of their own.
#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/attention_strip_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

// A tile of scores fits the first cache beside a panel.
constexpr std::int64_t least_queries = 64;
constexpr std::int64_t most_keys = 64;
// Rows that all start in few of the cache's sets would push each other out.
constexpr std::int64_t line_bytes = 64;

}  // namespace

void AttentionKernel::prepare_forward() {
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  const std::int64_t columns = kernels_.tile.columns;
  tile_queries_ = (least_queries + columns - 1) / columns * columns;
  tile_keys_ = most_keys;
  score_stride_ = tile_queries_ + line_bytes / size;
  const auto lanes = static_cast<std::int64_t>(kernels_.tile.lanes);
  std::int64_t registers = most_registers;
  while (tile_queries_ % (registers * lanes) != 0) registers /= 2;
  function_lanes_ = static_cast<unsigned>(registers * lanes);
  units_ = batch_ * (queries_ + Dim(tile_queries_ - 1)).floor_div(tile_queries_);
}

llvm::Value* AttentionKernel::vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column,
                                        unsigned lanes) {
  return e.load(dtype_, row, {column, 1, nullptr}, nullptr, lanes);
}

// Tiles from both ends in turn, so that a thread's share of tiles under a causal
// mask has short rows and long ones.
void AttentionKernel::forward(KernelEmitter& e, llvm::Value* unit) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* count = e.extent((queries_ + Dim(tile_queries_ - 1)).floor_div(tile_queries_));
  const auto place = [&](llvm::Value* number) {
    Tile tile;
    tile.batch = b.CreateUDiv(number, count);
    llvm::Value* turn = b.CreateURem(number, count);
    llvm::Value* half = b.CreateLShr(turn, e.integer(1));
    llvm::Value* from_end = b.CreateSub(b.CreateSub(count, e.integer(1)), half);
    llvm::Value* odd = b.CreateTrunc(turn, b.getInt1Ty());
    tile.row = b.CreateMul(b.CreateSelect(odd, from_end, half), e.integer(tile_queries_));
    return tile;
  };
  const Tile next = place(b.CreateAdd(unit, e.integer(1)));
  Tile tile = place(unit);
  tile.batch_index = e.delinearise(tile.batch, batch_dims_);
  tile.next_queries = at(e, pointers_->operands[op_q], next, next.row, queries_, width_);
  tile.rows = smaller(e, e.integer(tile_queries_), b.CreateSub(e.extent(queries_), tile.row));
  tile.panels = b.CreateUDiv(b.CreateAdd(tile.rows, e.integer(kernels_.tile.columns - 1)),
                             e.integer(kernels_.tile.columns));
  tile.packed_queries = b.CreateGEP(element_, packed(e, 0, tile, width_, queries_),
                                    b.CreateMul(tile.row, e.extent(width_)));
  b.CreateCall(kernels_.pack,
               {at(e, pointers_->operands[op_q], tile, tile.row, queries_, width_), e.integer(1),
                e.extent(width_), e.extent(width_), tile.rows, e.integer(0), tile.panels,
                tile.packed_queries, llvm::ConstantPointerNull::get(b.getPtrTy())});
  llvm::Value* out = at(e, pointers_->results[0], tile, tile.row, queries_, value_width_);
  b.CreateStore(b.getFalse(), begun_);
  clear(e, sums_, e.integer(tile_queries_));
  emit_loop(b, e.integer(0), e.integer(tile_queries_), e.integer(function_lanes_),
            [&](llvm::Value* query) {
              e.store(minus_infinity(function_lanes_), dtype_, tops_, query, nullptr);
            });
  tiles(e, keys_, tile_keys_, [&](llvm::Value* column, llvm::Value* columns) {
    tile.column = column;
    tile.columns = columns;
    where_seen(e, tile, [&] {
      tile.edge = count_seen(e, tile);
      forward_tile(e, tile, out);
      b.CreateStore(b.getTrue(), begun_);
    });
  });
  emit_if(
      b, b.CreateLoad(b.getInt1Ty(), begun_), [] {},
      [&] { clear(e, out, b.CreateMul(tile.rows, e.extent(value_width_))); });
  finish(e, tile, out);
}

// Scores become weights below the largest score so far; what was summed before
// is scaled to it [Dao 2023].
void AttentionKernel::forward_tile(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  multiply_keys(e, tile);
  largest_scores(e, tile);
  scale_to_largest(e, tile, out);
  weigh(e, tile);
  multiply_values(e, tile, out);
}

// Of each panel of queries, up to which key of the tile they see any, in steps of a
// panel's width. Returns an i1: there is one that does not see the last ones.
llvm::Value* AttentionKernel::count_seen(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return nullptr;
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  return emit_loop(b, e.integer(0), tile.panels, e.integer(1), {b.getFalse()},
                   [&](llvm::Value* panel, Values& edge) {
                     llvm::Value* first = b.CreateMul(panel, columns);
                     Tile part = tile;
                     part.row = b.CreateAdd(tile.row, first);
                     part.rows = smaller(e, columns, b.CreateSub(tile.rows, first));
                     llvm::Value* seen = emit_loop(
                         b, e.integer(0), tile.columns, columns, {e.integer(0)},
                         [&](llvm::Value* key, Values& end) {
                           part.column = b.CreateAdd(tile.column, key);
                           part.columns = smaller(e, columns, b.CreateSub(tile.columns, key));
                           llvm::Value* next = b.CreateAdd(key, part.columns);
                           llvm::Value* none = unseen(e, part);
                           end[0] = none == nullptr ? next : b.CreateSelect(none, end[0], next);
                         })[0];
                     b.CreateStore(seen, b.CreateGEP(b.getInt64Ty(), seen_, panel));
                     edge[0] = b.CreateOr(edge[0], b.CreateICmpSLT(seen, tile.columns));
                   })[0];
}

// The most keys that one of `queries` queries from `query` on sees.
llvm::Value* AttentionKernel::keys_seen(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                                        std::int64_t queries) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return tile.columns;
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  llvm::Value* last =
      b.CreateAdd(b.CreateUDiv(b.CreateAdd(query, e.integer(queries - 1)), columns), e.integer(1));
  return emit_loop(b, b.CreateUDiv(query, columns), smaller(e, last, tile.panels), e.integer(1),
                   {e.integer(0)}, [&](llvm::Value* panel, Values& most) {
                     llvm::Value* seen =
                         b.CreateLoad(b.getInt64Ty(), b.CreateGEP(b.getInt64Ty(), seen_, panel));
                     most[0] = b.CreateSelect(b.CreateICmpSGT(seen, most[0]), seen, most[0]);
                   })[0];
}

// c [rows, a panel's columns] = initial + a b.
void AttentionKernel::multiply_strip(KernelEmitter& e, const Strip& x) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  llvm::Value* size = e.integer(static_cast<std::int64_t>(size_of(dtype_)));
  const auto bytes = [&](llvm::Value* elements) { return b.CreateMul(elements, size); };
  b.CreateCall(attention_strip(module, target_, kernels_.tile),
               {x.a, bytes(x.a_m), bytes(x.a_k), x.b, x.c, bytes(x.c_m), x.initial,
                bytes(x.initial_m), x.k, bytes(x.b_k), x.next, x.next_step, x.rows});
}

// What `panels` strips of `rows` rows, `k` deep, ask for meanwhile: `elements` elements, spread
// out evenly, since the processor waits when it is asked for many lines at a time.
AttentionKernel::Asked AttentionKernel::asked(KernelEmitter& e, llvm::Value* first,
                                              llvm::Value* elements, llvm::Value* rows,
                                              llvm::Value* panels, llvm::Value* k) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* bytes = b.CreateMul(elements, e.integer(static_cast<std::int64_t>(size_of(dtype_))));
  llvm::Value* times = b.CreateMul(b.CreateUDiv(rows, e.integer(kernels_.tile.rows)),
                                   b.CreateUDiv(k, e.integer(steps_together)));
  llvm::Value* all = b.CreateAdd(b.CreateMul(times, panels), e.integer(1));
  llvm::Value* step = b.CreateUDiv(b.CreateAdd(bytes, all), all);
  return {first, step, b.CreateMul(times, step)};
}

llvm::Value* AttentionKernel::Asked::from(KernelEmitter& e, llvm::Value* panel) const {
  return e.b.CreateGEP(e.b.getInt8Ty(), first, e.b.CreateMul(panel, panel_bytes));
}

// What is packed is padded, so that whole panels can be written. V's rows of this tile are
// asked for meanwhile.
void AttentionKernel::multiply_keys(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *k = e.extent(width_), *columns = e.integer(kernels_.tile.columns);
  llvm::Value* keys = at(e, pointers_->operands[op_k], tile, tile.column, keys_, width_);
  llvm::Value* values = at(e, pointers_->operands[op_v], tile, tile.column, keys_, value_width_);
  llvm::Value* elements = b.CreateMul(tile.columns, e.extent(value_width_));
  const Asked next = asked(e, values, elements, tile.columns, tile.panels, k);
  emit_loop(b, e.integer(0), tile.panels, e.integer(1), [&](llvm::Value* panel) {
    llvm::Value* first = b.CreateMul(panel, columns);
    multiply_strip(
        e, {keys, k, e.integer(1), at(e, tile.packed_queries, b.CreateMul(first, k)), columns,
            at(e, scores_, first), e.integer(score_stride_), zeros_, e.integer(0),
            keys_seen(e, tile, first, 1), k, next.from(e, panel), next.step});
  });
}

template <typename Body>
AttentionKernel::Values AttentionKernel::down_keys(KernelEmitter& e, const Tile& tile,
                                                   llvm::Value* query, Values values,
                                                   const std::vector<Value>& turned, Body&& body) {
  // Every score that a vector of queries sees is written, whichever sweep reads it.
  const std::int64_t together = std::max(lanes_, function_lanes_);
  llvm::Value* first = e.b.CreateAnd(query, e.integer(-together));
  llvm::Value *begin = e.integer(0), *end = keys_seen(e, tile, first, together);
  const auto at_key = [&](llvm::Value* key, const LaneIndices& where, Values& next) {
    llvm::Value* offset = e.b.CreateMul(key, e.integer(score_stride_));
    body(where, at(e, scores_, e.b.CreateAdd(offset, query)), next);
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
void AttentionKernel::largest_scores(KernelEmitter& e, const Tile& tile) {
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
  if (conditions.empty()) return largest_scores(e, tile, {});
  emit_if(
      b, whole, [&] { largest_scores(e, tile, conditions); }, [&] { largest_scores(e, tile, {}); });
}

void AttentionKernel::largest_scores(KernelEmitter& e, const Tile& tile,
                                     const std::vector<Value>& true_here) {
  const std::vector<Value> in_rows = read_in_rows(body_.outputs()[0].value, true_here);
  const unsigned lanes = in_rows.empty() ? lanes_ : square_lanes();
  const auto largest = [&](llvm::Value* query, llvm::Value* mask, Values&) {
    llvm::Value* maximum = down_keys(
        e, tile, query, {minus_infinity(lanes)}, mask == nullptr ? in_rows : std::vector<Value>{},
        [&](const LaneIndices& where, llvm::Value* place, Values& values) {
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
          scale_row(e, at(e, out, b.CreateMul(r, e.extent(value_width_))), value_width_, factor);
        });
  });
}

void AttentionKernel::weigh(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  if (plain_) {  // what stands in lanes behind the last query is not read
    llvm::Function* function = weigh_function(*b.GetInsertBlock()->getModule());
    emit_loop(b, e.integer(0), tile.rows, e.integer(function_lanes_), [&](llvm::Value* query) {
      b.CreateCall(function, {at(e, scores_, query), at(e, maxima_, query), at(e, sums_, query),
                              keys_seen(e, tile, query, function_lanes_)});
    });
    return;
  }
  const std::vector<Value> in_rows = read_in_rows(body_.outputs()[1].value, {});
  const unsigned lanes = in_rows.empty() ? lanes_ : square_lanes();
  const auto weigh_keys = [&](llvm::Value* query, llvm::Value* mask, Values&) {
    llvm::Value* shift = vector_at(e, maxima_, query, lanes);
    llvm::Value* sum = vector_at(e, sums_, query, lanes);
    sum = down_keys(e, tile, query, {sum}, mask == nullptr ? in_rows : std::vector<Value>{},
                    [&](const LaneIndices& where, llvm::Value* place, Values& values) {
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

// (scores, shifts, sums, keys), of function_lanes_ queries: scores become weights. A function
// of its own has the registers that the chains of several exps side by side need.
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
  llvm::Type* vector = value_type(context, dtype_, function_lanes_);
  const auto load = [&](llvm::Value* from, llvm::Value* element) {
    return b.CreateAlignedLoad(vector, b.CreateGEP(element_, from, element),
                               llvm::Align(size_of(dtype_)));
  };
  const auto store = [&](llvm::Value* value, llvm::Value* to, llvm::Value* element) {
    b.CreateAlignedStore(value, b.CreateGEP(element_, to, element), llvm::Align(size_of(dtype_)));
  };
  llvm::Value *scores = f->getArg(0), *sums = f->getArg(2), *zero = b.getInt64(0);
  llvm::Value* shift = load(f->getArg(1), zero);
  const Values sum = emit_loop(b, zero, f->getArg(3), b.getInt64(1), {load(sums, zero)},
                               [&](llvm::Value* key, Values& values) {
                                 llvm::Value* offset = b.CreateMul(key, b.getInt64(score_stride_));
                                 llvm::Value* weight = emit_exp_of_difference(
                                     b, b.CreateFSub(load(scores, offset), shift), target_);
                                 values[0] = b.CreateFAdd(values[0], weight);
                                 store(weight, scores, offset);
                               });
  store(sum[0], sums, zero);
  b.CreateRetVoid();
  return f;
}

// At the edge of what is seen, a panel's width of queries at a time.
void AttentionKernel::multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  llvm::IRBuilder<>& b = e.b;
  const auto whole = [&] {
    multiply_values(e, tile, out, e.integer(0), tile.rows, tile.columns, true);
  };
  if (!masked_) return whole();
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  emit_if(
      b, tile.edge,
      [&] {
        emit_loop(b, e.integer(0), tile.panels, e.integer(1), [&](llvm::Value* panel) {
          llvm::Value* first = b.CreateMul(panel, columns);
          multiply_values(e, tile, out, first, smaller(e, columns, b.CreateSub(tile.rows, first)),
                          keys_seen(e, tile, first, 1), false);
        });
      },
      whole);
}

// V is read as it stands, but for columns that fill no panel. Keys of the next tile and, with
// the first tile, the next unit's queries are asked for meanwhile, if `ask`.
void AttentionKernel::multiply_values(KernelEmitter& e, const Tile& tile, llvm::Value* out,
                                      llvm::Value* query, llvm::Value* rows, llvm::Value* keys,
                                      bool ask) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *zero = e.integer(0), *one = e.integer(1), *across = e.extent(value_width_);
  llvm::Value *columns = e.integer(kernels_.tile.columns), *stride = e.integer(score_stride_);
  llvm::Value* values = at(e, pointers_->operands[op_v], tile, tile.column, keys_, value_width_);
  llvm::Value* weights = at(e, scores_, query);
  llvm::Value* to = at(e, out, b.CreateMul(query, across));
  llvm::Value* begun = b.CreateLoad(b.getInt1Ty(), begun_);
  llvm::Value* panels = b.CreateUDiv(across, columns);
  llvm::Value* next_keys =
      at(e, pointers_->operands[op_k], tile, b.CreateAdd(tile.column, tile.columns), keys_, width_);
  llvm::Value* half = b.CreateLShr(b.CreateAdd(panels, one), one);
  const Asked next_key_rows =
      asked(e, next_keys, b.CreateMul(tile.columns, e.extent(width_)), rows, half, keys);
  llvm::Value* queries = b.CreateMul(e.integer(tile_queries_), e.extent(width_));
  const Asked next_queries =
      asked(e, tile.next_queries, b.CreateSelect(begun, zero, queries), rows, half, keys);
  emit_loop(b, zero, panels, one, [&](llvm::Value* panel) {
    llvm::Value* first = b.CreateMul(panel, columns);
    llvm::Value* c = at(e, to, first);
    llvm::Value* odd = b.CreateTrunc(panel, b.getInt1Ty());
    llvm::Value* turn = b.CreateLShr(panel, one);
    llvm::Value* next =
        b.CreateSelect(odd, next_queries.from(e, turn), next_key_rows.from(e, turn));
    llvm::Value* step = ask ? b.CreateSelect(odd, next_queries.step, next_key_rows.step) : zero;
    multiply_strip(e, {weights, one, stride, at(e, values, first), across, c, across,
                       b.CreateSelect(begun, c, zeros_), b.CreateSelect(begun, across, zero), rows,
                       keys, next, step});
  });
  llvm::Value* first = b.CreateMul(panels, columns);
  llvm::Value* left = b.CreateSub(across, first);
  emit_if(
      b, b.CreateICmpSGT(left, zero),
      [&] {
        b.CreateCall(kernels_.pack, {at(e, values, first), across, one, keys, left, zero, one,
                                     panel_, llvm::ConstantPointerNull::get(b.getPtrTy())});
        multiply(e, {weights, one, stride, panel_, keys, zero, at(e, to, first), across, rows, left,
                     keys, begun});
      },
      [] {});
}

void AttentionKernel::finish(KernelEmitter& e, const Tile& tile, llvm::Value* out) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* lse = at(e, pointers_->results[1], tile, tile.row, queries_, Dim(1));
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
