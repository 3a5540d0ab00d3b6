// How the threads share out a product.
#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/matmul_turn_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/row_product_internal.h"
#include "backends/llvm/rows_ahead.h"
#include "backends/llvm/work_share_internal.h"

namespace treadle {

namespace {

// How many arguments a direct product kernel has in front of those of SharedWork.
constexpr unsigned direct_arguments = 21;
// Fewer would read a panel of B for too little.
constexpr std::int64_t least_tiles_at_a_time = 8;

// A product kernel's arguments.
struct Arguments {
  explicit Arguments(llvm::Function* f)
      : a(f->getArg(0)),
        a_m(f->getArg(1)),
        a_k(f->getArg(2)),
        packed(f->getArg(3)),
        c(f->getArg(4)),
        m(f->getArg(5)),
        n(f->getArg(6)),
        k(f->getArg(7)),
        thread(f->getArg(8)),
        threads(f->getArg(9)),
        start(f->getArg(10)),
        start_m(f->getArg(11)) {}
  llvm::Value *a, *a_m, *a_k, *packed, *c, *m, *n, *k, *thread, *threads;
  llvm::Value *start, *start_m;  // not of a direct one

  // Where thread `i`'s part of `all` starts.
  llvm::Value* part(llvm::IRBuilder<>& b, llvm::Value* all, llvm::Value* i) const {
    return b.CreateUDiv(b.CreateMul(all, i), threads);
  }
  llvm::Value* next(llvm::IRBuilder<>& b) const { return b.CreateAdd(thread, b.getInt64(1)); }
};

llvm::Value* rounded_up(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y) {
  return b.CreateUDiv(b.CreateSub(b.CreateAdd(x, y), b.getInt64(1)), y);
}
llvm::Value* constant(llvm::IRBuilder<>& b, std::int64_t x) {
  return b.getInt64(static_cast<std::uint64_t>(x));
}
llvm::Value* smaller(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y) {
  return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
}

}  // namespace

llvm::Function* ProgramEmitter::product_kernel(DType dtype, ProductKind kind) {
  llvm::Function*& out = products_[{dtype, kind}];
  if (out != nullptr) return out;
  static constexpr std::array<const char*, 9> names{
      "product",         "asking_product", "row_product", "interleaved_row_product", "any_product",
      "chained_product", "shared_product", "products",    "direct_product"};
  llvm::IRBuilder<> b(module_.getContext());
  llvm::Type *p = b.getPtrTy(), *i = b.getInt64Ty();
  std::vector<llvm::Type*> types{p, i, i, p, p, i, i, i, i, i};
  if (kind != ProductKind::direct) types.insert(types.end(), {p, i});
  if (kind == ProductKind::direct)
    types.insert(types.end(), {i, p, i, i, p, i, i, i, i, p, i, p, p, p, i});
  else if (kind == ProductKind::shared_rows)
    types.insert(types.end(), {p, p, p, i});
  else if (kind == ProductKind::batch)
    types.insert(types.end(), {i, i});
  else if (kind == ProductKind::asking_rows)
    types.insert(types.end(), {p, i});
  else if (kind == ProductKind::chained_rows)
    types.insert(types.end(), {p, i, p, i, i, p, i});
  else if (kind == ProductKind::interleaved_row)
    types.insert(types.end(), {i, i, i, p});
  else if (kind != ProductKind::rows)
    types.insert(types.end(), {i, i, i});
  const std::string name =
      std::string(to_string(dtype)) + "." + names[static_cast<std::size_t>(kind)];
  llvm::Function* f = start_function(b, name, types);
  out = f;
  // Those that run once a step.
  if (kind == ProductKind::shared_rows || kind == ProductKind::direct) generate_quickly(*f);
  switch (kind) {
    case ProductKind::rows:
    case ProductKind::asking_rows: several_rows(b, f, dtype, kind); break;
    case ProductKind::chained_rows: chained_rows(b, f, dtype); break;
    case ProductKind::shared_rows: several_rows(b, f, dtype, kind); break;
    case ProductKind::direct: several_rows(b, f, dtype, kind); break;
    case ProductKind::one_row:
    case ProductKind::interleaved_row: one_row(b, f, dtype, kind); break;
    case ProductKind::batch: products_of_batch(b, f, dtype); break;
    case ProductKind::any_rows: {
      std::vector<llvm::Value*> arguments;
      for (llvm::Argument& argument : f->args()) arguments.push_back(&argument);
      const auto call = [&](ProductKind one) {
        llvm::Function* callee = product_kernel(dtype, one);
        b.CreateCall(callee, llvm::ArrayRef(arguments).take_front(callee->arg_size()));
      };
      emit_if(
          b, b.CreateICmpEQ(Arguments(f).m, b.getInt64(1)), [&] { call(ProductKind::one_row); },
          [&] { call(ProductKind::rows); });
      break;
    }
  }
  b.CreateRetVoid();
  return f;
}

// A's first row, or the first one of this turn's or of a thread's own rows.
llvm::Value* ProgramEmitter::operand_a(llvm::IRBuilder<>& b, const Step& step) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  llvm::Value* at = extent(b, dim_table_, step.view_a.offset);
  const auto add = [&](llvm::Value* rows, const Dim& stride) {
    at = b.CreateAdd(at, b.CreateMul(rows, extent(b, dim_table_, stride)));
  };
  if (step.turn) add(turn_of(b, step.out[0].rows[0]), step.turn_stride);
  if (own_rows_) add(own_rows_->begin, step.view_a.free_stride);
  return b.CreateGEP(memory_type(b.getContext(), dtype), pointer(b, step.in[0], dtype), at);
}

