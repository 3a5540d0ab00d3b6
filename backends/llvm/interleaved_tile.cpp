#include <llvm/IR/Module.h>

#include <string>

#include "backends/llvm/interleaved_tile_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

constexpr int rows = interleaved_rows, vectors = interleaved_vectors;

Value* constant(llvm::IRBuilderBase& b, std::int64_t value) {
  return b.getInt64(static_cast<std::uint64_t>(value));
}
Value* offset(llvm::IRBuilderBase& b, Value* pointer, Value* bytes) {
  return b.CreateGEP(b.getInt8Ty(), pointer, bytes);
}
Value* smaller(llvm::IRBuilderBase& b, Value* x, Value* y) {
  return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
}
Value* bytes_of(llvm::IRBuilderBase& b, const MatmulTile& tile, Value* elements) {
  return b.CreateMul(elements, constant(b, static_cast<std::int64_t>(size_of(tile.dtype))));
}

llvm::Function* start(llvm::Module& module, const Target& target, const std::string& name) {
  llvm::LLVMContext& context = module.getContext();
  auto* f = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                              {llvm::PointerType::get(context, 0), llvm::Type::getInt64Ty(context)},
                              false),
      llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  llvm::BasicBlock::Create(context, "entry", f);
  return f;
}

// Rows that are needed from turn t on are computed in turns t - rows - 1 ... t - 2, and what is
// left then at the beginning of the next one: threads meet in each turn, but some may be in the
// next one when others begin it.
class BeginTurn {
 public:
  BeginTurn(llvm::Function* f, const MatmulTile& tile)
      : b_(&f->getEntryBlock()),
        tile_(tile),
        state_(f->getArg(0)),
        turn_(f->getArg(1)),
        type_(interleaved_type(f->getContext(), tile)) {}

  void run(llvm::Function* gemm) {
    Value *zero = b_.getInt64(0), *one = b_.getInt64(1), *height = constant(b_, rows);
    Value* next = b_.CreateAdd(turn_, one);
    Value* within = b_.CreateURem(next, height);
    Value* first = b_.CreateAdd(b_.CreateSub(next, within), height);  // of the turns to come
    Value* turns = b_.CreateSub(load(interleaved_length), first);
    Value* any = b_.CreateICmpSGT(turns, zero);
    const std::int64_t columns = vectors * tile_.lanes;
    Value *n = load(interleaved_n), *thread = load(interleaved_thread);
    Value* pieces =
        b_.CreateUDiv(b_.CreateAdd(n, constant(b_, columns - 1)), constant(b_, columns));
    const auto bound = [&](Value* i) {
      return b_.CreateUDiv(b_.CreateMul(pieces, i), load(interleaved_threads));
    };
    Value *begin = bound(thread), *end = bound(b_.CreateAdd(thread, one));
    Value* is_first = b_.CreateICmpEQ(turn_, zero);
    Value* fresh = b_.CreateICmpEQ(within, zero);
    emit_if(
        b_, b_.CreateAnd(fresh, b_.CreateICmpSLT(load(interleaved_piece), end)),
        [&] { compute_rest(gemm, end); }, [] {});
    emit_if(
        b_, b_.CreateOr(fresh, is_first),
        [&] {
          Value* count = smaller(b_, turns, height);
          Value* reversed = b_.CreateSub(turns, count);
          Value* row =
              b_.CreateSelect(b_.CreateICmpNE(load(interleaved_reverse), zero), reversed, first);
          row = b_.CreateSelect(any, row, zero);
          store(interleaved_a,
                offset(b_, load(interleaved_all_a), b_.CreateMul(row, load(interleaved_a_m))));
          store(interleaved_c,
                offset(b_, load(interleaved_all_c), bytes_of(b_, tile_, b_.CreateMul(row, n))));
          store(interleaved_last, b_.CreateSub(count, one));
          store(interleaved_piece, b_.CreateSelect(any, begin, end));
          store(interleaved_left, zero);
        },
        [] {});
    Value* steps = b_.CreateMul(b_.CreateSub(end, begin), load(interleaved_k));
    const auto done = [&](Value* turns_done) {
      return b_.CreateUDiv(b_.CreateMul(steps, turns_done), height);
    };
    Value* before = b_.CreateSelect(is_first, zero, done(within));
    Value* share = b_.CreateSub(done(b_.CreateAdd(within, one)), before);
    share = b_.CreateSelect(any, share, zero);
    store(interleaved_left, b_.CreateAdd(load(interleaved_left), share));
    b_.CreateRetVoid();
  }

