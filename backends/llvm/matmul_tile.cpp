#include "backends/llvm/matmul_tile_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/Module.h>

#include <vector>

#include "backends/llvm/bfloat16_internal.h"
#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// Who reads B: as it is packed, where its rows are apart, as it is packed and asking for more, and
// so behind another product; those of listed columns of A (DirectTile): as it is packed, and asking
// for more, and for more of A, too, or where its rows are apart and packing them.
enum class Reads : std::uint8_t {
  packed,
  apart,
  asking,
  chained,
  chained_asking,
  listed,
  listed_asking,
  listed_asking_a,
  copying
};

class TileEmitter {
 public:
  TileEmitter(llvm::Function* function, const Target& target, const MatmulTile& tile, int rows,
              int vectors, const TileEpilogue& epilogue, Reads reads)
      : b_(llvm::BasicBlock::Create(function->getContext(), "entry", function)),
        arithmetic_(b_, target),
        target_(target),
        f_(function),
        tile_(tile),
        rows_(rows),
        vectors_(vectors),
        epilogue_(epilogue),
        reads_(reads),
        size_(static_cast<int>(size_of(tile.dtype))),
        element_(value_type(function->getContext(), tile.dtype)),
        vector_(llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile.lanes))) {}

  void run() {
    std::vector<Value*> values = initial_sums();
    if (chained())
      multiply(values, {chained_a, chained_a_m, chained_a_k, chained_b, chained_k, chained_next,
                        chained_next_step});
    multiply(values, {tile_a, tile_a_m, tile_a_k, tile_b, tile_k, tile_next, tile_next_step});
    if (epilogue_) values = finish(std::move(values));
    store(values);
    b_.CreateRetVoid();
  }

 private:
  Value* offset(Value* pointer, Value* bytes) {
    return b_.CreateGEP(b_.getInt8Ty(), pointer, bytes);
  }
  Value* offset(Value* pointer, int bytes) { return offset(pointer, b_.getInt64(bytes)); }
  // A pointer of which LLVM does not know where it comes from: it would read the next
  // column by an index and step there later, with which an LSTM takes 1.05 of the
  // time on Zen 3.
  Value* hidden(Value* pointer) {
    llvm::Type* type = pointer->getType();
    auto* nothing =
        llvm::InlineAsm::get(llvm::FunctionType::get(type, {type}, false), "", "=r,0", false);
    return b_.CreateCall(nothing, {pointer});
  }
  Value* load_vector(Value* address) {
    return b_.CreateAlignedLoad(vector_, address, llvm::Align(size_of(tile_.dtype)));
  }
  void store_vector(Value* value, Value* address) {
    b_.CreateAlignedStore(value, address, llvm::Align(size_of(tile_.dtype)));
  }
  // Which of the function's arguments are a product's.
  struct Product {
    unsigned a, a_m, a_k, b, k, next, next_step;
  };

  // sums += A B
  void multiply(std::vector<Value*>& values, const Product& of) {
    a_rows_.clear();
    for (int i = 0; i < rows_; ++i)
      a_rows_.push_back(listed() ? b_.getInt64(i * size_)
                                 : b_.CreateMul(f_->getArg(of.a_m), b_.getInt64(i)));
    a_k_ = f_->getArg(of.a_k);
    values.push_back(f_->getArg(of.a));  // its first row
    values.push_back(f_->getArg(of.b));  // the row of B's panel
    // Behind them of a copying tile: the sums of columns, where the packed row goes.
    if (reads_ == Reads::copying) {
      for (int v = 0; v < vectors_; ++v)
        values.push_back(load_vector(offset(f_->getArg(tile_sums), byte(v))));
      values.push_back(f_->getArg(tile_packed));
    }
    // Several steps at a time, so that a product of few has few branches: the
    // processor foresees the end of a short loop.
    Value* k = f_->getArg(of.k);
    Value* together = b_.CreateAnd(k, b_.getInt64(-static_cast<std::uint64_t>(steps())));
    const bool ask = reads_ != Reads::packed && reads_ != Reads::listed &&
                     reads_ != Reads::copying && reads_ != Reads::chained && steps() > 1;
    if (ask) values.push_back(f_->getArg(of.next));
    values = emit_loop(b_, b_.getInt64(0), together, b_.getInt64(steps()), std::move(values),
                       [&](Value* l, std::vector<Value*>& v) {
                         Value* next = v.back();
                         if (ask) v.pop_back();
                         for (unsigned i = 0; i < steps(); ++i)
                           step(v, b_.CreateAdd(l, b_.getInt64(i)));
                         if (!ask) return;
                         ask_for(next);
                         v.push_back(hidden(offset(next, f_->getArg(of.next_step))));
                       });
    if (ask) values.pop_back();
    if (steps() > 1)
      values = emit_loop(b_, together, k, b_.getInt64(1), std::move(values),
                         [&](Value* l, std::vector<Value*>& v) { step(v, l); });
    if (reads_ == Reads::copying)
      for (int v = 0; v < vectors_; ++v)
        store_vector(values[sums_at() + static_cast<std::size_t>(v)],
                     offset(f_->getArg(tile_sums), byte(v)));
    values.resize(static_cast<std::size_t>(rows_ * vectors_));
  }

  // Of what steps carry: the tile's sums, rows of A and of B, and the copying tile's.
  std::size_t along_at() const { return static_cast<std::size_t>(rows_ * vectors_); }
  std::size_t sums_at() const { return along_at() + 2; }
  Value* row_of(unsigned base, unsigned stride, int row) {
    return offset(f_->getArg(base), b_.CreateMul(f_->getArg(stride), b_.getInt64(row)));
  }

  std::vector<Value*> initial_sums() {
    std::vector<Value*> sums;
    for (int i = 0; i < rows_; ++i) {
      Value* row = row_of(tile_initial, tile_initial_m, i);
      for (int v = 0; v < vectors_; ++v) sums.push_back(load_vector(offset(row, byte(v))));
    }
    return sums;
  }

  // Wide tiles are fewer, and have to ask for more at a time.
  void ask_for_lines(Value* next) {
    emit_prefetch(b_, next, 3);
    for (int line = 1; line < tile_.columns * size_ / 128; ++line)
      emit_prefetch(b_, offset(next, line * 64), 3);
  }

  void ask_for(Value* next) {
    if (reads_ == Reads::apart) return ask_for_lines(next);
    if (listed()) {
      for (int line = 0; line < lines_asked; ++line, next = offset(next, f_->getArg(tile_b_k)))
        emit_prefetch(b_, next, 3);
      return;
    }
    for (int row = 0; row < rows_asked; ++row) {
      for (int at = 0; at < tile_.columns * size_; at += 64) emit_prefetch(b_, offset(next, at), 2);
      next = offset(next, f_->getArg(tile_b_k));
    }
  }

  // Of the tiles that do most of the work.
  unsigned steps() const {
    const int least = listed() ? least_vectors(tile_) : tile_.vectors;
    return rows_ == tile_.rows && vectors_ >= least ? steps_together : 1;
  }
  int byte(int vector) const { return vector * tile_.lanes * size_; }

  bool listed() const { return reads_ >= Reads::listed; }
  bool chained() const { return reads_ == Reads::chained || reads_ == Reads::chained_asking; }
  Value* list(unsigned which, Value* l) {
    Value* at = b_.CreateGEP(b_.getInt64Ty(), f_->getArg(which), l);
    return b_.CreateAlignedLoad(b_.getInt64Ty(), at, llvm::Align(8));
  }

  // sums += a[:, l] b[l, :]; of pairs, of two l
  void step(std::vector<Value*>& values, Value* l) {
    Value* along_a = values[along_at()];
    if (listed()) along_a = offset(along_a, list(tile_columns_at, l));
    Value*& b = values[along_at() + 1];
    std::vector<Value*> row;
    for (int v = 0; v < vectors_; ++v) row.push_back(load_vector(offset(b, byte(v))));
    if (reads_ == Reads::copying) pack(row, values);
    for (int i = 0; i < rows_; ++i) {
      Value* address = offset(along_a, a_rows_[static_cast<std::size_t>(i)]);
      Value* a = b_.CreateAlignedLoad(element_, address, llvm::Align(size_of(tile_.dtype)));
      a = b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), a);
      for (int v = 0; v < vectors_; ++v) {
        Value*& sum = values[static_cast<std::size_t>(i * vectors_ + v)];
        Value* b_row = row[static_cast<std::size_t>(v)];
        sum = tile_.pairs ? emit_pair_product(b_, target_, sum, a, b_row)
                          : arithmetic_.fma(a, b_row, sum);
      }
    }
    if (reads_ == Reads::listed_asking_a)
      emit_prefetch(b_, offset(f_->getArg(tile_a_asked), list(tile_asked_at, l)), 2);
    if (reads_ == Reads::copying) emit_prefetch(b_, offset(along_a, 64), 2);
    if (!listed()) values[along_at()] = hidden(offset(along_a, a_k_));
    b = reads_ == Reads::apart || reads_ == Reads::copying ? hidden(offset(b, f_->getArg(tile_b_k)))
                                                           : offset(b, tile_.columns * size_);
  }

  void pack(const std::vector<Value*>& row, std::vector<Value*>& values) {
    Value*& to = values.back();
    for (int v = 0; v < vectors_; ++v) {
      Value* b = row[static_cast<std::size_t>(v)];
      store_vector(b, offset(to, byte(v)));
      Value*& sum = values[sums_at() + static_cast<std::size_t>(v)];
      sum = b_.CreateFAdd(sum, b);
    }
    to = offset(to, tile_.columns * size_);
  }

  std::vector<Value*> finish(std::vector<Value*> sums) {
    auto* complete = llvm::BasicBlock::Create(b_.getContext(), "epilogue", f_);
    auto* join = llvm::BasicBlock::Create(b_.getContext(), "store", f_);
    llvm::BasicBlock* before = b_.GetInsertBlock();
    b_.CreateCondBr(f_->getArg(tile_last), complete, join);
    b_.SetInsertPoint(complete);
    std::vector<Value*> changed = sums;
    epilogue_(b_, {changed, rows_, vectors_, f_->getArg(tile_row), f_->getArg(tile_column),
                   f_->getArg(tile_context)});
    llvm::BasicBlock* last = b_.GetInsertBlock();
    b_.CreateBr(join);
    b_.SetInsertPoint(join);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      llvm::PHINode* phi = b_.CreatePHI(vector_, 2);
      phi->addIncoming(sums[i], before);
      phi->addIncoming(changed[i], last);
      sums[i] = phi;
    }
    return sums;
  }

  void store(const std::vector<Value*>& sums) {
    for (int i = 0; i < rows_; ++i) {
      Value* row = row_of(tile_c, tile_c_m, i);
      for (int v = 0; v < vectors_; ++v)
        b_.CreateAlignedStore(sums[static_cast<std::size_t>(i * vectors_ + v)],
                              offset(row, byte(v)), llvm::Align(size_of(tile_.dtype)));
    }
  }

  llvm::IRBuilder<> b_;
  FloatEmitter arithmetic_;
  const Target& target_;
  llvm::Function* f_;
  const MatmulTile& tile_;
  int rows_;
  int vectors_;
  const TileEpilogue& epilogue_;
  Reads reads_;
  int size_;
  llvm::Type* element_;
  llvm::Type* vector_;
  // Of the product that is being emitted.
  std::vector<Value*> a_rows_;
  Value* a_k_ = nullptr;
};

}  // namespace