bool ProgramEmitter::may_chain_products(DType product_dtype) {
  return kernels(product_dtype).chained != nullptr;
}

// Is the deferred product a part of the one that starts from it, by one thread that does its
// own rows?
llvm::Value* ProgramEmitter::is_chained(llvm::IRBuilder<>& b, const Step& turn) {
  if (!turn.in_chain || !own_rows_ || !may_chain_products(turn.product_dtype)) return b.getFalse();
  return b.CreateAnd(is_deferred(b, turn.out[0].buffer), b.CreateICmpEQ(threads_, b.getInt64(1)));
}

void ProgramEmitter::add_chained(llvm::IRBuilder<>& b, const Step& turn,
                                 std::vector<llvm::Value*>& arguments) {
  const DType dtype = turn.graph->node(turn.node).types[0].dtype;
  arguments.insert(arguments.end(),
                   {operand_a(b, turn), extent(b, dim_table_, turn.view_a.free_stride),
                    extent(b, dim_table_, turn.view_a.contract_stride),
                    pointer(b, turn.in[1], dtype), extent(b, dim_table_, turn.shape.k)});
}

void ProgramEmitter::chained_rows(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype) {
  const MatmulKernels& made = kernels(dtype);
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *columns = constant(b, made.tile.columns);
  b.CreateCall(made.chained, {x.a,           x.a_m,
                              x.a_k,         x.packed,
                              x.c,           x.n,
                              x.start,       x.start_m,
                              zero,          x.m,
                              x.n,           x.k,
                              zero,          rounded_up(b, x.n, columns),
                              f->getArg(12), f->getArg(13),
                              f->getArg(14), f->getArg(15),
                              f->getArg(16), f->getArg(17),
                              f->getArg(18)});
}

