#include "backends/llvm/matmul_ahead_internal.h"

#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>

#include <cstddef>

#include "backends/llvm/matmul_tile_internal.h"

namespace treadle {

using llvm::Value;

namespace {

// Tiles that are left, for each that has to ask ahead, when the first of them does.
constexpr std::uint64_t tiles_for_one = 4;

Value* ahead_field(llvm::IRBuilderBase& b, Value* state, unsigned field) {
  return b.CreateStructGEP(ahead_state_type(b.getContext()), state, field);
}
Value* bytes_left_at(llvm::IRBuilderBase& b, Value* run) {
  return b.CreateGEP(b.getInt8Ty(), run, b.getInt64(offsetof(AskedAhead, bytes)));
}

}  // namespace

llvm::StructType* ahead_state_type(llvm::LLVMContext& context) {
  return llvm::StructType::get(
      context, {llvm::PointerType::get(context, 0), llvm::Type::getInt64Ty(context)});
}

int bytes_asked(const MatmulTile& tile) {
  return rows_asked * tile.columns * static_cast<int>(size_of(tile.dtype));
}

void emit_begin_ahead(llvm::IRBuilderBase& b, const MatmulTile& tile, Value* state, Value* list,
                      Value* bytes, Value* tiles, Value* k) {
  const int each = bytes_asked(tile) / static_cast<int>(steps_together);
  Value* asked = b.CreateMul(k, b.getInt64(static_cast<std::uint64_t>(each)));
  Value* wanted = b.CreateMul(b.CreateUDiv(bytes, asked), b.getInt64(tiles_for_one));
  wanted = b.CreateAdd(wanted, b.getInt64(tiles_for_one));
  b.CreateStore(list, ahead_field(b, state, ahead_run));
  b.CreateStore(b.CreateSub(tiles, wanted), ahead_field(b, state, ahead_wait));
}

AheadPart emit_ahead_part(llvm::IRBuilderBase& b, Value* state, Value* k) {
  Value* wait = b.CreateLoad(b.getInt64Ty(), ahead_field(b, state, ahead_wait));
  b.CreateStore(b.CreateSub(wait, b.getInt64(1)), ahead_field(b, state, ahead_wait));
  Value* run = b.CreateLoad(b.getPtrTy(), ahead_field(b, state, ahead_run));
  Value* from = b.CreateLoad(b.getPtrTy(), run);
  Value* times = b.CreateUDiv(k, b.getInt64(std::uint64_t{steps_together}));
  Value* asks = b.CreateAnd(b.CreateICmpSLE(wait, b.getInt64(0)), b.CreateIsNotNull(from));
  return {run, from, times, b.CreateAnd(asks, b.CreateICmpNE(times, b.getInt64(0)))};
}

std::pair<Value*, Value*> emit_take_ahead(llvm::IRBuilderBase& b, const MatmulTile& tile,
                                          Value* state, const AheadPart& part) {
  Value* left = b.CreateLoad(b.getInt64Ty(), bytes_left_at(b, part.run));
  // Little further than the run goes, whose end may be another core's beginning.
  Value* rest = b.CreateSub(b.CreateAdd(left, part.times), b.getInt64(1));
  rest = b.CreateUDiv(rest, part.times);
  Value* most = b.getInt64(static_cast<std::uint64_t>(bytes_asked(tile)));
  Value* step = b.CreateSelect(b.CreateICmpULT(rest, most), rest, most);
  Value* asked = b.CreateMul(step, part.times);
  left = b.CreateSub(left, asked);
  b.CreateStore(b.CreateGEP(b.getInt8Ty(), part.from, asked), part.run);
  b.CreateStore(left, bytes_left_at(b, part.run));
  Value* next = b.CreateGEP(b.getInt8Ty(), part.run, b.getInt64(sizeof(AskedAhead)));
  Value* some = b.CreateICmpSGT(left, b.getInt64(0));
  b.CreateStore(b.CreateSelect(some, part.run, next), ahead_field(b, state, ahead_run));
  return {part.from, step};
}

}  // namespace treadle
