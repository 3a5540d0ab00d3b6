// The transpose of a square in vector registers. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <vector>

namespace treadle {

// As many rows as each has lanes, a power of two. To interleave the upper rows with the
// lower ones turns the bits of an element's place, row and lane, by one.
inline std::vector<llvm::Value*> transposed_square(llvm::IRBuilderBase& b,
                                                   std::vector<llvm::Value*> rows) {
  const int lanes = static_cast<int>(rows.size());
  std::vector<int> low, high;
  for (int i = 0; i < lanes; ++i) {
    low.push_back(i / 2 + i % 2 * lanes);
    high.push_back(low.back() + lanes / 2);
  }
  for (int step = 1; step < lanes; step *= 2) {
    std::vector<llvm::Value*> next;
    for (std::size_t i = 0; i < rows.size() / 2; ++i)
      for (const std::vector<int>& order : {low, high})
        next.push_back(b.CreateShuffleVector(rows[i], rows[i + rows.size() / 2], order));
    rows = std::move(next);
  }
  return rows;
}

}  // namespace treadle