void ProgramEmitter::matmul(llvm::IRBuilder<>& b, const Step& step) {
  if (!step.row_loops.empty() || !step.sum_loops.empty()) return looped_matmul(b, step);
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const MatmulShape& shape = step.shape;
  const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
  llvm::Value* a = operand_a(b, step);
  llvm::Value *out = pointer(b, step.out[0], dtype), *rows = size(shape.m);
  llvm::Value *start = llvm::ConstantPointerNull::get(b.getPtrTy()), *start_m = b.getInt64(0);
  if (starts_from_another(step)) {
    start = pointer(b, step.in[2], dtype);
    start_m = size(shape.n);
  }
  if (own_rows_) {
    const auto from = [&](llvm::Value* base, const Dim& stride) {
      return b.CreateGEP(memory_type(b.getContext(), dtype), base,
                         b.CreateMul(own_rows_->begin, size(stride)));
    };
    out = from(out, shape.n);
    if (starts_from_another(step)) start = from(start, shape.n);
    rows = own_rows_->count;
  }
  if (step.interleaved && !own_rows_) only_first_rows(b, step, a, out, rows);
  std::vector<llvm::Value*> arguments{a,
                                      size(step.view_a.free_stride),
                                      size(step.view_a.contract_stride),
                                      pointer(b, step.in[1], dtype),
                                      out,
                                      rows,
                                      size(shape.n),
                                      size(shape.k),
                                      thread_,
                                      threads_};
  if (!step.direct) arguments.insert(arguments.end(), {start, start_m});
  if (shape.batch != Dim(1)) {
    arguments.insert(arguments.end(), {size(shape.batch), size(step.view_a.batch_stride)});
    b.CreateCall(product_kernel(step.product_dtype, ProductKind::batch), arguments);
    return;
  }
  if (!step.chained.empty() && own_rows_ && may_chain_products(step.product_dtype))
    return emit_if(
        b, is_chained(b, step.chained[0]),
        [&] {
          std::vector<llvm::Value*> both = arguments;
          both[10] = llvm::ConstantPointerNull::get(b.getPtrTy());
          both[11] = b.getInt64(0);
          add_asked_ahead(b, step, both);
          add_chained(b, step.chained[0], both);
          b.CreateCall(product_kernel(step.product_dtype, ProductKind::chained_rows), both);
        },
        [&] { product_alone(b, step, arguments, rows); });
  product_alone(b, step, arguments, rows);
}

void ProgramEmitter::product_alone(llvm::IRBuilder<>& b, const Step& step,
                                   std::vector<llvm::Value*>& arguments, llvm::Value* rows) {
  if (!own_rows_ || step.ahead.empty() || kernels(step.product_dtype).asking == nullptr)
    return product_of_rows(b, step, arguments, rows);
  // By one thread that reads all rows.
  llvm::Value* many = b.CreateICmpUGE(rows, b.getInt64(least_rows_to_ask));
  emit_if(
      b, b.CreateAnd(b.CreateICmpEQ(threads_, b.getInt64(1)), many),
      [&] {
        std::vector<llvm::Value*> asking = arguments;
        add_asked_ahead(b, step, asking);
        b.CreateCall(product_kernel(step.product_dtype, ProductKind::asking_rows), asking);
      },
      [&] { product_of_rows(b, step, arguments, rows); });
}

