#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <string>
#include <vector>

#include "backends/llvm/bfloat16_internal.h"
#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/row_product_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// Vectors that are summed side by side.
constexpr int group = 8;

class RowProduct {
 public:
  RowProduct(llvm::Function* f, const Target& target, const MatmulTile& tile)
      : b_(llvm::BasicBlock::Create(f->getContext(), "entry", f)),
        arithmetic_(b_, target),
        target_(target),
        tile_(tile),
        size_(static_cast<int>(size_of(tile.dtype))),
        element_(value_type(f->getContext(), tile.dtype)),
        vector_(llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile.lanes))),
        a_(f->getArg(0)),
        a_k_(b_.CreateMul(f->getArg(1), i64(size_))),
        packed_(f->getArg(2)),
        c_(f->getArg(3)),
        n_(f->getArg(4)),
        k_(f->getArg(5)),
        begin_(f->getArg(6)),
        end_(f->getArg(7)),
        backwards_(b_.CreateTrunc(f->getArg(8), b_.getInt1Ty())) {}

  void run() {
    // Of the last vectors, where fewer than a group are left.
    llvm::AllocaInst* rest = b_.CreateAlloca(llvm::ArrayType::get(vector_, group));
    rest->setAlignment(llvm::Align(64));
    Value* whole = smaller(b_.CreateUDiv(n_, i64(tile_.lanes)), end_);
    Value* behind = b_.CreateSub(b_.CreateSub(end_, begin_), i64(1));
    behind = b_.CreateMul(b_.CreateSDiv(behind, i64(group)), i64(group));
    Value* both_ends = b_.CreateAdd(b_.CreateAdd(begin_, begin_), behind);
    emit_loop(b_, begin_, end_, i64(group), [&](Value* forwards) {
      Value* v = b_.CreateSelect(backwards_, b_.CreateSub(both_ends, forwards), forwards);
      const std::vector<Value*> values = sums(v);
      emit_if(
          b_, b_.CreateICmpSLE(b_.CreateAdd(v, i64(group)), whole), [&] { store(at(v), values); },
          [&] {
            store(rest, values);
            emit_loop(b_, v, smaller(b_.CreateAdd(v, i64(group)), end_), i64(1), [&](Value* one) {
              Value* from = b_.CreateGEP(vector_, rest, b_.CreateSub(one, v));
              Value* value = b_.CreateAlignedLoad(vector_, from, llvm::Align(size_of(tile_.dtype)));
              emit_if(
                  b_, b_.CreateICmpSLT(one, whole), [&] { store(at(one), {value}); },
                  [&] { copy(value, one); });
            });
          });
    });
    b_.CreateRetVoid();
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* offset(Value* pointer, Value* bytes) {
    return b_.CreateGEP(b_.getInt8Ty(), pointer, bytes);
  }

  Value* smaller(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }

  // Where vector v goes.
  Value* at(Value* v) { return b_.CreateGEP(element_, c_, b_.CreateMul(v, i64(tile_.lanes))); }

  // The columns of vector v below n.
  void copy(Value* value, Value* v) {
    std::vector<llvm::Constant*> lanes;
    for (int i = 0; i < tile_.lanes; ++i)
      lanes.push_back(b_.getInt64(static_cast<std::uint64_t>(i)));
    Value* left = b_.CreateSub(n_, b_.CreateMul(v, i64(tile_.lanes)));
    Value* mask = b_.CreateICmpSLT(llvm::ConstantVector::get(lanes),
                                   b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), left));
    b_.CreateMaskedStore(value, at(v), llvm::Align(size_of(tile_.dtype)), mask);
  }

  // Where vector v's first row stands in packed B.
  Value* start(Value* v) {
    Value* panel = b_.CreateUDiv(v, i64(tile_.vectors));
    Value* within = b_.CreateURem(v, i64(tile_.vectors));
    return b_.CreateGEP(element_, packed_,
                        b_.CreateAdd(b_.CreateMul(panel, b_.CreateMul(depth(), i64(tile_.columns))),
                                     b_.CreateMul(within, i64(tile_.lanes))));
  }

  // Rows of a panel.
  Value* depth() { return emit_depth(b_, tile_, k_); }

  // Of a group of vectors from `first` on. Those behind the last one are the last
  // one again: a group takes as long as one vector alone, whose sums wait for each
  // other.
  std::vector<Value*> sums(Value* first) {
    std::vector<Value*> starts;
    Value* last = b_.CreateSub(end_, i64(1));
    for (int j = 0; j < group; ++j)
      starts.push_back(start(smaller(b_.CreateAdd(first, i64(j)), last)));
    std::vector<Value*> values(static_cast<std::size_t>(group),
                               llvm::Constant::getNullValue(vector_));
    values.push_back(i64(0));  // along k in A and in B, in bytes
    values.push_back(i64(0));
    if (tile_.pairs) {
      Value* pairs = b_.CreateLShr(k_, 1);
      values = multiplied(starts, i64(0), pairs, std::move(values), [&](Value*& along_a) {
        Value* first = next_of_a(along_a);
        return emit_pairs(b_, target_, first, next_of_a(along_a));
      });
      values =
          multiplied(starts, pairs, b_.CreateAdd(pairs, b_.CreateAnd(k_, i64(1))),
                     std::move(values), [&](Value*& along_a) {
                       Value* last = next_of_a(along_a);
                       return emit_pairs(b_, target_, last, llvm::Constant::getNullValue(element_));
                     });
    } else {
      values = multiplied(starts, i64(0), k_, std::move(values),
                          [&](Value*& along_a) { return next_of_a(along_a); });
    }
    values.resize(static_cast<std::size_t>(group));
    return values;
  }

  Value* next_of_a(Value*& along_a) {
    Value* a =
        b_.CreateAlignedLoad(element_, offset(a_, along_a), llvm::Align(size_of(tile_.dtype)));
    along_a = b_.CreateAdd(along_a, a_k_);
    return a;
  }

  // Adds rows begin ... end - 1 of the panels, each times what `factor` takes from A.
  template <typename Factor>
  std::vector<Value*> multiplied(const std::vector<Value*>& starts, Value* begin, Value* end,
                                 std::vector<Value*> values, Factor&& factor) {
    return emit_loop(
        b_, begin, end, i64(1), std::move(values), [&](Value*, std::vector<Value*>& v) {
          Value *&along_a = v[v.size() - 2], *&along_b = v.back();
          Value* a = b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), factor(along_a));
          for (std::size_t j = 0; j < starts.size(); ++j) {
            Value* b_row = b_.CreateAlignedLoad(vector_, offset(starts[j], along_b),
                                                llvm::Align(size_of(tile_.dtype)));
            v[j] = tile_.pairs ? emit_pair_product(b_, target_, v[j], a, b_row)
                               : arithmetic_.fma(a, b_row, v[j]);
          }
          along_b = b_.CreateAdd(along_b, i64(tile_.columns * size_));
        });
  }

  void store(Value* to, const std::vector<Value*>& values) {
    for (std::size_t j = 0; j < values.size(); ++j)
      b_.CreateAlignedStore(values[j], b_.CreateGEP(vector_, to, i64(static_cast<std::int64_t>(j))),
                            llvm::Align(size_of(tile_.dtype)));
  }

  llvm::IRBuilder<> b_;
  FloatEmitter arithmetic_;
  const Target& target_;
  const MatmulTile& tile_;
  int size_;
  llvm::Type* element_;
  llvm::Type* vector_;
  Value *a_, *a_k_, *packed_, *c_, *n_, *k_, *begin_, *end_, *backwards_;
};

}  // namespace

llvm::Function* emit_row_product(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                 const char* prefix) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type* p = llvm::PointerType::get(context, 0);
  llvm::Type* i = llvm::Type::getInt64Ty(context);
  auto* f = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {p, i, p, p, i, i, i, i, i}, false),
      llvm::Function::InternalLinkage, std::string(prefix) + ".row", module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  RowProduct(f, target, tile).run();
  return f;
}

}  // namespace treadle
