// How the threads share out a product.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/row_product_internal.h"

namespace treadle {

namespace {

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
        threads(f->getArg(9)) {}
  llvm::Value *a, *a_m, *a_k, *packed, *c, *m, *n, *k, *thread, *threads;

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
  static constexpr std::array<const char*, 5> names{"product", "row_product", "any_product",
                                                    "products", "direct_product"};
  llvm::IRBuilder<> b(module_.getContext());
  llvm::Type *p = b.getPtrTy(), *i = b.getInt64Ty();
  std::vector<llvm::Type*> types{p, i, i, p, p, i, i, i, i, i};
  if (kind == ProductKind::direct)
    types.insert(types.end(), {i, p, i, i, p, i, i, i, i, p, i});
  else if (kind == ProductKind::batch)
    types.insert(types.end(), {i, i});
  else if (kind != ProductKind::rows)
    types.insert(types.end(), {i, i, i});
  const std::string name =
      std::string(to_string(dtype)) + "." + names[static_cast<std::size_t>(kind)];
  llvm::Function* f = start_function(b, name, types);
  out = f;
  switch (kind) {
    case ProductKind::rows: several_rows(b, f, dtype, false); break;
    case ProductKind::direct: several_rows(b, f, dtype, true); break;
    case ProductKind::one_row: one_row(b, f, dtype); break;
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

// Split by rows or by panels of columns, whichever leaves the slowest thread less
// to do: its tiles and, of a product that copies blocks of both operands, these. By rows
// it copies all of B, by panels all of A; an element of B takes twice as long, since B is
// copied anew for each block of rows. Two products of one B are split by panels: they have
// few rows.
void ProgramEmitter::several_rows(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype,
                                  bool direct) {
  const MatmulKernels& made = kernels(dtype);
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *height = constant(b, rows_of_tile);
  llvm::Value* panels = rounded_up(b, x.n, constant(b, made.tile.columns));
  llvm::Value* tiles = rounded_up(b, x.m, height);
  const auto call = [&](llvm::Value* m_begin, llvm::Value* m_end, llvm::Value* p_begin,
                        llvm::Value* p_end) {
    if (direct) {
      std::vector<llvm::Value*> arguments{x.a,     x.a_m, x.a_k, x.packed, x.c,     x.n,
                                          m_begin, m_end, x.n,   x.k,      p_begin, p_end};
      for (unsigned i = 10; i < f->arg_size(); ++i) arguments.push_back(f->getArg(i));
      b.CreateCall(made.direct, arguments);
    } else {
      b.CreateCall(made.gemm, {x.a, x.a_m, x.a_k, x.packed, x.c, x.n,
                               llvm::ConstantPointerNull::get(b.getPtrTy()), zero, m_begin, m_end,
                               x.n, x.k, p_begin, p_end});
    }
  };
  llvm::Value* own_tiles = rounded_up(b, tiles, x.threads);
  llvm::Value* own_panels = rounded_up(b, panels, x.threads);
  llvm::Value* by_rows = b.CreateMul(own_tiles, panels);
  llvm::Value* by_panels = b.CreateMul(own_panels, tiles);
  if (direct) {
    // In half cycles for one of k: two vectors are multiplied a cycle, two elements copied.
    llvm::Value* tile = constant(b, rows_of_tile * made.tile.vectors);
    const auto with_copies = [&](llvm::Value* products, llvm::Value* heights, llvm::Value* widths) {
      llvm::Value* turned = b.CreateMul(heights, height);
      llvm::Value* copied = b.CreateMul(widths, constant(b, 2 * made.tile.columns));
      return b.CreateAdd(b.CreateMul(products, tile), b.CreateAdd(turned, copied));
    };
    by_rows = with_copies(by_rows, own_tiles, panels);
    by_panels = with_copies(by_panels, tiles, own_panels);
    llvm::Value* alone = b.CreateICmpEQ(f->getArg(f->arg_size() - 1), zero);
    by_panels = b.CreateSelect(alone, by_panels, zero);
  }
  emit_if(
      b, b.CreateICmpULT(by_rows, by_panels),
      [&] {
        const auto row = [&](llvm::Value* i) {
          return smaller(b, b.CreateMul(x.part(b, tiles, i), height), x.m);
        };
        call(row(x.thread), row(x.next(b)), zero, panels);
      },
      [&] { call(zero, x.m, x.part(b, panels, x.thread), x.part(b, panels, x.next(b))); });
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
    return;
  }
  const SecondProduct& second = *step.second;
  arguments.insert(arguments.end(),
                   {at(step.in[2], second.view_a.offset), size(second.view_a.free_stride),
                    size(second.view_a.contract_stride)});
  runs(second.a_run);
  arguments.insert(arguments.end(), {pointer(b, step.out.back(), dtype), size(second.m)});
}

// This thread's columns.
void ProgramEmitter::one_row(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype) {
  const MatmulTile& tile = kernels(dtype).tile;
  llvm::Function* row =
      emit_row_product(module_, target_, tile, std::string(to_string(dtype)).c_str());
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1), *width = f->getArg(10),
              *block = f->getArg(11), *turn = f->getArg(12);
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
  llvm::Value* backwards = b.CreateTrunc(turn, b.getInt1Ty());
  emit_loop(b, zero, x.n, width, [&](llvm::Value* forwards) {
    llvm::Value* other_end = b.CreateSub(b.CreateSub(x.n, width), forwards);
    llvm::Value* run = b.CreateSelect(backwards, other_end, forwards);
    const auto vector = [&](llvm::Value* at) {
      return rounded_up(b, b.CreateAdd(run, at), constant(b, tile.lanes));
    };
    b.CreateCall(row, {x.a, x.a_k, x.packed, x.c, x.n, x.k, vector(from), vector(to), turn});
  });
}

// Each unit is one whole product.
void ProgramEmitter::products_of_batch(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype) {
  const MatmulKernels& made = kernels(dtype);
  const Arguments x(f);
  llvm::Value *zero = b.getInt64(0), *batch = f->getArg(10), *a_batch = f->getArg(11);
  llvm::Value* columns = constant(b, made.tile.columns);
  llvm::Value* panels = rounded_up(b, x.n, columns);
  llvm::Value* depth = emit_depth(b, made.tile, x.k);
  llvm::Value* packed_batch = b.CreateMul(b.CreateMul(panels, columns), depth);
  llvm::Value* c_batch = b.CreateMul(x.m, x.n);
  llvm::Type* element = memory_type(b.getContext(), made.tile.dtype);
  emit_loop(b, x.part(b, batch, x.thread), x.part(b, batch, x.next(b)), b.getInt64(1),
            [&](llvm::Value* i) {
              const auto at = [&](llvm::Value* base, llvm::Value* stride) {
                return b.CreateGEP(element, base, b.CreateMul(i, stride));
              };
              b.CreateCall(made.gemm,
                           {at(x.a, a_batch), x.a_m, x.a_k, at(x.packed, packed_batch),
                            at(x.c, c_batch), x.n, llvm::ConstantPointerNull::get(b.getPtrTy()),
                            zero, zero, x.m, x.n, x.k, zero, panels});
            });
}

}  // namespace treadle