void ProgramEmitter::add_asked_ahead(llvm::IRBuilder<>& b, const Step& step,
                                     std::vector<llvm::Value*>& arguments) {
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> at_entry(&entry, entry.begin());
  auto* type = llvm::StructType::get(b.getContext(), {b.getPtrTy(), b.getInt64Ty()});
  llvm::Value* list = at_entry.CreateAlloca(llvm::ArrayType::get(type, step.ahead.size() + 1));
  const auto store = [&](std::size_t i, unsigned field, llvm::Value* value) {
    b.CreateStore(value, b.CreateStructGEP(type, b.CreateConstGEP1_64(type, list, i), field));
  };
  llvm::Value* all = b.getInt64(0);
  for (std::size_t i = 0; i < step.ahead.size(); ++i) {
    const RowsAhead& rows = step.ahead[i];
    const std::vector<llvm::Value*> counters = counters_;
    if (rows.turns != 0) counters_.back() = b.CreateAdd(counters_.back(), b.getInt64(rows.turns));
    llvm::Value* row = extent(b, dim_table_, rows.row_bytes);
    llvm::Value* bytes = b.CreateMul(own_rows_->count, row);
    llvm::Value* from = b.CreateGEP(b.getInt8Ty(), pointer(b, rows.place, rows.dtype),
                                    b.CreateMul(own_rows_->begin, row));
    // What is not in memory where it is deferred comes last in the list.
    if (plan_.buffers[static_cast<std::size_t>(rows.place.buffer)].turn) {
      llvm::Value* deferred = is_deferred(b, rows.place.buffer);
      bytes = b.CreateSelect(deferred, b.getInt64(0), bytes);
      from = b.CreateSelect(deferred, llvm::ConstantPointerNull::get(b.getPtrTy()), from);
    }
    store(i, 0, from);
    store(i, 1, bytes);
    all = b.CreateAdd(all, bytes);
    counters_ = counters;
  }
  auto* null = llvm::ConstantPointerNull::get(b.getPtrTy());
  store(step.ahead.size(), 0, null);
  // In a loop, where it is no more than what the product itself writes, as in inference, the
  // kernel does not wait for it as long as the tiles take to ask (an RNN's, 1.01).
  if (!counters_.empty()) {
    llvm::Value* written = b.CreateMul(own_rows_->count, extent(b, dim_table_, step.shape.n));
    written = b.CreateMul(written, b.getInt64(size_of(step.graph->node(step.node).types[0].dtype)));
    llvm::Value* first = b.CreateLoad(b.getPtrTy(), list);
    store(0, 0, b.CreateSelect(b.CreateICmpSGT(all, written), first, null));
  }
  arguments.insert(arguments.end(), {list, all});
}

void ProgramEmitter::product_of_rows(llvm::IRBuilder<>& b, const Step& step,
                                     std::vector<llvm::Value*>& arguments, llvm::Value* rows) {
  const MatmulShape& shape = step.shape;
  const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
  ProductKind kind = ProductKind::rows;
  const bool one_row = shape.m == Dim(1), several_rows = !one_row && shape.m.is_constant();
  const auto one_row_arguments = [&] {
    arguments.insert(arguments.end(), {size(step.share.width), size(Dim(step.share.block)),
                                       counters_.empty() ? b.getInt64(0) : counters_.back()});
  };
  if (step.shared >= 0 && !step.direct) {
    std::vector<llvm::Value*> shared = arguments;
    add_shared_work(b, step, shared);
    const auto call_shared = [&] {
      b.CreateCall(product_kernel(step.product_dtype, ProductKind::shared_rows), shared);
    };
    if (several_rows) return call_shared();
    one_row_arguments();
    return emit_if(
        b, b.CreateICmpEQ(rows, b.getInt64(1)),
        [&] { b.CreateCall(product_kernel(step.product_dtype, ProductKind::one_row), arguments); },
        call_shared);
  }
  if (step.direct) {
    add_direct_arguments(b, step, arguments);
    kind = ProductKind::direct;
  } else if (step.turn) {
    // never one row
  } else if (!several_rows) {
    one_row_arguments();
    kind = one_row ? ProductKind::one_row : ProductKind::any_rows;
  }
  call_one_row(b, step, kind, arguments);
}

