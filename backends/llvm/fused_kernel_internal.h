// The code of one fused node: a loop over its domain. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/llvm/kernel_emitter_internal.h"

namespace treadle {

// The work of a kernel comes in units, which threads share out; a unit's
// result does not depend on who computes it.
class FusedKernel {
 public:
  FusedKernel(const Target& target, DimTable& dims, const Graph& body, const Dims& domain);

  // One number.
  bool is_scalar() const { return domain_.empty(); }
  // A reduction to one number, which is one unit however many elements there are.
  bool is_one_sum() const { return reduction_ != nullptr && units_ == Dim(1); }
  const Dim& elements() const { return count_; }
  // How many units there are.
  const Dim& units() const { return units_; }
  // How many elements the domain has, where the code is to be told.
  std::optional<Dim> count() const { return flat_ ? std::optional(count_) : std::nullopt; }
  // Kernels of equal keys are the same code: their shapes may differ where every
  // value is read at the index that is written.
  std::string key() const;

  // Is it told which elements to compute, any, and not which units of `block`?
  bool by_elements() const { return flat_ && reduction_ == nullptr; }
  std::int64_t block() const { return block_; }

  // Code for units, or elements, begin ... end - 1. `operands[i]` points to argument i's
  // elements, `outputs[i]` to the places where output i goes.
  void emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* count, llvm::Value* begin,
            llvm::Value* end, const std::vector<llvm::Value*>& operands,
            const std::vector<std::vector<llvm::Value*>>& outputs);

 private:
  struct Part {  // one value of the domain and where it goes
    Value value;
    std::size_t output = 0;
    Type type;      // of the output
    int axis = -1;  // it is a part of a concat along this axis ...
    Dim start;      // ... from here on
  };
  Dim blocks_of(const Dim& columns) const;
  void flatten();
  void find_parts();
  void find_stages();
  void concat_parts(Value v, std::size_t output, int axis, Dim& start);
  void emit_pointwise(KernelEmitter& e, llvm::Value* begin, llvm::Value* end);
  void emit_columns(KernelEmitter& e, const LaneIndices& row, llvm::Value* from, llvm::Value* to);
  void emit_in_stages(KernelEmitter& e, const LaneIndices& row, llvm::Value* from, llvm::Value* to);
  void emit_parts(KernelEmitter& e, const LaneIndices& index, llvm::Value* mask, unsigned lanes);
  void emit_reduction(KernelEmitter& e, llvm::Value* begin, llvm::Value* end);
  void reduce_rows(KernelEmitter& e, llvm::Value* unit);
  void reduce_columns(KernelEmitter& e, llvm::Value* unit);
  std::vector<llvm::Value*> reduction_loops(
      KernelEmitter& e, std::size_t next, LaneIndices& index, std::vector<llvm::Value*> sums,
      const std::function<std::vector<llvm::Value*>(LaneIndices&, std::vector<llvm::Value*>)>&
          innermost);
  llvm::Value* combine(KernelEmitter& e, llvm::Value* x, llvm::Value* y);
  llvm::Value* neutral(KernelEmitter& e, unsigned lanes);
  void store_reduced(KernelEmitter& e, llvm::Value* value, const LaneIndices& kept,
                     llvm::Value* mask);

  const Target& target_;
  DimTable& dims_;
  Graph body_;
  Dims domain_;
  Dim count_;
  bool flat_ = false;         // the domain is one axis of `count` elements
  bool divisible_ = false;    // its last axis is a multiple of `whole_lanes_`
  bool narrow_ = false;       // it is less than that
  unsigned lanes_ = 1;        // of a vector of the target
  unsigned whole_lanes_ = 1;  // computed at once where there are so many
  std::int64_t block_ = 1;    // columns of a unit (fused_units.h)
  Dim units_;
  std::vector<Part> parts_;
  std::vector<Value> kept_values_;  // of the first of two stages (fused_stages.h)
  const std::vector<std::vector<llvm::Value*>>* outputs_ = nullptr;
  // A reduction:
  const Node* reduction_ = nullptr;
  std::vector<std::size_t> kept_, reduced_;
  bool last_reduced_ = false;
  unsigned columns_ = 1;  // vectors of columns that one unit reduces
};

}  // namespace treadle
