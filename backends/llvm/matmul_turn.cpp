#include "backends/llvm/matmul_turn_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <utility>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

using llvm::Value;

llvm::Value* emit_turned_strip(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* k) {
  const auto i64 = [&](std::uint64_t value) { return b.getInt64(value); };
  return b.CreateAdd(b.CreateMul(k, i64(static_cast<std::uint64_t>(tile.rows))),
                     i64(64 / size_of(tile.dtype)));
}

// The columns that are asked for ahead of the one that is copied. Each is a piece of a longer
// row of memory: where it ends the processor does not foresee the next one.
constexpr int columns_ahead = 8;

// A whole column at a time, since A's columns stand one behind the other in memory.
llvm::Function* emit_turn_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, const std::string& name) {
  llvm::IRBuilder<> b(module.getContext());
  llvm::Type *p = b.getPtrTy(), *i = b.getInt64Ty();
  auto* f = llvm::Function::Create(
      llvm::FunctionType::get(b.getVoidTy(), {p, i, i, i, i, i, i, p}, false),
      llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  b.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", f));
  Value *a = f->getArg(0), *a_k = f->getArg(1), *run = f->getArg(2), *a_run = f->getArg(3),
        *k0 = f->getArg(4), *rows = f->getArg(5), *k = f->getArg(6);
  llvm::Type* element = value_type(module.getContext(), tile.dtype);
  const auto i64 = [&](std::int64_t value) {
    return b.getInt64(static_cast<std::uint64_t>(value));
  };
  const auto minimum = [&](Value* x, Value* y) {
    return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
  };
  const auto offset = [&](Value* from, Value* bytes) {
    return b.CreateGEP(b.getInt8Ty(), from, bytes);
  };
  const auto element_at = [&](Value* from, Value* index) {
    return b.CreateGEP(element, from, index);
  };
  const unsigned width = tile.rows <= 4 ? 4 : 8;  // elements that are copied at once
  auto* vector = llvm::FixedVectorType::get(element, width);
  const llvm::Align align(size_of(tile.dtype));
  Value* height = i64(tile.rows);
  Value* strip = emit_turned_strip(b, tile, k);
  // Rows of strips that are read by vectors; what reaches past the strip is
  // written over by what follows.
  Value* wide = b.CreateAdd(b.CreateSub(rows, i64(width)), height);
  wide = b.CreateSelect(b.CreateICmpSLT(rows, i64(width)), i64(0),
                        b.CreateMul(b.CreateUDiv(wide, height), height));
  const auto copy_column = [&](Value* from, Value* l) {
    Value* ahead = offset(from, b.CreateMul(a_k, i64(columns_ahead)));
    emit_loop(b, i64(0), rows, i64(64 / static_cast<int>(size_of(tile.dtype))),
              [&](Value* row) { emit_prefetch(b, element_at(ahead, row), 3); });
    Value* to = element_at(f->getArg(7), b.CreateMul(b.CreateSub(l, k0), height));
    to = emit_loop(b, i64(0), wide, height, {to}, [&](Value* row, std::vector<Value*>& at) {
      Value* value = b.CreateAlignedLoad(vector, element_at(from, row), align);
      b.CreateAlignedStore(value, at[0], align);
      at[0] = element_at(at[0], strip);
    })[0];
    emit_loop(b, wide, rows, height, {to}, [&](Value* row, std::vector<Value*>& at) {
      Value* left = minimum(b.CreateSub(rows, row), height);
      emit_loop(b, i64(0), left, i64(1), [&](Value* j) {
        Value* source = element_at(from, b.CreateAdd(row, j));
        b.CreateStore(b.CreateLoad(element, source), element_at(at[0], j));
      });
      at[0] = element_at(at[0], strip);
    });
  };
  Value *end = b.CreateAdd(k0, k), *one = i64(1);
  Value* runs = b.CreateAdd(b.CreateSDiv(b.CreateSub(end, one), run), one);
  emit_loop(b, b.CreateSDiv(k0, run), runs, one, [&](Value* q) {
    Value* first = b.CreateMul(q, run);
    Value* from = b.CreateSelect(b.CreateICmpSLT(first, k0), k0, first);
    Value* start = offset(a, b.CreateMul(q, a_run));
    emit_loop(b, from, minimum(end, b.CreateAdd(first, run)), one, [&](Value* l) {
      copy_column(offset(start, b.CreateMul(b.CreateSub(l, first), a_k)), l);
    });
  });
  b.CreateRetVoid();
  return f;
}

llvm::Value* emit_column_at(llvm::IRBuilderBase& b, const ColumnRuns& runs, llvm::Value* k) {
  Value* before = b.CreateMul(b.CreateUDiv(k, runs.run), runs.a_run);
  return b.CreateAdd(before, b.CreateMul(b.CreateURem(k, runs.run), runs.a_k));
}

void emit_list_columns(llvm::IRBuilderBase& b, const ColumnRuns& runs, llvm::Value* k0,
                       llvm::Value* k, int columns, llvm::Value* list) {
  Value *zero = b.getInt64(0), *one = b.getInt64(1);
  const auto smaller = [&](Value* x, Value* y) {
    return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
  };
  Value* all = b.getInt64(static_cast<std::uint64_t>(columns));
  Value* count = smaller(b.CreateSub(k, k0), all);
  // From a run's last column to the next run's first.
  Value* end = b.CreateSub(runs.run, one);
  Value* to_next = b.CreateSub(runs.a_run, b.CreateMul(end, runs.a_k));
  const auto store = [&](Value* at, Value* l) {
    b.CreateStore(at, b.CreateGEP(b.getInt64Ty(), list, l));
  };
  // Where the column stands, its number in its run, and the one before it.
  std::vector<Value*> values = {zero, b.CreateURem(k0, runs.run), zero};
  values =
      emit_loop(b, zero, count, one, std::move(values), [&](Value* l, std::vector<Value*>& next) {
        store(next[0], l);
        next[2] = next[0];
        Value* last = b.CreateICmpEQ(next[1], end);
        next[0] = b.CreateAdd(next[0], b.CreateSelect(last, to_next, runs.a_k));
        next[1] = b.CreateSelect(last, zero, b.CreateAdd(next[1], one));
      });
  emit_loop(b, b.CreateSelect(b.CreateICmpSLT(count, zero), zero, count), all, one,
            [&](Value* l) { store(values[2], l); });
}

// Blocks of packed B are of equal heights: one of few rows reads all of B for them.
BlockSize emit_block_size(llvm::IRBuilderBase& b, const MatmulTile& tile, bool direct,
                          llvm::Value* rows, llvm::Value* k, llvm::Value* a_m) {
  const auto i64 = [&](std::uint64_t value) { return b.getInt64(value); };
  if (direct || tile.pairs)
    return {i64(row_block),
            i64(static_cast<std::uint64_t>(direct ? tile.direct_k_block() : k_block))};
  const auto height = static_cast<std::uint64_t>(tile.rows);
  const auto rounded_up = [&](Value* x, Value* y) {
    return b.CreateUDiv(b.CreateAdd(x, b.CreateSub(y, i64(1))), y);
  };
  const auto smaller = [&](Value* x, Value* y) {
    return b.CreateSelect(b.CreateICmpULT(x, y), x, y);
  };
  Value* depth = b.CreateSelect(b.CreateICmpEQ(a_m, i64(1)), i64(k_block), i64(deep_k_block));
  Value* most = b.CreateUDiv(
      i64(static_cast<std::size_t>(a_block_bytes(tile)) / size_of(tile.dtype)), smaller(k, depth));
  most = smaller(most, i64(row_block / height * height));
  rows = b.CreateSelect(b.CreateICmpSLT(rows, i64(1)), i64(1), rows);
  Value* tiles = rounded_up(rounded_up(rows, rounded_up(rows, most)), i64(height));
  return {b.CreateMul(tiles, i64(height)), depth};
}

llvm::Value* emit_blocks_of(llvm::IRBuilderBase& b, llvm::Value* extent, int block) {
  const auto size = static_cast<std::uint64_t>(block);
  return b.CreateUDiv(b.CreateAdd(extent, b.getInt64(size - 1)), b.getInt64(size));
}

llvm::Value* emit_direct_turns(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* m,
                               llvm::Value* k) {
  return b.CreateMul(emit_blocks_of(b, m, row_block), emit_blocks_of(b, k, tile.direct_k_block()));
}

}  // namespace treadle