// Split by rows or by panels of columns, whichever leaves the slowest thread less
// to do: its tiles and, of a product that copies blocks of both operands, these. By rows
// it copies all of B, by panels all of A; an element of B takes twice as long, since B is
// copied anew for each block of rows. Two products of one B are split by panels: they have
// few rows.
void ProgramEmitter::several_rows(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype,
                                  ProductKind kind) {
  const bool direct = kind == ProductKind::direct;
  const MatmulKernels& made = kernels(dtype);
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1), *height = constant(b, rows_of_tile);
  // In vectors: the last panel may have few.
  llvm::Value* vectors = rounded_up(b, x.n, constant(b, made.tile.lanes));
  llvm::Value* panels = rounded_up(b, x.n, constant(b, made.tile.columns));
  // Where panels are of even widths and shared out, so many that each thread has as many.
  const int narrow = least_vectors(made.tile);
  llvm::Value* const fewest_panels = panels;
  if (direct && narrow < made.tile.vectors) {
    llvm::Value* even = b.CreateMul(rounded_up(b, panels, x.threads), x.threads);
    llvm::Value* fits = b.CreateICmpULE(b.CreateMul(even, constant(b, narrow)), vectors);
    panels = b.CreateSelect(fits, even, panels);
  }
  llvm::Value* tiles = rounded_up(b, x.m, height);
  const auto row_at = [&](llvm::Value* tile) { return smaller(b, b.CreateMul(tile, height), x.m); };
  const auto gemm = [&](llvm::Value* m_begin, llvm::Value* m_end, llvm::Value* p_begin,
                        llvm::Value* p_end) {
    std::vector<llvm::Value*> arguments{x.a,       x.a_m,   x.a_k, x.packed, x.c, x.n,     x.start,
                                        x.start_m, m_begin, m_end, x.n,      x.k, p_begin, p_end};
    if (kind == ProductKind::asking_rows)
      arguments.insert(arguments.end(), {f->getArg(12), f->getArg(13)});
    b.CreateCall(kind == ProductKind::asking_rows ? made.asking : made.gemm, arguments);
  };
  const auto direct_gemm = [&](llvm::Value* m_begin, llvm::Value* m_end, llvm::Value* p_begin,
                               llvm::Value* p_end, llvm::Value* of, llvm::Value* share,
                               llvm::Value* first_turn) {
    std::vector<llvm::Value*> arguments{x.a,   x.a_m, x.a_k, x.packed, x.c,   x.n, m_begin,
                                        m_end, x.n,   x.k,   p_begin,  p_end, of};
    for (unsigned i = 10; i < direct_arguments; ++i) arguments.push_back(f->getArg(i));
    arguments.insert(arguments.end(), {share, first_turn});
    b.CreateCall(made.direct, arguments);
  };
  llvm::Value* own_tiles = rounded_up(b, tiles, x.threads);
  llvm::Value* own_panels = rounded_up(b, panels, x.threads);
  llvm::Value* by_rows = b.CreateMul(own_tiles, vectors);
  llvm::Value* own_vectors = direct ? rounded_up(b, b.CreateMul(own_panels, vectors), panels)
                                    : b.CreateMul(own_panels, constant(b, made.tile.vectors));
  llvm::Value* by_panels = b.CreateMul(own_vectors, tiles);
  if (direct) {
    // In half cycles for one of k: two vectors are multiplied a cycle, two elements copied, or
    // twice as many by the tile that reads them first.
    llvm::Value* tile = constant(b, rows_of_tile);
    const auto with_copies = [&](llvm::Value* products, llvm::Value* heights, llvm::Value* widths) {
      llvm::Value* turned = b.CreateMul(heights, height);
      const int cost = (copies_b(target_, made.tile) ? 1 : 2) * made.tile.columns;
      llvm::Value* copied = b.CreateMul(widths, constant(b, cost));
      return b.CreateAdd(b.CreateMul(products, tile), b.CreateAdd(turned, copied));
    };
    by_rows = with_copies(by_rows, own_tiles, fewest_panels);
    by_panels = with_copies(by_panels, tiles, own_panels);
    llvm::Value* alone = b.CreateICmpEQ(f->getArg(direct_arguments - 1), zero);
    by_panels = b.CreateSelect(alone, by_panels, zero);
  }
  llvm::Value *tile_begin = x.part(b, tiles, x.thread), *tile_end = x.part(b, tiles, x.next(b));
  llvm::Value* panel_begin = x.part(b, panels, x.thread);
  llvm::Value* panel_end = x.part(b, panels, x.next(b));
  std::optional<SharedWork> shared;
  if (kind != ProductKind::rows && kind != ProductKind::asking_rows) {
    llvm::Argument* last = f->arg_end() - 4;
    shared = SharedWork{last, last + 1, x.thread, x.threads, last + 2, last + 3};
  }
  emit_if(
      b, b.CreateICmpULT(by_rows, by_panels),
      [&] {
        if (!shared) return gemm(row_at(tile_begin), row_at(tile_end), zero, panels);
        // Blocks of B are copied for so many rows.
        const std::int64_t least = direct ? row_block / rows_of_tile : least_tiles_at_a_time;
        llvm::Value* unshared = direct ? emit_unshared(b) : nullptr;
        emit_in_chunks(b, *shared, tile_begin, tile_end,
                       chunk_of(b, b.CreateSub(tile_end, tile_begin), least), least,
                       [&](llvm::Value* from, llvm::Value* to) {
                         if (direct)
                           direct_gemm(row_at(from), row_at(to), zero, fewest_panels, fewest_panels,
                                       unshared, zero);
                         else
                           gemm(row_at(from), row_at(to), zero, panels);
                       });
      },
      [&] {
        if (direct)
          return emit_in_turns(
              b, *shared, panel_begin, panel_end, emit_direct_turns(b, made.tile, x.m, x.k), zero,
              1,
              [&](llvm::Value* from, llvm::Value* to, llvm::Value* share, llvm::Value* first_turn) {
                direct_gemm(zero, x.m, from, to, panels, share, first_turn);
              });
        if (!shared) return gemm(zero, x.m, panel_begin, panel_end);
        // A is read once for all panels, some rows at each turn.
        llvm::Value* turn_tiles = rounded_up(b, tiles, constant(b, 8));
        llvm::Value* least = constant(b, least_tiles_at_a_time);
        turn_tiles = b.CreateSelect(b.CreateICmpULT(turn_tiles, least), least, turn_tiles);
        llvm::Value* turns = rounded_up(b, tiles, turn_tiles);
        emit_in_turns(
            b, *shared, panel_begin, panel_end, turns, zero, 1,
            [&](llvm::Value* from, llvm::Value* to, llvm::Value* share, llvm::Value* first_turn) {
              llvm::Value* all = b.CreateSub(to, from);
              emit_loop(b, first_turn, turns, one, [&](llvm::Value* turn) {
                llvm::Value* count = emit_begin_turn(b, share, all);
                llvm::Value* next = b.CreateAdd(turn, one);
                gemm(row_at(b.CreateMul(turn, turn_tiles)), row_at(b.CreateMul(next, turn_tiles)),
                     from, b.CreateAdd(from, count));
                emit_end_turn(b, share, next);
              });
            });
      });
}