 private:
  Value* field(unsigned which) { return b_.CreateStructGEP(type_, state_, which); }
  Value* load(unsigned which) { return b_.CreateLoad(type_->getElementType(which), field(which)); }
  void store(unsigned which, Value* value) { b_.CreateStore(value, field(which)); }

  // By whole panels: of columns that others have computed it finds the same once more.
  void compute_rest(llvm::Function* gemm, Value* end) {
    const auto panel = [&](Value* piece) {
      return b_.CreateUDiv(b_.CreateMul(piece, constant(b_, vectors)), constant(b_, tile_.vectors));
    };
    Value *zero = b_.getInt64(0), *one = b_.getInt64(1), *n = load(interleaved_n);
    Value* behind = b_.CreateAdd(panel(b_.CreateSub(end, one)), constant(b_, 2));
    Value* panels = b_.CreateUDiv(b_.CreateAdd(n, constant(b_, tile_.columns - 1)),
                                  constant(b_, tile_.columns));
    Value* size = constant(b_, static_cast<std::int64_t>(size_of(tile_.dtype)));
    b_.CreateCall(
        gemm, {load(interleaved_a), b_.CreateUDiv(load(interleaved_a_m), size),
               b_.CreateUDiv(load(interleaved_a_k), size), load(interleaved_packed),
               load(interleaved_c), n, llvm::ConstantPointerNull::get(b_.getPtrTy()), zero, zero,
               b_.CreateAdd(load(interleaved_last), one), n, load(interleaved_k),
               panel(load(interleaved_piece)), smaller(b_, behind, panels)});
    store(interleaved_position, zero);
    const auto bytes = static_cast<std::int64_t>(size_of(tile_.dtype)) * tile_.lanes;
    b_.CreateMemSet(field(interleaved_sums), b_.getInt8(0), constant(b_, bytes * rows * vectors),
                    llvm::Align(64));
  }

  llvm::IRBuilder<> b_;
  const MatmulTile& tile_;
  Value *state_, *turn_;
  llvm::StructType* type_;
};

}  // namespace

llvm::StructType* interleaved_type(llvm::LLVMContext& context, const MatmulTile& tile) {
  auto* pointer = llvm::PointerType::get(context, 0);
  auto* i64 = llvm::Type::getInt64Ty(context);
  auto* vector = llvm::FixedVectorType::get(value_type(context, tile.dtype),
                                            static_cast<unsigned>(tile.lanes));
  std::vector<llvm::Type*> fields(interleaved_sums, i64);
  for (const unsigned which :
       {interleaved_a, interleaved_c, interleaved_all_a, interleaved_all_c, interleaved_packed})
    fields[which] = pointer;
  fields.push_back(llvm::ArrayType::get(vector, rows * vectors));
  return llvm::StructType::get(context, fields);
}

InterleavedTile::InterleavedTile(llvm::IRBuilderBase& b, const Target& target,
                                 const MatmulTile& tile, Value* state)
    : b_(b),
      arithmetic_(b, target),
      tile_(tile),
      state_(state),
      type_(interleaved_type(b.getContext(), tile)),
      element_(value_type(b.getContext(), tile.dtype)),
      vector_(llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile.lanes))) {}

