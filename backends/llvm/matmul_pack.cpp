#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <utility>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pack_internal.h"
#include "backends/llvm/square_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// Rows of B that are read before the next panel's part of them is: a panel takes a
// line of each row, and the other lines are asked for from memory by then.
constexpr int rows_at_once = 32;

class PackEmitter {
 public:
  PackEmitter(llvm::Function* function, const MatmulTile& tile)
      : b_(llvm::BasicBlock::Create(function->getContext(), "entry", function)),
        tile_(tile),
        element_(value_type(function->getContext(), tile.dtype)),
        vector_(llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile.lanes))),
        align_(size_of(tile.dtype)),
        from_(function->getArg(0)),
        b_k_(function->getArg(1)),
        b_n_(function->getArg(2)),
        k_(function->getArg(3)),
        n_(function->getArg(4)),
        begin_(function->getArg(5)),
        end_(function->getArg(6)),
        packed_(function->getArg(7)),
        sums_(function->getArg(8)) {}

  void run() {
    Value* columns = i64(tile_.columns);
    // Whole panels of rows that are dense.
    Value* whole = minimum(end_, b_.CreateUDiv(n_, columns));
    whole = b_.CreateSelect(b_.CreateICmpEQ(b_n_, i64(1)), whole, begin_);
    Value* with_sums = b_.CreateIsNotNull(sums_);
    emit_if(
        b_, with_sums, [&] { copy_rows(whole, true); }, [&] { copy_rows(whole, false); });
    Value* left = b_.CreateSelect(b_.CreateICmpSGT(whole, begin_), whole, begin_);
    emit_loop(b_, left, end_, i64(1), [&](Value* panel) {
      Value* first = b_.CreateMul(panel, columns);
      Value* width = minimum(columns, b_.CreateSub(n_, first));
      Value* to = element_at(packed_, b_.CreateMul(first, k_));
      Value* source = element_at(from_, b_.CreateMul(first, b_n_));
      // Whole vectors of columns, where either these or the rows of B are dense.
      Value* whole = b_.CreateAnd(width, i64(-tile_.lanes));
      Value* turned = b_.CreateAnd(k_, i64(-tile_.lanes));  // so many rows
      turned = b_.CreateSelect(b_.CreateICmpEQ(b_k_, i64(1)), turned, i64(0));
      clear_columns(whole, width, to);
      copy_turned(source, turned, whole, to);
      Value* rows_dense =
          b_.CreateAnd(b_.CreateICmpEQ(b_n_, i64(1)), b_.CreateICmpEQ(turned, i64(0)));
      Value* dense = b_.CreateSelect(rows_dense, whole, i64(0));
      Value* sums = element_at(sums_, first);
      emit_if(
          b_, with_sums, [&] { copy_columns(source, dense, to, sums); },
          [&] { copy_columns(source, dense, to, nullptr); });
      copy_elements(source, i64(0), turned, whole, width, to);
      copy_elements(source, turned, k_, dense, width, to);
      emit_if(
          b_, with_sums, [&] { sum_panel(to, sums, dense, width); }, [] {});
    });
    b_.CreateRetVoid();
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* minimum(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }
  Value* element_at(Value* pointer, Value* index) { return b_.CreateGEP(element_, pointer, index); }
  Value* load(Value* row, int vector) {
    return b_.CreateAlignedLoad(vector_, element_at(row, i64(vector * tile_.lanes)), align_);
  }
  void store(Value* value, Value* row, int vector) {
    b_.CreateAlignedStore(value, element_at(row, i64(vector * tile_.lanes)), align_);
  }

  // Panels begin_ ... end - 1; with `sum`, their rows are added to the sums as well.
  void copy_rows(Value* end, bool sum) {
    emit_loop(b_, i64(0), k_, i64(rows_at_once), [&](Value* from) {
      Value* to = minimum(k_, b_.CreateAdd(from, i64(rows_at_once)));
      emit_loop(b_, begin_, end, i64(1), [&](Value* panel) {
        Value* first = b_.CreateMul(panel, i64(tile_.columns));
        Value* packed = element_at(packed_, b_.CreateMul(first, k_));
        Value* sums = element_at(sums_, first);
        std::vector<Value*> values;
        for (int v = 0; sum && v < tile_.vectors; ++v) values.push_back(load(sums, v));
        values = emit_loop(b_, from, to, i64(1), values, [&](Value* l, std::vector<Value*>& next) {
          Value* row = element_at(from_, b_.CreateAdd(b_.CreateMul(l, b_k_), first));
          Value* out = element_at(packed, b_.CreateMul(l, i64(tile_.columns)));
          for (int v = 0; v < tile_.vectors; ++v) {
            Value* value = load(row, v);
            store(value, out, v);
            if (sum) add(next[static_cast<std::size_t>(v)], value);
          }
        });
        for (int v = 0; sum && v < tile_.vectors; ++v)
          store(values[static_cast<std::size_t>(v)], sums, v);
      });
    });
  }

  void add(Value*& sum, Value* value) { sum = b_.CreateFAdd(sum, value); }

  // The first `width` columns of a panel that has not all of them, whole vectors of dense
  // rows, and their sums, unless null. (Element by element the last 32 of 512 columns take a
  // fifteenth of the time of a product of 156 rows.)
  void copy_columns(Value* source, Value* width, Value* to, Value* sums) {
    emit_loop(b_, i64(0), width, i64(tile_.lanes), [&](Value* column) {
      std::vector<Value*> sum;
      if (sums != nullptr) sum.push_back(load(element_at(sums, column), 0));
      sum = emit_loop(b_, i64(0), k_, i64(1), sum, [&](Value* l, std::vector<Value*>& next) {
        Value* value = load(element_at(source, b_.CreateAdd(b_.CreateMul(l, b_k_), column)), 0);
        Value* out = b_.CreateAdd(b_.CreateMul(l, i64(tile_.columns)), column);
        store(value, element_at(to, out), 0);
        if (sums != nullptr) add(next[0], value);
      });
      if (sums != nullptr) store(sum[0], element_at(sums, column), 0);
    });
  }

  // Adds a panel's packed rows, whose missing columns are zero, from column `begin` on.
  void sum_panel(Value* packed, Value* sums, Value* begin, Value* width) {
    emit_loop(b_, begin, width, i64(1), [&](Value* column) {
      Value* place = element_at(sums, column);
      std::vector<Value*> sum = {b_.CreateLoad(element_, place)};
      sum = emit_loop(b_, i64(0), k_, i64(1), sum, [&](Value* l, std::vector<Value*>& next) {
        Value* at = b_.CreateAdd(b_.CreateMul(l, i64(tile_.columns)), column);
        add(next[0], b_.CreateLoad(element_, element_at(packed, at)));
      });
      b_.CreateStore(sum[0], place);
    });
  }

  // The first `width` columns of a panel, which lie dense in memory, up to row k: squares of as
  // many rows as a vector has lanes.
  void copy_turned(Value* source, Value* k, Value* width, Value* to) {
    emit_loop(b_, i64(0), k, i64(tile_.lanes), [&](Value* l) {
      emit_loop(b_, i64(0), width, i64(tile_.lanes), [&](Value* column) {
        std::vector<Value*> square;
        for (int j = 0; j < tile_.lanes; ++j) {
          Value* from = b_.CreateAdd(b_.CreateMul(b_.CreateAdd(column, i64(j)), b_n_), l);
          square.push_back(b_.CreateAlignedLoad(vector_, element_at(source, from), align_));
        }
        square = transposed_square(b_, std::move(square));
        for (int i = 0; i < tile_.lanes; ++i) {
          Value* row = b_.CreateMul(b_.CreateAdd(l, i64(i)), i64(tile_.columns));
          b_.CreateAlignedStore(square[static_cast<std::size_t>(i)],
                                element_at(to, b_.CreateAdd(row, column)), align_);
        }
      });
    });
  }

  // Rows from ... end - 1 of columns begin ... width - 1.
  void copy_elements(Value* source, Value* from, Value* end, Value* begin, Value* width,
                     Value* to) {
    Value* none = b_.CreateICmpSGE(begin, width);
    emit_loop(b_, b_.CreateSelect(none, end, from), end, i64(1), [&](Value* l) {
      Value* row = element_at(source, b_.CreateMul(l, b_k_));
      Value* out = element_at(to, b_.CreateMul(l, i64(tile_.columns)));
      emit_loop(b_, begin, width, i64(1), [&](Value* j) {
        Value* value = b_.CreateLoad(element_, element_at(row, b_.CreateMul(j, b_n_)));
        b_.CreateStore(value, element_at(out, j));
      });
    });
  }

  // The columns that a panel misses are zero; those of its last vector that it has are copied
  // behind this.
  void clear_columns(Value* whole, Value* width, Value* to) {
    Value* columns = i64(tile_.columns);
    Value* all = b_.CreateICmpEQ(width, columns);
    emit_loop(b_, b_.CreateSelect(all, k_, i64(0)), k_, i64(1), [&](Value* l) {
      Value* out = element_at(to, b_.CreateMul(l, columns));
      emit_loop(b_, whole, columns, i64(tile_.lanes), [&](Value* j) {
        store(llvm::Constant::getNullValue(vector_), element_at(out, j), 0);
      });
    });
  }

  llvm::IRBuilder<> b_;
  const MatmulTile& tile_;
  llvm::Type* element_;
  llvm::Type* vector_;
  llvm::Align align_;
  Value *from_, *b_k_, *b_n_, *k_, *n_, *begin_, *end_, *packed_, *sums_;
};

}  // namespace

llvm::Function* emit_pack_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, const std::string& name) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type *p = llvm::PointerType::get(context, 0), *i = llvm::Type::getInt64Ty(context);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {p, i, i, i, i, i, i, p, p}, false);
  auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  PackEmitter(f, tile).run();
  return f;
}

}  // namespace treadle