// From B on, where it stands.
void ProgramEmitter::add_direct_arguments(llvm::IRBuilder<>& b, const Step& step,
                                          std::vector<llvm::Value*>& arguments) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
  const auto at = [&](const Location& place, const Dim& offset) {
    return b.CreateGEP(memory_type(b.getContext(), dtype), pointer(b, place, dtype), size(offset));
  };
  const auto runs = [&](const std::optional<ProductView::Loop>& run) {
    arguments.push_back(run ? size(run->extent) : b.getInt64(INT64_MAX));
    arguments.push_back(run ? size(run->a_stride) : b.getInt64(0));
  };
  llvm::Value* null = llvm::ConstantPointerNull::get(b.getPtrTy());
  arguments[3] = at(step.in[1], step.view_b.offset);
  arguments.push_back(size(step.view_b.contract_stride));
  const bool sums = step.out.size() > (step.second ? 2U : 1U);
  arguments.push_back(sums ? pointer(b, step.out[1], dtype) : null);
  runs(step.a_run);
  if (!step.second) {
    arguments.insert(arguments.end(), {null, b.getInt64(1), b.getInt64(0)});
    runs(std::nullopt);
    arguments.insert(arguments.end(), {null, b.getInt64(0)});
    return add_shared_work(b, step, arguments);
  }
  const SecondProduct& second = *step.second;
  arguments.insert(arguments.end(),
                   {at(step.in[2], second.view_a.offset), size(second.view_a.free_stride),
                    size(second.view_a.contract_stride)});
  runs(second.a_run);
  arguments.insert(arguments.end(), {pointer(b, step.out.back(), dtype), size(second.m)});
  add_shared_work(b, step, arguments);
}

