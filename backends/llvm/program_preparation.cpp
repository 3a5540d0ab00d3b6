// The part of a program that runs where it is told to.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"

namespace treadle {

void ProgramEmitter::emit_preparation(llvm::IRBuilder<>& b) {
  if (plan_.preparation.empty()) return;
  llvm::Value* told = b.CreateLoad(b.getInt64Ty(), b.CreateStructGEP(context_type_, context_, 12));
  emit_if(
      b, b.CreateICmpNE(told, b.getInt64(0)),
      [&] {
        emit_steps(b, plan_.preparation);
        emit_barrier(b);
      },
      [] {});
}

}  // namespace treadle