Value* InterleavedTile::field(unsigned which) { return b_.CreateStructGEP(type_, state_, which); }
Value* InterleavedTile::load(unsigned which) {
  return b_.CreateLoad(type_->getElementType(which), field(which));
}
void InterleavedTile::store(unsigned which, Value* value) { b_.CreateStore(value, field(which)); }
Value* InterleavedTile::sum_at(int row, int vector) {
  return b_.CreateConstGEP2_64(type_->getElementType(interleaved_sums), field(interleaved_sums), 0,
                               static_cast<std::uint64_t>(row * vectors + vector));
}

Value* InterleavedTile::any_left() {
  return b_.CreateICmpSGT(load(interleaved_left), b_.getInt64(0));
}

// Those behind the last one are the last one again.
std::vector<Value*> InterleavedTile::vectors_of(Value* piece) {
  Value* last =
      b_.CreateUDiv(b_.CreateSub(load(interleaved_n), b_.getInt64(1)), constant(b_, tile_.lanes));
  std::vector<Value*> out;
  for (int v = 0; v < vectors; ++v)
    out.push_back(smaller(
        b_, b_.CreateAdd(b_.CreateMul(piece, constant(b_, vectors)), constant(b_, v)), last));
  return out;
}

Value* InterleavedTile::run(Value* most, std::vector<Value*>& values, const Other& other) {
  const std::size_t others = values.size();
  const llvm::Align align(size_of(tile_.dtype));
  Value *piece = load(interleaved_piece), *position = load(interleaved_position),
        *k = load(interleaved_k), *last = load(interleaved_last);
  Value* left = load(interleaved_left);
  Value* count = smaller(b_, smaller(b_, most, left), b_.CreateSub(k, position));
  store(interleaved_left, b_.CreateSub(left, count));
  std::vector<Value*> a, b;
  for (int row = 0; row < rows; ++row) {
    Value* at = b_.CreateMul(smaller(b_, constant(b_, row), last), load(interleaved_a_m));
    at = b_.CreateAdd(at, b_.CreateMul(position, load(interleaved_a_k)));
    a.push_back(offset(b_, load(interleaved_a), at));
  }
  const std::int64_t b_row = tile_.columns * static_cast<std::int64_t>(size_of(tile_.dtype));
  for (Value* v : vectors_of(piece))
    b.push_back(offset(b_, emit_packed_vector(b_, tile_, load(interleaved_packed), k, v),
                       b_.CreateMul(position, constant(b_, b_row))));
  for (int row = 0; row < rows; ++row)
    for (int v = 0; v < vectors; ++v)
      values.push_back(b_.CreateAlignedLoad(vector_, sum_at(row, v), llvm::Align(64)));
  values.push_back(b_.getInt64(0));  // along k in A and in B, in bytes
  values.push_back(b_.getInt64(0));
  Value* a_k = load(interleaved_a_k);
  values = emit_loop(
      b_, b_.getInt64(0), count, b_.getInt64(1), std::move(values),
      [&](Value*, std::vector<Value*>& all) {
        std::vector<Value*> carried(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(others));
        Value *&along_a = all[all.size() - 2], *&along_b = all.back();
        std::vector<Value*> of_b;
        for (Value* start : b)
          of_b.push_back(b_.CreateAlignedLoad(vector_, offset(b_, start, along_b), align));
        for (int row = 0; row < rows; ++row) {
          other(row, carried);
          const auto r = static_cast<std::size_t>(row);
          Value* factor = b_.CreateAlignedLoad(element_, offset(b_, a[r], along_a), align);
          factor = b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), factor);
          for (std::size_t v = 0; v < of_b.size(); ++v) {
            Value*& sum = all[others + r * of_b.size() + v];
            sum = arithmetic_.fma(factor, of_b[v], sum);
          }
        }
        std::copy(carried.begin(), carried.end(), all.begin());
        along_a = b_.CreateAdd(along_a, a_k);
        along_b = b_.CreateAdd(along_b, constant(b_, b_row));
      });
  const std::vector<Value*> sums(values.begin() + static_cast<std::ptrdiff_t>(others),
                                 values.end() - 2);
  values.resize(others);
  Value* reached = b_.CreateAdd(position, count);
  for (int row = 0; row < rows; ++row)
    for (int v = 0; v < vectors; ++v)
      b_.CreateAlignedStore(sums[static_cast<std::size_t>(row * vectors + v)], sum_at(row, v),
                            llvm::Align(64));
  store(interleaved_position, reached);
  emit_if(
      b_, b_.CreateICmpEQ(reached, k), [&] { finish(piece); }, [] {});
  return count;
}

