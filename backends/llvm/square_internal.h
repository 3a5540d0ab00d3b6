// The transpose of a square in vector registers. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <algorithm>
#include <vector>

namespace treadle {

// `rows` by blocks of `block` lanes, as many rows as such blocks in `across` lanes, a power of
// two; each `across` lanes side by side are a square of their own. To interleave the upper rows
// with the lower ones turns the bits of a block's place, row and column, by one.
inline std::vector<llvm::Value*> transposed_blocks(llvm::IRBuilderBase& b,
                                                   std::vector<llvm::Value*> rows, int lanes,
                                                   int across, int block) {
  std::vector<int> low, high;
  for (int lane = 0; lane < lanes; ++lane) {
    const int square = lane / across * across, place = lane % across / block;
    low.push_back(square + place / 2 * block + lane % block + place % 2 * lanes);
    high.push_back(low.back() + across / 2);
  }
  for (std::size_t step = 1; step < rows.size(); step *= 2) {
    std::vector<llvm::Value*> next;
    for (std::size_t i = 0; i < rows.size() / 2; ++i)
      for (const std::vector<int>& order : {low, high})
        next.push_back(b.CreateShuffleVector(rows[i], rows[i + rows.size() / 2], order));
    rows = std::move(next);
  }
  return rows;
}

// As many rows as each has lanes, a power of two. First within 128 bits, where x86 interleaves
// with one instruction, then squares of those.
inline std::vector<llvm::Value*> transposed_square(llvm::IRBuilderBase& b,
                                                   std::vector<llvm::Value*> rows) {
  const int lanes = static_cast<int>(rows.size());
  const auto bits = static_cast<int>(rows[0]->getType()->getScalarSizeInBits());
  const int block = std::min(lanes, 128 / bits), blocks = lanes / block;
  const auto place = [](int i) { return static_cast<std::size_t>(i); };
  for (int first = 0; first < lanes; first += block) {
    const auto from = rows.begin() + first;
    const auto turned = transposed_blocks(b, {from, from + block}, lanes, block, 1);
    std::copy(turned.begin(), turned.end(), from);
  }
  for (int j = 0; j < block; ++j) {
    std::vector<llvm::Value*> column;
    for (int i = 0; i < blocks; ++i) column.push_back(rows[place(i * block + j)]);
    column = transposed_blocks(b, std::move(column), lanes, lanes, block);
    for (int i = 0; i < blocks; ++i) rows[place(i * block + j)] = column[place(i)];
  }
  return rows;
}

}  // namespace treadle
