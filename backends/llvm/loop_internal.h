// A counted loop in LLVM IR. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/BasicBlock.h>
#include <llvm/IR/Function.h>
#include <llvm/IR/IRBuilder.h>

#include <span>
#include <utility>
#include <vector>

namespace treadle {

// while (condition(values)) body(values), which emits the body, whose insertion point may end in
// another block, and replaces `values` by their next ones. Returns them after the loop; the builder
// continues behind it.
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

// for (i = begin; i < end; i += step) body(i, values) with i64 bounds, signed; as emit_while.
template <typename Body>
std::vector<llvm::Value*> emit_loop(llvm::IRBuilderBase& b, llvm::Value* begin, llvm::Value* end,
                                    llvm::Value* step, std::vector<llvm::Value*> values,
                                    Body&& body) {
  values.insert(values.begin(), begin);
  values = emit_while(
      b, std::move(values),
      [&](const std::vector<llvm::Value*>& now) { return b.CreateICmpSLT(now[0], end); },
      [&](std::vector<llvm::Value*>& now) {
        llvm::Value* i = now[0];
        now.erase(now.begin());
        body(i, now);
        now.insert(now.begin(), b.CreateAdd(i, step));
      });
  values.erase(values.begin());
  return values;
}

// The same without values that change.
template <typename Body>
void emit_loop(llvm::IRBuilderBase& b, llvm::Value* begin, llvm::Value* end, llvm::Value* step,
               Body&& body) {
  emit_loop(b, begin, end, step, {}, [&](llvm::Value* i, std::vector<llvm::Value*>&) { body(i); });
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
