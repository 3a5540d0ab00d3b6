#include "backends/llvm/matmul_pairs_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <utility>
#include <vector>

#include "backends/llvm/bfloat16_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/square_internal.h"
#include "backends/llvm/target_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// Writes the body of one of the two functions.
class PairCopies {
 public:
  PairCopies(llvm::Function& f, const Target& target, const MatmulTile& tile)
      : b_(llvm::BasicBlock::Create(f.getContext(), "entry", &f)), target_(target), tile_(tile) {}

  void pack(llvm::Function& f);
  void copy_rows(llvm::Function& f);
  void copy_tiles(llvm::Function& f);

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* minimum(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }
  Value* at(Value* base, Value* index) { return b_.CreateGEP(b_.getFloatTy(), base, index); }
  Value* offset(Value* base, Value* bytes) { return b_.CreateGEP(b_.getInt8Ty(), base, bytes); }
  llvm::Type* vector(int lanes);
  Value* load(Value* from, int lanes);
  void store(Value* value, Value* to);
  Value* below(Value* count, int lanes);
  Value* load_below(Value* from, Value* mask, int lanes);

  void pack_rows(Value* source, Value* b_k, Value* k, Value* width, Value* to);
  Value* pack_columns(Value* source, Value* b_n, Value* k, Value* to);
  void pack_elements(Value* source, Value* b_k, Value* b_n, Value* done, Value* k, Value* width,
                     Value* to);
  Value* copy_dense_k(Value* from, Value* a_m, Value* k, Value* height, Value* to);
  Value* copy_dense_rows(Value* from, Value* a_k, Value* k, Value* height, Value* to);
  void copy_elements(Value* from, Value* a_m, Value* a_k, Value* done, Value* k, Value* height,
                     Value* to);
  Value* pair_of(Value* from, Value* step, Value* l, Value* k);
  void tile_of_dense_k(Value* from, Value* a_m, Value* rows, Value* k, Value* to);
  void tile_of_dense_rows(Value* from, Value* a_k, Value* rows, Value* k, Value* to);
  void tile_of_elements(Value* from, Value* a_m, Value* a_k, Value* rows, Value* k, Value* to);

  llvm::IRBuilder<> b_;
  const Target& target_;
  const MatmulTile& tile_;
};

llvm::Type* PairCopies::vector(int lanes) {
  return llvm::FixedVectorType::get(b_.getFloatTy(), static_cast<unsigned>(lanes));
}
Value* PairCopies::load(Value* from, int lanes) {
  return b_.CreateAlignedLoad(vector(lanes), from, llvm::Align(4));
}
void PairCopies::store(Value* value, Value* to) {
  b_.CreateAlignedStore(value, to, llvm::Align(4));
}
// The lanes whose number is below `count`.
Value* PairCopies::below(Value* count, int lanes) {
  std::vector<llvm::Constant*> numbers;
  for (int i = 0; i < lanes; ++i) numbers.push_back(b_.getInt64(static_cast<std::uint64_t>(i)));
  return b_.CreateICmpSLT(llvm::ConstantVector::get(numbers),
                          b_.CreateVectorSplat(static_cast<unsigned>(lanes), count));
}
// 0 in the other lanes, of which nothing is read.
Value* PairCopies::load_below(Value* from, Value* mask, int lanes) {
  llvm::Type* type = vector(lanes);
  return b_.CreateMaskedLoad(type, from, llvm::Align(4), mask, llvm::Constant::getNullValue(type));
}

// Elements 2l and 2l + 1 of a row of k, `step` bytes apart; the last row of an odd number
// has a partner of 0.
Value* PairCopies::pair_of(Value* from, Value* step, Value* l, Value* k) {
  Value* first = b_.CreateShl(l, 1);
  Value* second = b_.CreateAdd(first, i64(1));
  Value* inside = b_.CreateICmpSLT(second, k);
  const auto element = [&](Value* index) {
    return b_.CreateAlignedLoad(b_.getFloatTy(), offset(from, b_.CreateMul(index, step)),
                                llvm::Align(4));
  };
  Value* low = element(first);
  Value* high = element(b_.CreateSelect(inside, second, first));
  high = b_.CreateSelect(inside, high, llvm::ConstantFP::get(b_.getFloatTy(), 0));
  return emit_pairs(b_, target_, low, high);
}

// ---- operand B ----