namespace {

llvm::Function* emit_tile(llvm::Module& module, const Target& target, const MatmulTile& tile,
                          int rows, int vectors, const std::string& name,
                          const TileEpilogue& epilogue, Reads reads) {
  auto* type = tile_function_type(module.getContext(), bool(epilogue), reads != Reads::packed);
  if (reads >= Reads::chained) {
    std::vector<llvm::Type*> types = type->params();
    if (reads < Reads::listed)
      for (const unsigned like :
           {tile_a, tile_a_m, tile_a_k, tile_b, tile_k, tile_next, tile_next_step})
        types.push_back(types[like]);
    else
      types.resize(tile_a_asked + 1, types[tile_a]);
    type = llvm::FunctionType::get(type->getReturnType(), types, false);
  }
  auto* function = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*function, target);
  // How its loop lies in lines of the caches of code should not depend on what stands before.
  function->setAlignment(llvm::Align(64));
  function->addFnAttr(llvm::Attribute::NoInline);
  function->setDoesNotThrow();
  TileEmitter(function, target, tile, rows, vectors, epilogue, reads).run();
  return function;
}

}  // namespace

llvm::FunctionType* tile_function_type(llvm::LLVMContext& context, bool with_epilogue,
                                       bool b_apart) {
  llvm::Type* ptr = llvm::PointerType::get(context, 0);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context);
  std::vector<llvm::Type*> types = {ptr, i64, i64, ptr, ptr, i64, ptr, i64, i64};
  if (b_apart) types.insert(types.end(), {i64, ptr, i64});
  if (with_epilogue) types.insert(types.end(), {i64, i64, llvm::Type::getInt1Ty(context), ptr});
  return llvm::FunctionType::get(llvm::Type::getVoidTy(context), types, false);
}

