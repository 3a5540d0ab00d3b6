// What a graph's conditions say about a whole range of indices. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <optional>
#include <vector>

#include "backends/llvm/kernel_emitter_internal.h"

namespace treadle {

// Least and greatest index along an axis, or value; the same pointer twice: it
// is known.
struct ValueRange {
  llvm::Value *low = nullptr, *high = nullptr;
  bool known() const { return low == high; }
};
using IndexRanges = std::vector<ValueRange>;

// Interval arithmetic on the integers and conditions that indices, extents,
// constants and single elements in memory make. Comparisons of anything else
// are unknown.
class TileRanges {
 public:
  explicit TileRanges(KernelEmitter& e) : e_(e) {}

  // An i1: every element of `v` in the range is -inf for certain; null when that
  // is never certain.
  llvm::Value* all_minus_infinity(Value v, const IndexRanges& index);
  // An i1: the condition `v` is true everywhere in the range for certain; null when that
  // is never certain.
  llvm::Value* always(Value v, const IndexRanges& index);

 private:
  // i1 each: true everywhere, false everywhere.
  struct Truth {
    llvm::Value *always = nullptr, *never = nullptr;
  };
  std::optional<Truth> truth(Value v, const IndexRanges& index);
  std::optional<Truth> comparison(const Node& node, const IndexRanges& index);
  std::optional<ValueRange> range(Value v, const IndexRanges& index);
  std::optional<ValueRange> arithmetic(const Node& node, const IndexRanges& index);
  // The index of the operand that is read there.
  std::optional<IndexRanges> read_at(const Node& node, const IndexRanges& index);
  llvm::Value* element(Value v, const IndexRanges& index);
  llvm::Value* least(llvm::Value* x, llvm::Value* y);
  llvm::Value* greatest(llvm::Value* x, llvm::Value* y);

  KernelEmitter& e_;
};

}  // namespace treadle