void PairCopies::pack(llvm::Function& f) {
  Value *from = f.getArg(0), *b_k = f.getArg(1), *b_n = f.getArg(2), *k = f.getArg(3);
  Value* columns = i64(tile_.columns);
  Value* depth = emit_depth(b_, tile_, k);
  Value* pairs = b_.CreateLShr(b_.CreateAdd(k, i64(1)), 1);
  emit_loop(b_, f.getArg(5), f.getArg(6), i64(1), [&](Value* panel) {
    Value* first = b_.CreateMul(panel, columns);
    Value* width = minimum(columns, b_.CreateSub(f.getArg(4), first));
    Value* to = at(f.getArg(7), b_.CreateMul(first, depth));
    Value* source = at(from, b_.CreateMul(first, b_n));
    emit_if(
        b_, b_.CreateICmpEQ(b_n, i64(1)), [&] { pack_rows(source, b_k, k, width, to); },
        [&] {
          Value* whole = b_.CreateICmpEQ(width, columns);
          Value* turned = b_.CreateAnd(b_.CreateICmpEQ(b_k, i64(1)), whole);
          Value* done = pack_columns(source, b_n, b_.CreateSelect(turned, k, i64(0)), to);
          pack_elements(source, b_k, b_n, done, k, width, to);
        });
    emit_loop(b_, b_.CreateMul(pairs, columns), b_.CreateMul(depth, columns), i64(tile_.lanes),
              [&](Value* missing) {
                store(llvm::Constant::getNullValue(vector(tile_.lanes)), at(to, missing));
              });
  });
  b_.CreateRetVoid();
}

// A panel whose rows lie dense in memory.
void PairCopies::pack_rows(Value* source, Value* b_k, Value* k, Value* width, Value* to) {
  const int lanes = tile_.lanes;
  std::vector<Value*> masks;
  for (int v = 0; v < tile_.vectors; ++v)
    masks.push_back(below(b_.CreateSub(width, i64(v * lanes)), lanes));
  const auto copy = [&](Value* l, bool both) {
    Value* row = at(source, b_.CreateMul(b_.CreateShl(l, 1), b_k));
    Value* next = at(row, b_k);
    Value* out = at(to, b_.CreateMul(l, i64(tile_.columns)));
    for (int v = 0; v < tile_.vectors; ++v) {
      Value* column = i64(v * lanes);
      Value* mask = masks[static_cast<std::size_t>(v)];
      Value* low = load_below(at(row, column), mask, lanes);
      Value* high = both ? load_below(at(next, column), mask, lanes)
                         : llvm::Constant::getNullValue(vector(lanes));
      store(emit_pairs(b_, target_, low, high), at(out, column));
    }
  };
  Value* pairs = b_.CreateLShr(k, 1);
  emit_loop(b_, i64(0), pairs, i64(1), [&](Value* l) { copy(l, true); });
  emit_loop(b_, pairs, b_.CreateAdd(pairs, b_.CreateAnd(k, i64(1))), i64(1),
            [&](Value* l) { copy(l, false); });
}

// A whole panel whose columns lie dense in memory: squares of as many pairs as a vector has
// lanes. Returns how many pairs of k are done.
Value* PairCopies::pack_columns(Value* source, Value* b_n, Value* k, Value* to) {
  const int lanes = tile_.lanes;
  Value* done = b_.CreateAnd(b_.CreateLShr(k, 1), i64(-lanes));
  emit_loop(b_, i64(0), done, i64(lanes), [&](Value* l) {
    emit_loop(b_, i64(0), i64(tile_.columns), i64(lanes), [&](Value* column) {
      std::vector<Value*> square;
      for (int j = 0; j < lanes; ++j) {
        Value* from = b_.CreateMul(b_.CreateAdd(column, i64(j)), b_n);
        from = at(source, b_.CreateAdd(from, b_.CreateShl(l, 1)));
        square.push_back(emit_adjacent_pairs(b_, target_, load(from, 2 * lanes)));
      }
      square = transposed_square(b_, std::move(square));
      for (int i = 0; i < lanes; ++i) {
        Value* row = b_.CreateMul(b_.CreateAdd(l, i64(i)), i64(tile_.columns));
        store(square[static_cast<std::size_t>(i)], at(to, b_.CreateAdd(row, column)));
      }
    });
  });
  return done;
}

void PairCopies::pack_elements(Value* source, Value* b_k, Value* b_n, Value* done, Value* k,
                               Value* width, Value* to) {
  Value* step = b_.CreateShl(b_k, 2);
  Value* depth = b_.CreateLShr(b_.CreateAdd(k, i64(1)), 1);
  emit_loop(b_, done, depth, i64(1), [&](Value* l) {
    Value* out = at(to, b_.CreateMul(l, i64(tile_.columns)));
    emit_loop(b_, i64(0), width, i64(1), [&](Value* j) {
      store(pair_of(at(source, b_.CreateMul(j, b_n)), step, l, k), at(out, j));
    });
    emit_loop(b_, width, i64(tile_.columns), i64(1),
              [&](Value* j) { store(llvm::ConstantFP::get(b_.getFloatTy(), 0), at(out, j)); });
  });
}

