// A plan as one native function. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/llvm/program_plan.h"

namespace treadle {

// What the entry function is given. The layout is that of the compiled code.
struct ProgramContext {
  void* const* buffers = nullptr;
  const std::int64_t* dims = nullptr;
  void* barrier = nullptr;
  std::int64_t threads = 1;
  void* const* runners = nullptr;  // NodeRunner
  std::int64_t dim_count = 0;      // of `dims`
};
using ProgramEntry = void(const ProgramContext*, std::int64_t thread);
inline constexpr const char* entry_name = "treadle_step";
// void(NodeRunner*, thread, B) and void(NodeRunner*, thread, A, C)
inline constexpr const char* prepare_name = "treadle_prepare_claimed";
inline constexpr const char* claimed_name = "treadle_run_claimed";
inline constexpr const char* dims_name = "treadle_dims";

// Adds the entry function `treadle_step` and its kernels to the module, and the
// constant `treadle_dims`: the expressions of the table of dims, one a line.
class ProgramEmitter {
 public:
  ProgramEmitter(llvm::Module& module, const Target& target, const ProgramPlan& plan)
      : module_(module), target_(target), plan_(plan) {}
  void emit();

 private:
  // A kernel under construction: void(buffers, dims, begin, end, counters...).
  struct Kernel {
    llvm::Function* function = nullptr;
    llvm::Value *buffers = nullptr, *dims = nullptr, *begin = nullptr, *end = nullptr;
    std::vector<llvm::Value*> counters;
  };
  llvm::Function* start_function(llvm::IRBuilder<>& b, const std::string& name,
                                 const std::vector<llvm::Type*>& types);
  Kernel start_kernel(llvm::IRBuilder<>& b, const std::string& name, int loops);
  Kernel entry() const;  // where the entry function is at
  llvm::Value* pointer(llvm::IRBuilder<>& b, const Kernel& kernel, const Location& place,
                       DType dtype);
  llvm::Value* extent(llvm::IRBuilder<>& b, llvm::Value* table, const Dim& dim);

  void emit_steps(llvm::IRBuilder<>& b, const std::vector<Step>& steps);
  void emit_step(llvm::IRBuilder<>& b, const Step& step);
  void emit_scan(llvm::IRBuilder<>& b, const Step& step);
  void emit_bound_scan(llvm::IRBuilder<>& b, const Step& step);
  void emit_binders();
  llvm::Value* own_dim_table(llvm::IRBuilder<>& b, llvm::Value* shared, llvm::Value* count);
  llvm::Value* own_buffer_table(llvm::IRBuilder<>& b);
  void emit_alone(llvm::IRBuilder<>& b, const std::vector<Step>& steps);
  void emit_barrier(llvm::IRBuilder<>& b);
  void emit_barrier_unless_one(llvm::IRBuilder<>& b, const std::optional<Dim>& dim);
  std::array<llvm::Value*, 2> share_of(llvm::IRBuilder<>& b, const Dim& units);
  void call_shared(llvm::IRBuilder<>& b, llvm::Function* kernel, const Dim& units, int loops);

  std::string kernel_name(std::string_view what);
  void fused(llvm::IRBuilder<>& b, const Step& step);
  void copy(llvm::IRBuilder<>& b, const Step& step);
  void pack(llvm::IRBuilder<>& b, const Step& step);
  void matmul(llvm::IRBuilder<>& b, const Step& step);
  void looped_matmul(llvm::IRBuilder<>& b, const Step& step);
  void call_runner(llvm::IRBuilder<>& b, const Step& step);
  void scatter_add(llvm::IRBuilder<>& b, const Step& step);
  void argmax(llvm::IRBuilder<>& b, const Step& step);
  void attention(llvm::IRBuilder<>& b, const Step& step);
  void one_kernel(llvm::IRBuilder<>& b, const Step& step, std::string_view name, const Dim& units,
                  const std::function<void(llvm::IRBuilder<>&, const Kernel&)>& body);
  const MatmulKernels& kernels(DType dtype);
  // The product of `step` where A is one row: this thread's columns.
  void row_product(llvm::IRBuilder<>& c, const Step& step, llvm::Value* a, llvm::Value* packed,
                   llvm::Value* out,
                   const std::function<std::array<llvm::Value*, 2>(llvm::Value* blocks)>& part,
                   const std::function<llvm::Value*(const Dim&)>& size);

  llvm::Module& module_;
  const Target& target_;
  const ProgramPlan& plan_;
  DimTable dims_;
  std::map<DType, MatmulKernels> matmuls_;
  std::map<DType, llvm::Function*> row_products_;
  std::map<std::string, llvm::Function*> fused_kernels_;  // by what they compute
  int kernels_made_ = 0;
  // Functions that write the extents which a loop's bounds change into a
  // thread's table; they are written last, when the table is complete.
  struct Binder {
    llvm::Function* function;  // void(table, one i64 a symbol)
    std::vector<Dim> symbols;
  };
  std::vector<Binder> binders_;
  // Of the entry function:
  llvm::Value *buffers_ = nullptr, *dim_table_ = nullptr, *barrier_ = nullptr, *threads_ = nullptr,
              *thread_ = nullptr, *runners_ = nullptr;
  std::vector<llvm::Value*> counters_;
  bool alone_ = false;  // in a loop whose turns are one thread's each
};

}  // namespace treadle
