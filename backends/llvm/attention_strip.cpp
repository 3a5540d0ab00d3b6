#include "backends/llvm/attention_strip_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_pack_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/target_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// More would wait for loads of A: each is used once with each vector.
constexpr int most_rows = 12;
// Pairs of lines that are asked for with a tile, which takes several hundred cycles: about as many
// lines as may be on the way at a time.
constexpr std::int64_t pairs_asked = 14;

// The tile of fewer vectors, of as many sums.
MatmulTile narrow(MatmulTile tile, int vectors) {
  tile.rows = std::min(most_rows, tile.rows * tile.vectors / vectors);
  tile.vectors = vectors;
  tile.columns = vectors * tile.lanes;
  return tile;
}

llvm::Function* begin_function(llvm::Module& module, const Target& target, llvm::FunctionType* type,
                               const std::string& name) {
  auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  llvm::BasicBlock::Create(module.getContext(), "entry", f);
  return f;
}

// For the next ones of the list, into the second level of cache: the first is full of the scores.
void ask_for_pairs(llvm::IRBuilderBase& b, Value* asks) {
  llvm::Type* p = b.getPtrTy();
  Value* end_at = b.CreateConstGEP1_64(p, asks, 1);
  Value *begin = b.CreateLoad(p, asks), *end = b.CreateLoad(p, end_at);
  Value* left = b.CreatePtrDiff(p, end, begin);
  Value* most = b.getInt64(pairs_asked);
  Value* count = b.CreateSelect(b.CreateICmpSLT(left, most), left, most);
  emit_loop(b, b.getInt64(0), count, b.getInt64(1), [&](Value* i) {
    Value* line = b.CreateLoad(p, b.CreateGEP(p, begin, i));
    emit_prefetch(b, line, 2);
    emit_prefetch(b, b.CreateConstGEP1_64(b.getInt8Ty(), line, pair_bytes / 2), 2);
  });
  b.CreateStore(b.CreateGEP(p, begin, count), asks);
}

llvm::Function* tile_of(llvm::Module& module, const Target& target, const MatmulTile& tile,
                        int rows) {
  const std::string name = "attention." + std::string(to_string(tile.dtype)) + ".tile_" +
                           std::to_string(rows) + "x" + std::to_string(tile.vectors);
  if (llvm::Function* known = module.getFunction(name)) return known;
  return emit_apart_tile_function(module, target, tile, rows, name);
}

// The strip of `tile`'s vectors; `strip_vectors` is not read.
llvm::Function* emit_strip(llvm::Module& module, const Target& target, const MatmulTile& tile,
                           bool asking, llvm::FunctionType* type, const std::string& name) {
  std::vector<int> heights = {tile.rows};
  for (int rows : {4, 2, 1})
    if (rows < tile.rows) heights.push_back(rows);
  std::vector<llvm::Function*> tiles;
  for (int rows : heights) tiles.push_back(tile_of(module, target, tile, rows));
  llvm::Function* f = begin_function(module, target, type, name);
  llvm::IRBuilder<> b(&f->getEntryBlock());
  const auto offset = [&](Value* pointer, Value* bytes) {
    return b.CreateGEP(b.getInt8Ty(), pointer, bytes);
  };
  // Six rows and two take longer than four and four.
  Value *m = f->getArg(strip_m), *last = m;
  if (tile.rows == 6)
    last = b.CreateSelect(b.CreateICmpEQ(b.CreateURem(m, b.getInt64(6)), b.getInt64(2)),
                          b.CreateSub(m, b.getInt64(6)), m);
  Value* next_bytes = b.CreateMul(b.CreateUDiv(f->getArg(tile_k), b.getInt64(steps_together)),
                                  f->getArg(tile_next_step));
  std::vector<Value*> values = {b.getInt64(0), f->getArg(tile_a), f->getArg(tile_c),
                                f->getArg(tile_initial), f->getArg(tile_next)};
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    Value* rows = b.getInt64(static_cast<std::uint64_t>(heights[t]));
    Value* end = b.CreateSub(t == 0 ? last : m, b.CreateSub(rows, b.getInt64(1)));
    values = emit_loop(b, values[0], end, rows, values, [&](Value* i, std::vector<Value*>& v) {
      std::vector<Value*> arguments;
      for (llvm::Argument& argument : tiles[t]->args())
        arguments.push_back(f->getArg(argument.getArgNo()));
      arguments[tile_a] = v[1];
      arguments[tile_c] = v[2];
      arguments[tile_initial] = v[3];
      arguments[tile_next] = v[4];
      v[4] = offset(v[4], next_bytes);
      if (asking) ask_for_pairs(b, f->getArg(strip_asks));
      b.CreateCall(tiles[t], arguments);
      v[0] = b.CreateAdd(i, rows);
      v[1] = offset(v[1], b.CreateMul(rows, f->getArg(tile_a_m)));
      v[2] = offset(v[2], b.CreateMul(rows, f->getArg(tile_c_m)));
      v[3] = offset(v[3], b.CreateMul(rows, f->getArg(tile_initial_m)));
    });
  }
  b.CreateRetVoid();
  return f;
}

}  // namespace

llvm::Function* attention_strip(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                bool asking) {
  const std::string name =
      "attention." + std::string(to_string(tile.dtype)) + (asking ? ".asking_strip" : ".strip");
  if (llvm::Function* known = module.getFunction(name)) return known;
  llvm::LLVMContext& context = module.getContext();
  llvm::IRBuilder<> b(context);
  llvm::Type *p = b.getPtrTy(), *i64 = b.getInt64Ty();
  auto* type = llvm::FunctionType::get(
      b.getVoidTy(), {p, i64, i64, p, p, i64, p, i64, i64, i64, p, i64, i64, i64, p}, false);
  llvm::Function* f = begin_function(module, target, type, name);
  b.SetInsertPoint(&f->getEntryBlock());
  auto* done = llvm::BasicBlock::Create(context, "done", f);
  llvm::SwitchInst* which = b.CreateSwitch(f->getArg(strip_vectors), done);
  std::vector<Value*> arguments;
  for (llvm::Argument& argument : f->args()) arguments.push_back(&argument);
  for (int vectors = tile.vectors; vectors >= 1; --vectors) {
    auto* block = llvm::BasicBlock::Create(context, "vectors", f, done);
    which->addCase(b.getInt64(static_cast<std::uint64_t>(vectors)), block);
    b.SetInsertPoint(block);
    b.CreateCall(emit_strip(module, target, narrow(tile, vectors), asking, type,
                            name + "_" + std::to_string(vectors)),
                 arguments);
    b.CreateBr(done);
  }
  b.SetInsertPoint(done);
  b.CreateRetVoid();
  return f;
}

llvm::Function* attention_pack(llvm::Module& module, const Target& target, const MatmulTile& tile) {
  const std::string name = std::string("attention.") + std::string(to_string(tile.dtype)) + ".pack";
  if (llvm::Function* known = module.getFunction(name)) return known;
  return emit_pack_function(module, target, tile, name);
}

}  // namespace treadle