// ---- operand A ----

void PairCopies::copy_rows(llvm::Function& f) {
  Value *a = f.getArg(0), *a_m = f.getArg(1), *a_k = f.getArg(2), *rows = f.getArg(3),
        *k = f.getArg(4);
  Value* depth = b_.CreateLShr(b_.CreateAdd(k, i64(1)), 1);
  emit_loop(b_, i64(0), rows, i64(tile_.rows), [&](Value* row) {
    Value* height = minimum(i64(tile_.rows), b_.CreateSub(rows, row));
    Value* from = offset(a, b_.CreateMul(row, a_m));
    Value* to = at(f.getArg(5), b_.CreateMul(row, depth));
    const auto length_if = [&](Value* stride) {
      return b_.CreateSelect(b_.CreateICmpEQ(stride, i64(4)), k, i64(0));
    };
    emit_if(
        b_, b_.CreateICmpEQ(a_m, i64(4)),
        [&] {
          Value* done = copy_dense_rows(from, a_k, k, height, to);
          copy_elements(from, a_m, a_k, done, k, height, to);
        },
        [&] {
          Value* done = copy_dense_k(from, a_m, length_if(a_k), height, to);
          copy_elements(from, a_m, a_k, done, k, height, to);
        });
  });
  b_.CreateRetVoid();
}

// Squares of as many pairs as a strip has rows; a missing row is the last one again.
Value* PairCopies::copy_dense_k(Value* from, Value* a_m, Value* k, Value* height, Value* to) {
  std::vector<Value*> row;
  for (int i = 0; i < tile_.rows; ++i) {
    Value* present = minimum(i64(i), b_.CreateSub(height, i64(1)));
    row.push_back(offset(from, b_.CreateMul(present, a_m)));
  }
  Value* done = b_.CreateAnd(b_.CreateLShr(k, 1), i64(-tile_.rows));
  emit_loop(b_, i64(0), done, i64(tile_.rows), [&](Value* l) {
    std::vector<Value*> square;
    for (Value* start : row)
      square.push_back(
          emit_adjacent_pairs(b_, target_, load(at(start, b_.CreateShl(l, 1)), 2 * tile_.rows)));
    square = transposed_square(b_, std::move(square));
    Value* out = at(to, b_.CreateMul(l, i64(tile_.rows)));
    for (int i = 0; i < tile_.rows; ++i)
      store(square[static_cast<std::size_t>(i)], at(out, i64(i * tile_.rows)));
  });
  return done;
}

Value* PairCopies::copy_dense_rows(Value* from, Value* a_k, Value* k, Value* height, Value* to) {
  Value* done = b_.CreateLShr(k, 1);
  Value* mask = below(height, tile_.rows);
  emit_loop(b_, i64(0), done, i64(1), [&](Value* l) {
    Value* first = offset(from, b_.CreateMul(b_.CreateShl(l, 1), a_k));
    Value* low = load_below(first, mask, tile_.rows);
    Value* high = load_below(offset(first, a_k), mask, tile_.rows);
    store(emit_pairs(b_, target_, low, high), at(to, b_.CreateMul(l, i64(tile_.rows))));
  });
  return done;
}

void PairCopies::copy_elements(Value* from, Value* a_m, Value* a_k, Value* done, Value* k,
                               Value* height, Value* to) {
  Value* depth = b_.CreateLShr(b_.CreateAdd(k, i64(1)), 1);
  emit_loop(b_, done, depth, i64(1), [&](Value* l) {
    Value* out = at(to, b_.CreateMul(l, i64(tile_.rows)));
    emit_loop(b_, i64(0), height, i64(1), [&](Value* i) {
      store(pair_of(offset(from, b_.CreateMul(i, a_m)), a_k, l, k), at(out, i));
    });
  });
}

// ---- operand A in tiles ----

constexpr int tile_rows = 16, tile_pairs = 16;

void PairCopies::copy_tiles(llvm::Function& f) {
  Value *a = f.getArg(0), *a_m = f.getArg(1), *a_k = f.getArg(2), *rows = f.getArg(3),
        *k = f.getArg(4);
  Value* depth = emit_depth(b_, tile_, k);
  Value* end = b_.CreateAnd(b_.CreateAdd(rows, i64(tile_.rows - 1)), i64(-tile_.rows));
  emit_loop(b_, i64(0), end, i64(tile_rows), [&](Value* row) {
    emit_loop(b_, i64(0), depth, i64(tile_pairs), [&](Value* l) {
      Value* first = b_.CreateShl(l, 1);
      Value* from = offset(a, b_.CreateAdd(b_.CreateMul(row, a_m), b_.CreateMul(first, a_k)));
      Value* to =
          at(f.getArg(5), b_.CreateAdd(b_.CreateMul(row, depth), b_.CreateMul(l, i64(tile_rows))));
      Value *rows_left = b_.CreateSub(rows, row), *k_left = b_.CreateSub(k, first);
      emit_if(
          b_, b_.CreateICmpEQ(a_k, i64(4)),
          [&] { tile_of_dense_k(from, a_m, rows_left, k_left, to); },
          [&] {
            emit_if(
                b_, b_.CreateICmpEQ(a_m, i64(4)),
                [&] { tile_of_dense_rows(from, a_k, rows_left, k_left, to); },
                [&] { tile_of_elements(from, a_m, a_k, rows_left, k_left, to); });
          });
    });
  });
  b_.CreateRetVoid();
}

