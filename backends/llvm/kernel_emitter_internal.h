// Emits the value of a graph node at an index, pulling its operands at theirs.
// Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/Function.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <map>
#include <vector>

#include "backends/llvm/target.h"
#include "ir/graph.h"

namespace treadle {

// The extents that code reads, in the order of the table that `run` fills.
class DimTable {
 public:
  std::size_t number(const Dim& dim);
  const Dims& dims() const { return dims_; }

 private:
  Dims dims_;
  std::map<Dim, std::size_t> numbers_;
};

// An index along one axis: `base` for all lanes, plus `lane` times the lane's
// number; or any vector of i64.
struct LaneIndex {
  llvm::Value* base = nullptr;
  int lane = 0;
  llvm::Value* vector = nullptr;
  bool uniform() const { return lane == 0 && vector == nullptr; }
  friend auto operator<=>(const LaneIndex&, const LaneIndex&) = default;
};
using LaneIndices = std::vector<LaneIndex>;

// Code for one kernel function. The values that stand in memory (`leaves`) are
// dense and row-major; all others are computed where they are needed.
class KernelEmitter {
 public:
  KernelEmitter(llvm::IRBuilder<>& builder, const Target& target, const Graph& graph,
                DimTable& dims, llvm::Value* dim_table)
      : b(builder), target_(target), graph_(graph), dims_(dims), dim_table_(dim_table) {}

  void set_leaf(Value v, llvm::Value* pointer) { leaves_[v] = pointer; }
  // This kernel is told the value of `dim`; it is not in the table.
  void set_extent(const Dim& dim, llvm::Value* value) { extents_[dim] = value; }
  // `v` at one index is `value`, until start_block().
  void define(Value v, const LaneIndices& index, llvm::Value* mask, unsigned lanes,
              llvm::Value* value) {
    known_[{v, index, mask, lanes}] = value;
  }
  const Target& target() const { return target_; }
  const Graph& graph() const { return graph_; }

  llvm::Value* integer(std::int64_t value) { return b.getInt64(static_cast<std::uint64_t>(value)); }
  llvm::Value* extent(const Dim& dim);
  llvm::Value* count(std::span<const Dim> dims) {
    return extent(product(Dims(dims.begin(), dims.end())));
  }
  // Lanes in a vector register of the widest type in the computation of `v`.
  unsigned lanes_for(Value v) const;

  // `mask` is null (all lanes), or i1 per lane; elements that it leaves out are
  // not read from memory. The result has `lanes` lanes (1: a scalar).
  llvm::Value* emit(Value v, const LaneIndices& index, llvm::Value* mask, unsigned lanes);
  void store(llvm::Value* value, DType dtype, llvm::Value* pointer, llvm::Value* offset,
             llvm::Value* mask);
  llvm::Value* load(DType dtype, llvm::Value* pointer, const LaneIndex& offset, llvm::Value* mask,
                    unsigned lanes);
  // Forget what was emitted: code behind this does not lie behind that code.
  void start_block() { known_.clear(); }

  // The position of `index` in a dense value.
  LaneIndex offset_of(const Type& type, const LaneIndices& index, unsigned lanes);

  // The index vector of position `linear` in `dims`.
  LaneIndices delinearise(llvm::Value* linear, std::span<const Dim> dims);

  llvm::IRBuilder<>& b;

 private:
  LaneIndex add(const LaneIndex& x, const LaneIndex& y);
  LaneIndex times(const LaneIndex& x, std::int64_t factor, unsigned lanes);
  llvm::Value* lanes_of(const LaneIndex& x, unsigned lanes);
  llvm::Value* in_range(const LaneIndex& x, llvm::Value* low, llvm::Value* high, unsigned lanes);
  llvm::Value* both(llvm::Value* x, llvm::Value* y);
  llvm::Value* zero(DType dtype, unsigned lanes);
  llvm::Value* splat(llvm::Value* x, unsigned lanes);

  llvm::Value* emit_fresh(Value v, const LaneIndices& index, llvm::Value* mask, unsigned lanes);
  llvm::Value* emit_pointwise(Value v, const LaneIndices& index, llvm::Value* mask, unsigned lanes);
  llvm::Value* emit_pad(const Node& n, const LaneIndices& index, llvm::Value* mask, unsigned lanes);
  llvm::Value* emit_concat(const Node& n, const LaneIndices& index, llvm::Value* mask,
                           unsigned lanes);
  llvm::Value* emit_gather(const Node& n, const LaneIndices& index, llvm::Value* mask,
                           unsigned lanes);
  llvm::Value* emit_overlap_add(const Node& n, const LaneIndices& index, llvm::Value* mask,
                                unsigned lanes);
  llvm::Value* emit_constant(const Node& n, const LaneIndices& index, llvm::Value* mask,
                             unsigned lanes);
  LaneIndices reshape_index(const Dims& from, const Dims& to, const LaneIndices& index,
                            unsigned lanes);

  struct Key {
    Value value;
    LaneIndices index;
    llvm::Value* mask;
    unsigned lanes;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  const Target& target_;
  const Graph& graph_;
  DimTable& dims_;
  llvm::Value* dim_table_;
  std::map<Value, llvm::Value*> leaves_;
  std::map<Dim, llvm::Value*> extents_;
  std::map<Key, llvm::Value*> known_;
};

// Bytes of memory type: b1 is one byte.
llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype);

}  // namespace treadle
