#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <string>
#include <vector>

#include "backends/llvm/bfloat16_internal.h"
#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/interleaved_tile_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/row_product_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// Vectors that are summed side by side: one beside each row of an interleaved product.
constexpr int group = interleaved_rows;

class RowProduct {
 public:
  RowProduct(llvm::Function* f, const Target& target, const MatmulTile& tile)
      : function_(f),
        b_(llvm::BasicBlock::Create(f->getContext(), "entry", f)),
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
        per_run_(b_.CreateSub(f->getArg(7), begin_)),
        apart_(f->getArg(8)),
        all_(b_.CreateMul(per_run_, f->getArg(9))),
        backwards_(b_.CreateTrunc(f->getArg(10), b_.getInt1Ty())),
        start_(f->getArg(11)),
        state_(f->arg_size() > 12 ? f->getArg(12) : nullptr) {}

  void run() {
    // Of a group whose last columns are no whole vector: its vectors and their numbers.
    llvm::AllocaInst* rest = b_.CreateAlloca(llvm::ArrayType::get(vector_, group));
    rest->setAlignment(llvm::Align(64));
    llvm::AllocaInst* numbers = b_.CreateAlloca(llvm::ArrayType::get(b_.getInt64Ty(), group));
    ask_for_start();
    Value* whole = b_.CreateUDiv(n_, i64(tile_.lanes));  // vectors
    Value* behind = b_.CreateSDiv(b_.CreateSub(all_, i64(1)), i64(group));
    behind = b_.CreateMul(behind, i64(group));
    emit_loop(b_, i64(0), all_, i64(group), [&](Value* forwards) {
      Value* first = b_.CreateSelect(backwards_, b_.CreateSub(behind, forwards), forwards);
      const std::vector<Value*> vectors = vectors_from(first);
      const std::vector<Value*> values = sums(vectors);
      const auto number = [&](Value* j) { return b_.CreateGEP(b_.getInt64Ty(), numbers, j); };
      const auto part = [&](Value* j) { return b_.CreateGEP(vector_, rest, j); };
      emit_if(
          b_, b_.CreateICmpSLT(vectors.back(), whole),
          [&] {
            for (std::size_t j = 0; j < group; ++j)
              b_.CreateAlignedStore(values[j], at(vectors[j]), llvm::Align(size_of(tile_.dtype)));
          },
          [&] {
            for (std::size_t j = 0; j < group; ++j) {
              b_.CreateAlignedStore(values[j], part(b_.getInt64(j)), llvm::Align(16));
              b_.CreateStore(vectors[j], number(b_.getInt64(j)));
            }
            emit_loop(b_, i64(0), i64(group), i64(1), [&](Value* j) {
              emit_columns_below(b_, tile_, b_.CreateAlignedLoad(vector_, part(j), llvm::Align(16)),
                                 c_, b_.CreateLoad(b_.getInt64Ty(), number(j)), n_);
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

  // Where vector v goes.
  Value* at(Value* v) { return b_.CreateGEP(element_, c_, b_.CreateMul(v, i64(tile_.lanes))); }

  // What sums start from, of the vectors of a group. Other threads may have computed it: all lines
  // are asked for first. A masked load of no lane at all would take hundreds of cycles where no
  // memory is.
  void ask_for_start() {
    emit_if(
        b_, b_.CreateIsNotNull(start_),
        [&] {
          emit_loop(b_, i64(0), all_, per_run_, [&](Value* before) {
            Value* run = b_.CreateMul(b_.CreateUDiv(before, per_run_), apart_);
            emit_loop(b_, i64(0), per_run_, i64(1), [&](Value* within) {
              Value* v = b_.CreateAdd(b_.CreateAdd(begin_, run), within);
              emit_prefetch(b_, b_.CreateGEP(element_, start_, b_.CreateMul(v, i64(tile_.lanes))),
                            3);
            });
          });
        },
        [] {});
  }
  std::vector<Value*> start_of(const std::vector<Value*>& vectors) {
    Value* zeros = llvm::Constant::getNullValue(vector_);
    auto* given = llvm::BasicBlock::Create(b_.getContext(), "start", function_);
    auto* join = llvm::BasicBlock::Create(b_.getContext(), "sums", function_);
    llvm::BasicBlock* before = b_.GetInsertBlock();
    b_.CreateCondBr(b_.CreateIsNull(start_), join, given);
    b_.SetInsertPoint(given);
    std::vector<Value*> out;
    for (Value* v : vectors)
      out.push_back(b_.CreateMaskedLoad(
          vector_, b_.CreateGEP(element_, start_, b_.CreateMul(v, i64(tile_.lanes))),
          llvm::Align(size_of(tile_.dtype)), emit_lanes_below(b_, tile_, v, n_), zeros));
    b_.CreateBr(join);
    b_.SetInsertPoint(join);
    for (Value*& value : out) {
      llvm::PHINode* phi = b_.CreatePHI(vector_, 2);
      phi->addIncoming(zeros, before);
      phi->addIncoming(value, given);
      value = phi;
    }
    return out;
  }

  // Rows of a panel.
  Value* depth() { return emit_depth(b_, tile_, k_); }

  // A group of this thread's vectors, from number `first` of them on. Those behind the last
  // one are the last one again: a group takes as long as one vector alone, whose sums wait
  // for each other.
  std::vector<Value*> vectors_from(Value* first) {
    Value* within = b_.CreateURem(first, per_run_);
    Value* run = b_.CreateMul(b_.CreateUDiv(first, per_run_), apart_);
    std::vector<Value*> out{b_.CreateAdd(b_.CreateAdd(begin_, run), within)};
    for (int j = 1; j < group; ++j) {
      within = b_.CreateAdd(within, i64(1));
      Value* ends = b_.CreateICmpEQ(within, per_run_);
      Value* step =
          b_.CreateSelect(ends, b_.CreateSub(b_.CreateAdd(apart_, i64(1)), per_run_), i64(1));
      within = b_.CreateSelect(ends, i64(0), within);
      Value* any = b_.CreateICmpSLT(b_.CreateAdd(first, i64(j)), all_);
      out.push_back(b_.CreateAdd(out.back(), b_.CreateSelect(any, step, i64(0))));
    }
    return out;
  }

  std::vector<Value*> sums(const std::vector<Value*>& vectors) {
    std::vector<Value*> starts;
    for (Value* v : vectors) starts.push_back(emit_packed_vector(b_, tile_, packed_, depth(), v));
    std::vector<Value*> values = start_of(vectors);
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
      Value* begin = state_ != nullptr ? beside(starts, values) : i64(0);
      values = multiplied(starts, begin, k_, std::move(values),
                          [&](Value*& along_a) { return next_of_a(along_a); });
    }
    values.resize(static_cast<std::size_t>(group));
    return values;
  }

  // As many rows of the panels, two at a time, as there are steps of the other product to do
  // beside them; returns how many these were.
  Value* beside(const std::vector<Value*>& starts, std::vector<Value*>& values) {
    InterleavedTile other(b_, target_, tile_, state_);
    values.push_back(i64(0));
    values = emit_while(
        b_, std::move(values),
        [&](std::vector<Value*>& v) {
          Value* two = b_.CreateICmpSGE(b_.CreateSub(k_, v.back()), i64(2));
          return b_.CreateAnd(two, other.any_left());
        },
        [&](std::vector<Value*>& v) {
          Value* done = v.back();
          v.pop_back();
          Value* a[2];
          Value* pairs = b_.CreateLShr(b_.CreateSub(k_, done), 1);
          Value* count = other.run(pairs, v, [&](int i, std::vector<Value*>& of_turn) {
            Value *&along_a = of_turn[group], *&along_b = of_turn[group + 1];
            if (i == 0)
              for (Value*& factor : a)
                factor =
                    b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), next_of_a(along_a));
            for (int row = 0; row < 2; ++row) {
              const auto j = static_cast<std::size_t>(i);
              Value* at = offset(starts[j], b_.CreateAdd(along_b, i64(row * row_bytes())));
              Value* b_row = b_.CreateAlignedLoad(vector_, at, llvm::Align(size_of(tile_.dtype)));
              of_turn[j] = arithmetic_.fma(a[row], b_row, of_turn[j]);
            }
            if (i == group - 1) along_b = b_.CreateAdd(along_b, i64(2 * row_bytes()));
          });
          v.push_back(b_.CreateAdd(done, b_.CreateShl(count, 1)));
        });
    Value* done = values.back();
    values.pop_back();
    return done;
  }
  int row_bytes() const { return tile_.columns * size_; }

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
          along_b = b_.CreateAdd(along_b, i64(row_bytes()));
        });
  }

  llvm::Function* function_;
  llvm::IRBuilder<> b_;
  FloatEmitter arithmetic_;
  const Target& target_;
  const MatmulTile& tile_;
  int size_;
  llvm::Type* element_;
  llvm::Type* vector_;
  Value *a_, *a_k_, *packed_, *c_, *n_, *k_, *begin_, *per_run_, *apart_, *all_, *backwards_,
      *start_, *state_;
};

}  // namespace

static llvm::Function* emit(llvm::Module& module, const Target& target, const MatmulTile& tile,
                            const std::string& name, bool interleaved) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type* p = llvm::PointerType::get(context, 0);
  llvm::Type* i = llvm::Type::getInt64Ty(context);
  std::vector<llvm::Type*> types{p, i, p, p, i, i, i, i, i, i, i, p};
  if (interleaved) types.push_back(p);
  auto* f =
      llvm::Function::Create(llvm::FunctionType::get(llvm::Type::getVoidTy(context), types, false),
                             llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  RowProduct(f, target, tile).run();
  return f;
}

llvm::Function* emit_row_product(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                 const char* prefix) {
  return emit(module, target, tile, std::string(prefix) + ".row", false);
}

llvm::Function* emit_interleaved_row_product(llvm::Module& module, const Target& target,
                                             const MatmulTile& tile, const char* prefix) {
  return emit(module, target, tile, std::string(prefix) + ".interleaved_row", true);
}

}  // namespace treadle
