// Operand B of products, packed.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/product_loops_internal.h"
#include "backends/llvm/program_emitter_internal.h"

namespace treadle {

namespace {

// Rows of B that are packed together: whole vectors and whole tiles of AMX.
constexpr std::int64_t rows_of_part = 32;

}  // namespace

// Units are parts of panels, some rows of B each, where there is one B: weights often have
// few panels, the last of them narrow, and half of three panels is two for one thread. Else
// whole panels, those of all batches, or of all turns of the loops of sums.
void ProgramEmitter::pack(llvm::IRBuilder<>& b, const Step& step) {
  const MatmulKernels& made = kernels(step.product_dtype);
  const DType dtype = made.tile.dtype;
  const Dim panels = (step.shape.n + Dim(made.tile.columns - 1)).floor_div(made.tile.columns);
  if (step.shape.batch == Dim(1) && step.sum_loops.empty()) {
    const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
    llvm::Value* from = b.CreateGEP(memory_type(b.getContext(), dtype),
                                    pointer(b, step.in[0], dtype), size(step.view_b.offset));
    const Dim parts = (step.shape.k + Dim(rows_of_part - 1)).floor_div(rows_of_part);
    const auto [begin, end] = share_of(b, parts * panels);
    b.CreateCall(
        pack_function(step.product_dtype),
        {from, size(step.view_b.contract_stride), size(step.view_b.free_stride), size(step.shape.k),
         size(step.shape.n), begin, end, pointer(b, step.out[0], dtype)});
    return;
  }
  call_kernel(
      b, key_of(step, "pack"), "pack",
      {pointer(b, step.in[0], dtype), pointer(b, step.out[0], dtype)},
      share_of(b, step.shape.batch * turns(step.sum_loops) * panels), std::nullopt,
      [&](llvm::IRBuilder<>& c, const Kernel& k) {
        const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
        llvm::Type* element = memory_type(c.getContext(), dtype);
        llvm::Value* from = c.CreateGEP(element, k.pointers[0], size(step.view_b.offset));
        llvm::Value* to = k.pointers[1];
        llvm::Value* one = c.getInt64(1);
        const auto call = [&](llvm::Value* source, llvm::Value* target, llvm::Value* begin,
                              llvm::Value* end) {
          c.CreateCall(made.pack,
                       {source, size(step.view_b.contract_stride), size(step.view_b.free_stride),
                        size(step.shape.k), size(step.shape.n), begin, end, target,
                        llvm::ConstantPointerNull::get(c.getPtrTy())});
        };
        emit_loop(c, k.begin, k.end, one, [&](llvm::Value* unit) {
          llvm::Value* batch = c.CreateUDiv(unit, size(panels));
          llvm::Value* panel = c.CreateURem(unit, size(panels));
          llvm::Value* offset =
              step.sum_loops.empty()
                  ? c.CreateMul(batch, size(step.view_b.batch_stride))
                  : loop_offset(c, step.sum_loops, &ProductView::Loop::b_stride, batch, size);
          llvm::Value* source = c.CreateGEP(element, from, offset);
          llvm::Value* target =
              c.CreateGEP(element, to,
                          c.CreateMul(batch, size(panels * Dim(made.tile.columns) *
                                                  packed_depth(made.tile, step.shape.k))));
          call(source, target, panel, c.CreateAdd(panel, one));
        });
      });
}

// void(b, b_k, b_n, k, n, begin, end, packed): parts begin ... end - 1 of B, as B
// stands in memory: those of the same rows one behind the other or, where columns are dense,
// those of the same panel.
llvm::Function* ProgramEmitter::pack_function(DType product_dtype) {
  const MatmulKernels& made = kernels(product_dtype);
  const std::string name = std::string(to_string(product_dtype)) + ".pack_parts";
  if (llvm::Function* f = module_.getFunction(name)) return f;
  llvm::IRBuilder<> b(module_.getContext());
  llvm::Type *p = b.getPtrTy(), *i = b.getInt64Ty();
  llvm::Function* f = start_function(b, name, {p, i, i, i, i, i, i, p});
  llvm::Value *from = f->getArg(0), *b_k = f->getArg(1), *b_n = f->getArg(2), *k = f->getArg(3),
              *n = f->getArg(4), *packed = f->getArg(7);
  const auto constant = [&](std::int64_t x) { return b.getInt64(static_cast<std::uint64_t>(x)); };
  const auto at = [&](llvm::Value* base, llvm::Value* offset) {
    return b.CreateGEP(memory_type(b.getContext(), made.tile.dtype), base, offset);
  };
  const auto smaller = [&](llvm::Value* x, llvm::Value* y) {
    return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
  };
  llvm::Value *columns = constant(made.tile.columns), *rows = constant(rows_of_part);
  llvm::Value* panels = b.CreateUDiv(b.CreateAdd(n, constant(made.tile.columns - 1)), columns);
  llvm::Value* parts = b.CreateUDiv(b.CreateAdd(k, constant(rows_of_part - 1)), rows);
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1);
  llvm::Value* turned = b.CreateICmpEQ(b_k, one);
  llvm::Value* depth = emit_depth(b, made.tile, k);
  struct Part {
    llvm::Value *row, *column, *source, *to;
  };
  const auto part_at = [&](llvm::Value* unit) {
    llvm::Value* row =
        b.CreateSelect(turned, b.CreateURem(unit, parts), b.CreateUDiv(unit, panels));
    llvm::Value* panel =
        b.CreateSelect(turned, b.CreateUDiv(unit, parts), b.CreateURem(unit, panels));
    row = b.CreateMul(row, rows);
    llvm::Value* column = b.CreateMul(panel, columns);
    llvm::Value* source = at(from, b.CreateAdd(b.CreateMul(row, b_k), b.CreateMul(column, b_n)));
    llvm::Value* above = b.CreateMul(emit_depth(b, made.tile, row), columns);
    llvm::Value* to = at(packed, b.CreateAdd(b.CreateMul(column, depth), above));
    return Part{row, column, source, to};
  };
  // The next part's lines are asked for: the processor does not see which pieces of rows, or of
  // columns, come next.
  llvm::Value* line = constant(64 / static_cast<std::int64_t>(size_of(made.tile.dtype)));
  llvm::Value* pieces = b.CreateSelect(turned, columns, rows);
  llvm::Value* apart = b.CreateSelect(turned, b_n, b_k);
  llvm::Value* width = b.CreateSelect(turned, rows, columns);
  llvm::Value *first = f->getArg(5), *end = f->getArg(6);
  emit_loop(b, first, end, one, [&](llvm::Value* unit) {
    const Part part = part_at(unit);
    const Part next = part_at(smaller(b.CreateAdd(unit, one), b.CreateSub(end, one)));
    emit_loop(b, zero, pieces, one, [&](llvm::Value* piece) {
      llvm::Value* start = at(next.source, b.CreateMul(piece, apart));
      emit_loop(b, zero, width, line,
                [&](llvm::Value* element) { emit_prefetch(b, at(start, element), 2); });
    });
    b.CreateCall(made.pack, {part.source, b_k, b_n, smaller(rows, b.CreateSub(k, part.row)),
                             smaller(columns, b.CreateSub(n, part.column)), zero, one, part.to,
                             llvm::ConstantPointerNull::get(b.getPtrTy())});
  });
  b.CreateRetVoid();
  return f;
}

}  // namespace treadle
