// Code for work that threads share out while they do it (runtime/work_share.h). Included
// only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <cstddef>

#include "runtime/work_share.h"

namespace treadle {

inline llvm::Value* work_field(llvm::IRBuilderBase& b, llvm::Value* at, std::size_t offset) {
  return b.CreateConstGEP1_64(b.getInt8Ty(), at, offset);
}
inline llvm::Value* load_work(llvm::IRBuilderBase& b, llvm::Value* at, std::size_t offset) {
  return b.CreateLoad(b.getInt64Ty(), work_field(b, at, offset));
}
inline void store_work(llvm::IRBuilderBase& b, llvm::Value* value, llvm::Value* at,
                       std::size_t offset) {
  b.CreateStore(value, work_field(b, at, offset));
}

// Memory for so many bytes in a function's frame.
inline llvm::AllocaInst* work_on_stack(llvm::IRBuilderBase& b, std::size_t bytes) {
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> at(&entry, entry.begin());
  auto* out = at.CreateAlloca(llvm::ArrayType::get(at.getInt8Ty(), bytes));
  out->setAlignment(llvm::Align(64));
  return out;
}

// Share `i` of those from `shares` on.
inline llvm::Value* share_at(llvm::IRBuilderBase& b, llvm::Value* shares, llvm::Value* i) {
  return b.CreateGEP(llvm::ArrayType::get(b.getInt8Ty(), sizeof(WorkShare)), shares, i);
}

// A share of which nobody takes.
inline llvm::Value* emit_unshared(llvm::IRBuilderBase& b) {
  llvm::Value* out = work_on_stack(b, sizeof(WorkShare));
  store_work(b, b.getInt64(0), out, offsetof(WorkShare, claimed));
  return out;
}

// What a thread has of the work at first.
inline void emit_share(llvm::IRBuilderBase& b, llvm::Value* share, llvm::Value* begin,
                       llvm::Value* count, llvm::Value* chunk) {
  store_work(b, begin, share, offsetof(WorkShare, begin));
  store_work(b, count, share, offsetof(WorkShare, count));
  store_work(b, chunk, share, offsetof(WorkShare, chunk));
}

// Begins a turn of `share`; returns how many of its `count` items are still its own.
inline llvm::Value* emit_begin_turn(llvm::IRBuilderBase& b, llvm::Value* share,
                                    llvm::Value* count) {
  llvm::Value* claimed = b.CreateAtomicRMW(
      llvm::AtomicRMWInst::Add, work_field(b, share, offsetof(WorkShare, claimed)),
      b.getInt64(std::uint64_t{1} << 32), llvm::Align(8), llvm::AtomicOrdering::AcquireRelease);
  return b.CreateSub(count, b.CreateAnd(claimed, b.getInt64(UINT32_MAX)));
}

// Ends it; then `turns` have ended.
inline void emit_end_turn(llvm::IRBuilderBase& b, llvm::Value* share, llvm::Value* turns) {
  b.CreateAlignedStore(turns, work_field(b, share, offsetof(WorkShare, done)), llvm::Align(8))
      ->setAtomic(llvm::AtomicOrdering::Release);
}

}  // namespace treadle