void PairCopies::tile_of_dense_k(Value* from, Value* a_m, Value* rows, Value* k, Value* to) {
  emit_loop(b_, i64(0), i64(tile_rows), i64(1), [&](Value* i) {
    Value* present = b_.CreateSelect(b_.CreateICmpSLT(i, rows), k, i64(0));
    Value* row = load_below(offset(from, b_.CreateMul(i, a_m)), below(present, 2 * tile_pairs),
                            2 * tile_pairs);
    store(emit_adjacent_pairs(b_, target_, row), at(to, b_.CreateMul(i, i64(tile_pairs))));
  });
}

void PairCopies::tile_of_dense_rows(Value* from, Value* a_k, Value* rows, Value* k, Value* to) {
  const auto column = [&](int index) {
    Value* present = b_.CreateSelect(b_.CreateICmpSLT(i64(index), k), rows, i64(0));
    return load_below(offset(from, b_.CreateMul(i64(index), a_k)), below(present, tile_rows),
                      tile_rows);
  };
  std::vector<Value*> square;
  for (int l = 0; l < tile_pairs; ++l)
    square.push_back(emit_pairs(b_, target_, column(2 * l), column(2 * l + 1)));
  square = transposed_square(b_, std::move(square));
  for (int i = 0; i < tile_rows; ++i)
    store(square[static_cast<std::size_t>(i)], at(to, i64(i * tile_pairs)));
}

void PairCopies::tile_of_elements(Value* from, Value* a_m, Value* a_k, Value* rows, Value* k,
                                  Value* to) {
  Value* pairs = minimum(i64(tile_pairs), b_.CreateLShr(b_.CreateAdd(k, i64(1)), 1));
  emit_loop(b_, i64(0), i64(tile_rows), i64(1), [&](Value* i) {
    Value* out = at(to, b_.CreateMul(i, i64(tile_pairs)));
    store(llvm::Constant::getNullValue(vector(tile_pairs)), out);
    Value* present = b_.CreateSelect(b_.CreateICmpSLT(i, rows), pairs, i64(0));
    emit_loop(b_, i64(0), present, i64(1), [&](Value* l) {
      store(pair_of(offset(from, b_.CreateMul(i, a_m)), a_k, l, k), at(out, l));
    });
  });
}

llvm::Function* start(llvm::Module& module, const Target& target,
                      const std::vector<llvm::Type*>& types, const std::string& name) {
  llvm::Type* nothing = llvm::Type::getVoidTy(module.getContext());
  auto* f = llvm::Function::Create(llvm::FunctionType::get(nothing, types, false),
                                   llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  return f;
}

}  // namespace

llvm::Value* emit_depth(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* k) {
  if (!tile.pairs) return k;
  const std::uint64_t together = tile.amx ? 32 : 2;
  Value* steps = b.CreateUDiv(b.CreateAdd(k, b.getInt64(together - 1)), b.getInt64(together));
  return b.CreateMul(steps, b.getInt64(together / 2));
}

llvm::Function* emit_pair_pack_function(llvm::Module& module, const Target& target,
                                        const MatmulTile& tile, const std::string& name) {
  llvm::Type *p = llvm::PointerType::get(module.getContext(), 0),
             *i = llvm::Type::getInt64Ty(module.getContext());
  auto* f = start(module, target, {p, i, i, i, i, i, i, p, p}, name);
  PairCopies(*f, target, tile).pack(*f);
  return f;
}

llvm::Function* emit_pair_copy_function(llvm::Module& module, const Target& target,
                                        const MatmulTile& tile, const std::string& name) {
  llvm::Type *p = llvm::PointerType::get(module.getContext(), 0),
             *i = llvm::Type::getInt64Ty(module.getContext());
  auto* f = start(module, target, {p, i, i, i, i, p}, name);
  PairCopies copies(*f, target, tile);
  if (tile.amx)
    copies.copy_tiles(*f);
  else
    copies.copy_rows(*f);
  return f;
}

}  // namespace treadle