// Rows behind the last one are the last one once more. From memory, so that it is little code.
void InterleavedTile::finish(Value* piece) {
  Value *n = load(interleaved_n), *last = load(interleaved_last), *c = load(interleaved_c);
  const std::vector<Value*> at = vectors_of(piece);
  emit_loop(b_, b_.getInt64(0), constant(b_, rows), b_.getInt64(1), [&](Value* row) {
    Value* elements = b_.CreateMul(smaller(b_, row, last), n);
    Value* c_row = offset(b_, c, bytes_of(b_, tile_, elements));
    for (int v = 0; v < vectors; ++v) {
      Value* from = b_.CreateGEP(vector_, sum_at(0, v), b_.CreateMul(row, constant(b_, vectors)));
      emit_columns_below(b_, tile_, b_.CreateAlignedLoad(vector_, from, llvm::Align(64)), c_row,
                         at[static_cast<std::size_t>(v)], n);
      b_.CreateAlignedStore(llvm::Constant::getNullValue(vector_), from, llvm::Align(64));
    }
  });
  store(interleaved_piece, b_.CreateAdd(piece, b_.getInt64(1)));
  store(interleaved_position, b_.getInt64(0));
}

llvm::Function* emit_begin_turn(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                llvm::Function* gemm, const char* prefix) {
  llvm::Function* f = start(module, target, std::string(prefix) + ".begin_turn");
  BeginTurn begin(f, tile);
  begin.run(gemm);
  return f;
}

Value* emit_packed_vector(llvm::IRBuilderBase& b, const MatmulTile& tile, Value* packed,
                          Value* depth, Value* v) {
  Value* panel = b.CreateUDiv(v, constant(b, tile.vectors));
  Value* within = b.CreateURem(v, constant(b, tile.vectors));
  Value* start = b.CreateMul(panel, b.CreateMul(depth, constant(b, tile.columns)));
  return b.CreateGEP(value_type(b.getContext(), tile.dtype), packed,
                     b.CreateAdd(start, b.CreateMul(within, constant(b, tile.lanes))));
}

Value* emit_lanes_below(llvm::IRBuilderBase& b, const MatmulTile& tile, Value* v, Value* n) {
  std::vector<llvm::Constant*> lanes;
  for (int i = 0; i < tile.lanes; ++i) lanes.push_back(b.getInt64(static_cast<std::uint64_t>(i)));
  Value* left = b.CreateSub(n, b.CreateMul(v, constant(b, tile.lanes)));
  return b.CreateICmpSLT(llvm::ConstantVector::get(lanes),
                         b.CreateVectorSplat(static_cast<unsigned>(tile.lanes), left));
}

void emit_columns_below(llvm::IRBuilderBase& b, const MatmulTile& tile, Value* value, Value* row,
                        Value* v, Value* n) {
  Value* first = b.CreateMul(v, constant(b, tile.lanes));
  b.CreateMaskedStore(value, b.CreateGEP(value_type(b.getContext(), tile.dtype), row, first),
                      llvm::Align(size_of(tile.dtype)), emit_lanes_below(b, tile, v, n));
}

}  // namespace treadle
