// What a product asks for ahead, while its tiles are worked out. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <utility>

#include "backends/llvm/matmul_kernel_internal.h"

namespace llvm {
class IRBuilderBase;
class LLVMContext;
class StructType;
class Value;
}  // namespace llvm

namespace treadle {

// The first run of AskedAhead that is left, and how many tiles that could ask do not yet.
enum AheadState : unsigned { ahead_run, ahead_wait };
llvm::StructType* ahead_state_type(llvm::LLVMContext& context);

// So many bytes after each steps_together along k.
int bytes_asked(const MatmulTile& tile);

// The state in front of the first of so many tiles, each of so much along k, which ask for the
// `bytes` of a list. Of a second-level cache that is small for them the weights drive out what
// was asked for early; but memory may be slow: what is asked for has three times as long to come as
// to be asked for.
void emit_begin_ahead(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* state,
                      llvm::Value* list, llvm::Value* bytes, llvm::Value* tiles, llvm::Value* k);

// May a tile of so much along k ask for a part of what is left? Counts it as one that could.
struct AheadPart {
  llvm::Value *run, *from, *times, *asks;
};
AheadPart emit_ahead_part(llvm::IRBuilderBase& b, llvm::Value* state, llvm::Value* k);
// Takes that part, if so: where it is, and how much further on after each steps_together.
std::pair<llvm::Value*, llvm::Value*> emit_take_ahead(llvm::IRBuilderBase& b,
                                                      const MatmulTile& tile, llvm::Value* state,
                                                      const AheadPart& part);

}  // namespace treadle
