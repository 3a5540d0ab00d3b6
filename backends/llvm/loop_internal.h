// A counted loop in LLVM IR. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/BasicBlock.h>
#include <llvm/IR/Function.h>
#include <llvm/IR/IRBuilder.h>

#include <span>
#include <vector>

namespace treadle {

// for (i = begin; i < end; i += step) with i64 bounds, signed. `body(i, values)`
// emits the body, whose insertion point may end in another block, and replaces
// `values` by their next ones; they start as `values`. Returns them after the
// loop; the builder continues behind it.
template <typename Body>
std::vector<llvm::Value*> emit_loop(llvm::IRBuilderBase& b, llvm::Value* begin, llvm::Value* end,
                                    llvm::Value* step, std::vector<llvm::Value*> values,
                                    Body&& body) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* head = llvm::BasicBlock::Create(b.getContext(), "head", function);
  auto* inside = llvm::BasicBlock::Create(b.getContext(), "body", function);
  auto* after = llvm::BasicBlock::Create(b.getContext(), "after", function);
  b.CreateBr(head);
  b.SetInsertPoint(head);
  llvm::PHINode* i = b.CreatePHI(b.getInt64Ty(), 2);
  i->addIncoming(begin, before);
  std::vector<llvm::PHINode*> phis;
  for (llvm::Value* value : values) {
    phis.push_back(b.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, before);
  }
  b.CreateCondBr(b.CreateICmpSLT(i, end), inside, after);
  b.SetInsertPoint(inside);
  values.assign(phis.begin(), phis.end());
  body(i, values);
  i->addIncoming(b.CreateAdd(i, step), b.GetInsertBlock());
  for (std::size_t v = 0; v < values.size(); ++v)
    phis[v]->addIncoming(values[v], b.GetInsertBlock());
  b.CreateBr(head);
  b.SetInsertPoint(after);
  return {phis.begin(), phis.end()};
}

// The same without values that change.
template <typename Body>
void emit_loop(llvm::IRBuilderBase& b, llvm::Value* begin, llvm::Value* end, llvm::Value* step,
               Body&& body) {
  emit_loop(b, begin, end, step, {}, [&](llvm::Value* i, std::vector<llvm::Value*>&) { body(i); });
}

// while (condition(values)) body(values): as emit_loop, without a counter.
template <typename Condition, typename Body>
std::vector<llvm::Value*> emit_while(llvm::IRBuilderBase& b, std::vector<llvm::Value*> values,
                                     Condition&& condition, Body&& body) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* head = llvm::BasicBlock::Create(b.getContext(), "head", function);
  auto* inside = llvm::BasicBlock::Create(b.getContext(), "body", function);
  auto* after = llvm::BasicBlock::Create(b.getContext(), "after", function);
  b.CreateBr(head);
  b.SetInsertPoint(head);
  std::vector<llvm::PHINode*> phis;
  for (llvm::Value* value : values) {
    phis.push_back(b.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, before);
  }
  values.assign(phis.begin(), phis.end());
  b.CreateCondBr(condition(values), inside, after);
  b.SetInsertPoint(inside);
  body(values);
  for (std::size_t v = 0; v < values.size(); ++v)
    phis[v]->addIncoming(values[v], b.GetInsertBlock());
  b.CreateBr(head);
  b.SetInsertPoint(after);
  return {phis.begin(), phis.end()};
}

// if (condition) then() else otherwise(); the builder continues behind it.
template <typename Then, typename Else>
void emit_if(llvm::IRBuilderBase& b, llvm::Value* condition, Then&& then, Else&& otherwise) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  auto* yes = llvm::BasicBlock::Create(b.getContext(), "then", function);
  auto* no = llvm::BasicBlock::Create(b.getContext(), "else", function);
  auto* after = llvm::BasicBlock::Create(b.getContext(), "after", function);
  b.CreateCondBr(condition, yes, no);
  b.SetInsertPoint(yes);
  then();
  b.CreateBr(after);
  b.SetInsertPoint(no);
  otherwise();
  b.CreateBr(after);
  b.SetInsertPoint(after);
}

}  // namespace treadle
