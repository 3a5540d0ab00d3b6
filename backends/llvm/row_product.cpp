#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <string>
#include <vector>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/row_product_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

class RowProduct {
 public:
  RowProduct(llvm::Function* f, const Target& target, const MatmulTile& tile)
      : b_(llvm::BasicBlock::Create(f->getContext(), "entry", f)),
        arithmetic_(b_, target),
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
        end_(f->getArg(7)) {}

  void run() {
    Value* whole = b_.CreateUDiv(n_, i64(tile_.lanes));
    whole = b_.CreateSelect(b_.CreateICmpSLT(whole, end_), whole, end_);
    Value* done = begin_;
    for (const int count : {8, 4, 2, 1}) {
      Value* last = b_.CreateSub(whole, i64(count - 1));
      done =
          emit_loop(b_, done, last, i64(count), {done}, [&](Value* v, std::vector<Value*>& next) {
            store(v, sums(v, count));
            next[0] = b_.CreateAdd(v, i64(count));
          })[0];
    }
    // The vector that reaches past n.
    emit_loop(b_, done, end_, i64(1), [&](Value* v) {
      Value* column = b_.CreateMul(v, i64(tile_.lanes));
      std::vector<llvm::Constant*> lanes;
      for (int i = 0; i < tile_.lanes; ++i)
        lanes.push_back(b_.getInt64(static_cast<std::uint64_t>(i)));
      Value* mask = b_.CreateICmpSLT(
          llvm::ConstantVector::get(lanes),
          b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), b_.CreateSub(n_, column)));
      b_.CreateMaskedStore(sums(v, 1)[0], b_.CreateGEP(element_, c_, column),
                           llvm::Align(size_of(tile_.dtype)), mask);
    });
    b_.CreateRetVoid();
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* offset(Value* pointer, Value* bytes) {
    return b_.CreateGEP(b_.getInt8Ty(), pointer, bytes);
  }

  // Where vector v's first row stands in packed B.
  Value* start(Value* v) {
    Value* panel = b_.CreateUDiv(v, i64(tile_.vectors));
    Value* within = b_.CreateURem(v, i64(tile_.vectors));
    return b_.CreateGEP(element_, packed_,
                        b_.CreateAdd(b_.CreateMul(panel, b_.CreateMul(k_, i64(tile_.columns))),
                                     b_.CreateMul(within, i64(tile_.lanes))));
  }

  std::vector<Value*> sums(Value* first, int count) {
    std::vector<Value*> starts;
    for (int j = 0; j < count; ++j) starts.push_back(start(b_.CreateAdd(first, i64(j))));
    std::vector<Value*> values(static_cast<std::size_t>(count),
                               llvm::Constant::getNullValue(vector_));
    values.push_back(i64(0));  // along k in A and in B, in bytes
    values.push_back(i64(0));
    values =
        emit_loop(b_, i64(0), k_, i64(1), std::move(values), [&](Value*, std::vector<Value*>& v) {
          Value *&along_a = v[v.size() - 2], *&along_b = v.back();
          const llvm::Align align(size_of(tile_.dtype));
          Value* a = b_.CreateAlignedLoad(element_, offset(a_, along_a), align);
          a = b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), a);
          for (std::size_t j = 0; j < starts.size(); ++j)
            v[j] = arithmetic_.fma(
                a, b_.CreateAlignedLoad(vector_, offset(starts[j], along_b), align), v[j]);
          along_a = b_.CreateAdd(along_a, a_k_);
          along_b = b_.CreateAdd(along_b, i64(tile_.columns * size_));
        });
    values.resize(static_cast<std::size_t>(count));
    return values;
  }

  void store(Value* first, const std::vector<Value*>& sums) {
    Value* to = b_.CreateGEP(element_, c_, b_.CreateMul(first, i64(tile_.lanes)));
    for (std::size_t j = 0; j < sums.size(); ++j)
      b_.CreateAlignedStore(sums[j], b_.CreateGEP(vector_, to, i64(static_cast<std::int64_t>(j))),
                            llvm::Align(size_of(tile_.dtype)));
  }

  llvm::IRBuilder<> b_;
  FloatEmitter arithmetic_;
  const MatmulTile& tile_;
  int size_;
  llvm::Type* element_;
  llvm::Type* vector_;
  Value *a_, *a_k_, *packed_, *c_, *n_, *k_, *begin_, *end_;
};

}  // namespace

llvm::Function* emit_row_product(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                 const char* prefix) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type* p = llvm::PointerType::get(context, 0);
  llvm::Type* i = llvm::Type::getInt64Ty(context);
  auto* f = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {p, i, p, p, i, i, i, i}, false),
      llvm::Function::InternalLinkage, std::string(prefix) + ".row", module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  RowProduct(f, target, tile).run();
  return f;
}

void ProgramEmitter::row_product(
    llvm::IRBuilder<>& c, const Step& step, llvm::Value* a, llvm::Value* packed, llvm::Value* out,
    const std::function<std::array<llvm::Value*, 2>(llvm::Value* blocks)>& part,
    const std::function<llvm::Value*(const Dim&)>& size) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const MatmulTile& tile = kernels(dtype).tile;
  llvm::Function*& function = row_products_[dtype];
  if (function == nullptr)
    function = emit_row_product(module_, target_, tile, dtype == DType::f32 ? "f32" : "f64");
  const auto i64 = [&](std::int64_t x) { return c.getInt64(static_cast<std::uint64_t>(x)); };
  const MatmulShape& shape = step.shape;
  llvm::Value* k = size(shape.k);
  // A may stand in another core's cache: all its lines are asked for at once.
  if (step.view_a.contract_stride == Dim(1)) {
    llvm::Type* element = memory_type(c.getContext(), dtype);
    emit_loop(c, i64(0), k, i64(64 / static_cast<std::int64_t>(size_of(dtype))),
              [&](llvm::Value* at) {
                c.CreateIntrinsic(
                    llvm::Intrinsic::prefetch, {c.getPtrTy()},
                    {c.CreateGEP(element, a, at), c.getInt32(0), c.getInt32(3), c.getInt32(1)});
              });
  }
  const ColumnShare& share = step.share;
  llvm::Value* width = size(share.width);
  const auto [first, last] =
      part(size((share.width + Dim(share.block - 1)).floor_div(share.block)));
  const auto column = [&](llvm::Value* block) {
    llvm::Value* at = c.CreateMul(block, i64(share.block));
    return c.CreateSelect(c.CreateICmpSLT(at, width), at, width);
  };
  llvm::Value *from = column(first), *to = column(last);
  emit_loop(c, i64(0), size(shape.n), width, [&](llvm::Value* run) {
    const auto vector = [&](llvm::Value* at) {
      llvm::Value* up = c.CreateAdd(c.CreateAdd(run, at), i64(tile.lanes - 1));
      return c.CreateUDiv(up, i64(tile.lanes));
    };
    c.CreateCall(function, {a, size(step.view_a.contract_stride), packed, out, size(shape.n), k,
                            vector(from), vector(to)});
  });
}

}  // namespace treadle