// This thread's columns.
void ProgramEmitter::one_row(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype,
                             ProductKind kind) {
  const MatmulTile& tile = kernels(dtype).tile;
  const std::string prefix(to_string(dtype));
  const bool interleaved = kind == ProductKind::interleaved_row;
  llvm::Function* row = interleaved
                            ? emit_interleaved_row_product(module_, target_, tile, prefix.c_str())
                            : emit_row_product(module_, target_, tile, prefix.c_str());
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1), *width = f->getArg(12),
              *block = f->getArg(13), *turn = f->getArg(14);
  llvm::Type* element = memory_type(b.getContext(), tile.dtype);
  // A may stand in another core's cache: all its lines are asked for at once.
  llvm::Value* dense = b.CreateSelect(b.CreateICmpEQ(x.a_k, one), x.k, zero);
  emit_loop(b, zero, dense, constant(b, 64 / static_cast<std::int64_t>(size_of(tile.dtype))),
            [&](llvm::Value* at) {
              b.CreateIntrinsic(
                  llvm::Intrinsic::prefetch, {b.getPtrTy()},
                  {b.CreateGEP(element, x.a, at), b.getInt32(0), b.getInt32(3), b.getInt32(1)});
            });
  llvm::Value* blocks = rounded_up(b, width, block);
  const auto column = [&](llvm::Value* i) {
    return smaller(b, b.CreateMul(x.part(b, blocks, i), block), width);
  };
  llvm::Value *from = column(x.thread), *to = column(x.next(b));
  // Runs of whole vectors are alike, and done together: a thread's vectors of one alone may be
  // fewer than are summed side by side.
  llvm::Value* lanes = constant(b, tile.lanes);
  llvm::Value* alike = b.CreateICmpEQ(b.CreateURem(width, lanes), zero);
  llvm::Value* together = b.CreateSelect(alike, x.n, width);
  llvm::Value* backwards = b.CreateTrunc(turn, b.getInt1Ty());
  emit_loop(b, zero, x.n, together, [&](llvm::Value* forwards) {
    llvm::Value* other_end = b.CreateSub(b.CreateSub(x.n, together), forwards);
    llvm::Value* run = b.CreateSelect(backwards, other_end, forwards);
    const auto vector = [&](llvm::Value* at) { return rounded_up(b, b.CreateAdd(run, at), lanes); };
    std::vector<llvm::Value*> arguments{x.a,
                                        x.a_k,
                                        x.packed,
                                        x.c,
                                        x.n,
                                        x.k,
                                        vector(from),
                                        vector(to),
                                        b.CreateUDiv(width, lanes),
                                        b.CreateUDiv(together, width),
                                        turn,
                                        x.start};
    if (interleaved) arguments.push_back(f->getArg(15));
    b.CreateCall(row, arguments);
  });
}

// Each unit is one whole product.
void ProgramEmitter::products_of_batch(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype) {
  const MatmulKernels& made = kernels(dtype);
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *batch = f->getArg(12), *a_batch = f->getArg(13);
  llvm::Value* columns = constant(b, made.tile.columns);
  llvm::Value* panels = rounded_up(b, x.n, columns);
  llvm::Value* depth = emit_depth(b, made.tile, x.k);
  llvm::Value* packed_batch = b.CreateMul(b.CreateMul(panels, columns), depth);
  llvm::Value* c_batch = b.CreateMul(x.m, x.n);
  llvm::Value* start_batch = b.CreateMul(x.m, x.start_m);
  llvm::Type* element = memory_type(b.getContext(), made.tile.dtype);
  emit_loop(b, x.part(b, batch, x.thread), x.part(b, batch, x.next(b)), b.getInt64(1),
            [&](llvm::Value* i) {
              const auto at = [&](llvm::Value* base, llvm::Value* stride) {
                return b.CreateGEP(element, base, b.CreateMul(i, stride));
              };
              b.CreateCall(made.gemm, {at(x.a, a_batch), x.a_m, x.a_k, at(x.packed, packed_batch),
                                       at(x.c, c_batch), x.n, at(x.start, start_batch), x.start_m,
                                       zero, x.m, x.n, x.k, zero, panels});
            });
}

}  // namespace treadle
