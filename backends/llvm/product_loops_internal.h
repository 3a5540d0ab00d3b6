// The turns of a product's loops (ir/strided_view.h). Included only by
// backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <span>

#include "ir/strided_view.h"

namespace treadle {

// Where turn `index` of the loops, counted row by row, reads.
inline llvm::Value* loop_offset(llvm::IRBuilder<>& c, std::span<const ProductView::Loop> loops,
                                Dim ProductView::Loop::*stride, llvm::Value* index,
                                const std::function<llvm::Value*(const Dim&)>& size) {
  llvm::Value* out = c.getInt64(0);
  for (std::size_t i = loops.size(); i-- > 0;) {
    // Nothing to sum over is one turn, over nothing.
    const Dim extent = loops[i].extent.at_least(1);
    llvm::Value* turn = i == 0 ? index : c.CreateURem(index, size(extent));
    out = c.CreateAdd(out, c.CreateMul(turn, size(loops[i].*stride)));
    if (i != 0) index = c.CreateUDiv(index, size(extent));
  }
  return out;
}

inline Dim turns(std::span<const ProductView::Loop> loops) {
  Dim out(1);
  for (const ProductView::Loop& loop : loops) out = out * loop.extent;
  return out;
}

}  // namespace treadle