void emit_prefetch(llvm::IRBuilderBase& b, llvm::Value* address, int locality) {
  b.CreateIntrinsic(
      llvm::Intrinsic::prefetch, {b.getPtrTy()},
      {address, b.getInt32(0), b.getInt32(static_cast<std::uint32_t>(locality)), b.getInt32(1)});
}

llvm::Function* emit_tile_function(llvm::Module& module, const Target& target,
                                   const MatmulTile& tile, int rows, int vectors,
                                   const std::string& name, const TileEpilogue& epilogue) {
  return emit_tile(module, target, tile, rows, vectors, name, epilogue, Reads::packed);
}

llvm::Function* emit_apart_tile_function(llvm::Module& module, const Target& target,
                                         const MatmulTile& tile, int rows,
                                         const std::string& name) {
  return emit_tile(module, target, tile, rows, tile.vectors, name, {}, Reads::apart);
}

llvm::Function* emit_asking_tile_function(llvm::Module& module, const Target& target,
                                          const MatmulTile& tile, const std::string& name) {
  return emit_tile(module, target, tile, tile.rows, tile.vectors, name, {}, Reads::asking);
}

llvm::Function* emit_chained_tile_function(llvm::Module& module, const Target& target,
                                           const MatmulTile& tile, bool asks,
                                           const std::string& name) {
  return emit_tile(module, target, tile, tile.rows, tile.vectors, name, {},
                   asks ? Reads::chained_asking : Reads::chained);
}

llvm::Function* emit_direct_tile_function(llvm::Module& module, const Target& target,
                                          const MatmulTile& tile, int rows, int vectors,
                                          DirectTile kind, const std::string& name) {
  const Reads reads = kind == DirectTile::plain    ? Reads::listed
                      : kind == DirectTile::asks_b ? Reads::listed_asking
                      : kind == DirectTile::copies ? Reads::copying
                                                   : Reads::listed_asking_a;
  return emit_tile(module, target, tile, rows, vectors, name, {}, reads);
}

int least_vectors(const MatmulTile& tile) {
  return tile.vectors >= 3 ? tile.vectors - 1 : tile.vectors;
}

bool copies_b(const Target& target, const MatmulTile& tile) {
  return target.vector_registers >= 32 && !tile.pairs;
}

}  // namespace treadle
