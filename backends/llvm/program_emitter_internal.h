// A plan as one native function. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backends/llvm/fused_kernel_internal.h"
#include "backends/llvm/interleaved_tile_internal.h"
#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/llvm/program_plan.h"

namespace treadle {

// Threads share out a product's rows in whole tiles of so many.
inline constexpr std::int64_t rows_of_tile = 8;
inline constexpr const char* entry_name = "treadle_step";  // a ProgramEntry

// Adds the entry function `treadle_step` and its kernels to the module, which
// refers to nothing outside but functions of the C library. A profiled program says
// when it is done with each kernel and each barrier.
class ProgramEmitter {
 public:
  ProgramEmitter(llvm::Module& module, const Target& target, const ProgramPlan& plan, bool profiled)
      : module_(module), target_(target), plan_(plan), profiled_(profiled) {}
  void emit();
  // Whose values the entry function expects in its table, once it is emitted.
  const std::vector<Dim>& dims() const { return dims_.dims(); }

 private:
  // A kernel under construction: void(pointers..., dims, begin, end[, count]).
  struct Kernel {
    llvm::Function* function = nullptr;
    std::vector<llvm::Value*> pointers;  // to what it reads and writes
    llvm::Value *dims = nullptr, *begin = nullptr, *end = nullptr, *count = nullptr;
  };
  using KernelBody = std::function<void(llvm::IRBuilder<>&, const Kernel&)>;
  llvm::Function* start_function(llvm::IRBuilder<>& b, const std::string& name,
                                 const std::vector<llvm::Type*>& types);
  static void generate_quickly(llvm::Function& function);
  llvm::Value* pointer(llvm::IRBuilder<>& b, const Location& place, DType dtype);
  llvm::Value* extent(llvm::IRBuilder<>& b, llvm::Value* table, const Dim& dim);

  void emit_preparation(llvm::IRBuilder<>& b);
  void emit_steps(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void emit_together(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void emit_step(llvm::IRBuilder<>& b, const Step& step);
  void emit_work(llvm::IRBuilder<>& b, const Step& step);
  void emit_scan(llvm::IRBuilder<>& b, const Step& step);
  void emit_loop_of(llvm::IRBuilder<>& b, const Step& step);
  void emit_pair(llvm::IRBuilder<>& b, const Step& first, const Step& second);
  void emit_layers(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void emit_at_once(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void emit_phases(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void emit_between(llvm::IRBuilder<>& b, std::span<const Step> steps, llvm::Value* begin,
                    llvm::Value* end);
  llvm::Value* enough_rows(llvm::IRBuilder<>& b, const Dim& rows, const Dim& least);
  void emit_bound_scan(llvm::IRBuilder<>& b, const Step& step);
  void emit_binders();
  llvm::Value* own_dim_table(llvm::IRBuilder<>& b, llvm::Value* shared, llvm::Value* count);
  llvm::Value* own_buffer_table(llvm::IRBuilder<>& b);
  void emit_alone(llvm::IRBuilder<>& b, const std::vector<Step>& steps);
  void emit_done(llvm::IRBuilder<>& b, const char* name, unsigned field, int kernel);
  void emit_barrier(llvm::IRBuilder<>& b);
  void call_out(llvm::IRBuilder<>& b, const char* name, unsigned field,
                std::vector<llvm::Value*> arguments);
  void emit_barrier_unless_one(llvm::IRBuilder<>& b, const std::optional<Dim>& dim);
  std::array<llvm::Value*, 2> share_of(llvm::IRBuilder<>& b, const Dim& units,
                                       std::int64_t unit = 1);
  std::array<llvm::Value*, 2> share_of_next(llvm::IRBuilder<>& b, const Dim& elements);
  void emit_turn(llvm::IRBuilder<>& b, const Step& step, llvm::Value* turn);
  void emit_own_rows(llvm::IRBuilder<>& b, const Dim& rows, const Dim& least,
                     const std::function<void()>& work);
  void emit_row_run(llvm::IRBuilder<>& b, std::span<const Step> steps);
  void call_kernel(llvm::IRBuilder<>& b, const std::string& key, std::string_view name,
                   std::vector<llvm::Value*> pointers, const std::array<llvm::Value*, 2>& share,
                   const std::optional<Dim>& count, const KernelBody& body);
  static std::string key_of(const Step& step, std::string_view name);

  // What code needs to share out work while it does it: the WorkShares of all threads, or
  // null, and what treadle_take_work is called with.
  struct SharedWork {
    llvm::Value *shares, *context, *thread, *threads, *ticks, *kernel;
  };
  // Items (from, to), their share and the first turn; and without turns.
  using TurnsOfItems = std::function<void(llvm::Value*, llvm::Value*, llvm::Value*, llvm::Value*)>;
  using Items = std::function<void(llvm::Value*, llvm::Value*)>;
  static llvm::Value* chunk_of(llvm::IRBuilder<>& b, llvm::Value* count, std::int64_t least);
  SharedWork shared_work(llvm::IRBuilder<>& b, int shared);
  void add_shared_work(llvm::IRBuilder<>& b, const Step& step,
                       std::vector<llvm::Value*>& arguments);
  void take_work(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* turns, llvm::Value* unit,
                 llvm::Value* taken);
  void emit_in_turns(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* begin,
                     llvm::Value* end, llvm::Value* turns, llvm::Value* chunk, std::int64_t unit,
                     const TurnsOfItems& work);
  void emit_in_chunks(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* begin,
                      llvm::Value* end, llvm::Value* chunk, std::int64_t least, const Items& work);
  void emit_shared_loop(llvm::IRBuilder<>& b, const Step& step);

  std::string kernel_name(std::string_view what);
  void fused(llvm::IRBuilder<>& b, const Step& step);
  void call_fused(llvm::IRBuilder<>& b, FusedKernel& kernel, std::string_view name,
                  const std::vector<llvm::Value*>& operands,
                  const std::vector<std::vector<llvm::Value*>>& outputs);
  void copy(llvm::IRBuilder<>& b, const Step& step);
  void pack(llvm::IRBuilder<>& b, const Step& step);
  llvm::Function* pack_function(DType product_dtype);
  void matmul(llvm::IRBuilder<>& b, const Step& step);
  void product_alone(llvm::IRBuilder<>& b, const Step& step, std::vector<llvm::Value*>& arguments,
                     llvm::Value* rows);
  void add_chained(llvm::IRBuilder<>& b, const Step& turn, std::vector<llvm::Value*>& arguments);
  void chained_rows(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype);
  void product_of_rows(llvm::IRBuilder<>& b, const Step& step, std::vector<llvm::Value*>& arguments,
                       llvm::Value* rows);
  void add_asked_ahead(llvm::IRBuilder<>& b, const Step& step,
                       std::vector<llvm::Value*>& arguments);
  void add_direct_arguments(llvm::IRBuilder<>& b, const Step& step,
                            std::vector<llvm::Value*>& arguments);
  void looped_matmul(llvm::IRBuilder<>& b, const Step& step);
  llvm::Value* is_deferred(llvm::IRBuilder<>& b, int buffer);
  bool may_chain_products(DType product_dtype);
  llvm::Value* is_chained(llvm::IRBuilder<>& b, const Step& turn);
  llvm::Value* operand_a(llvm::IRBuilder<>& b, const Step& step);
  llvm::Value* turn_of(llvm::IRBuilder<>& b, const Location::Row& row);
  llvm::Value* in_turns(llvm::IRBuilder<>& b, const Step& product, const Interleaved& where);
  void only_first_rows(llvm::IRBuilder<>& b, const Step& step, llvm::Value*& a, llvm::Value*& out,
                       llvm::Value*& rows);
  llvm::Function* begin_turn_function(DType dtype);
  void begin_interleaving(llvm::IRBuilder<>& b, const Step& loop);
  void begin_interleaved_turn(llvm::IRBuilder<>& b, llvm::Value* turn);
  void call_runner(llvm::IRBuilder<>& b, const Step& step);
  void scatter_add(llvm::IRBuilder<>& b, const Step& step);
  void argmax(llvm::IRBuilder<>& b, const Step& step);
  void attention(llvm::IRBuilder<>& b, const Step& step);
  const MatmulKernels& kernels(DType dtype);
  // One function for all products of a kind, whatever their sizes:
  // void(a, a_m, a_k, packed, c, m, n, k, thread, threads, start, start_m, ...), a direct one
  // without what it starts from.
  enum class ProductKind : std::uint8_t {
    rows,             // of more than one row
    asking_rows,      // of more than one row, ..., ahead, ahead_bytes): AskingGemmFunction's
    one_row,          // ..., width, block, turn): a ColumnShare, and the turn of the loop around
    interleaved_row,  // ..., as one_row, state): what else to compute (interleaved_tile_internal.h)
    any_rows,         // one of rows and one_row, with one_row's arguments
    chained_rows,     // ..., as asking_rows; a2, a2_m, a2_k, packed2, k2): ChainedGemmFunction's
    shared_rows,      // of more than one row, ...; SharedWork's shares, context, ticks, kernel)
    batch,            // ..., batch, a's batch stride)
    direct,           // of B as it stands, ..., b_k and what follows it in DirectGemmFunction up
                      // to its share; what shared_rows has)
  };
  llvm::Function* product_kernel(DType dtype, ProductKind kind);
  void several_rows(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype, ProductKind kind);
  void one_row(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype, ProductKind kind);
  void products_of_batch(llvm::IRBuilder<>& b, llvm::Function* f, DType dtype);
  void call_one_row(llvm::IRBuilder<>& b, const Step& step, ProductKind kind,
                    const std::vector<llvm::Value*>& arguments);

  llvm::Module& module_;
  const Target& target_;
  const ProgramPlan& plan_;
  bool profiled_;
  DimTable dims_;
  std::map<DType, MatmulKernels> matmuls_;
  std::map<std::pair<DType, ProductKind>, llvm::Function*> products_;
  std::map<std::string, llvm::Function*> kernels_;     // by what they compute
  std::map<std::string, std::uint64_t> sums_of_size_;  // that are one unit each
  std::map<DType, llvm::Function*> begin_turns_;
  int steps_emitted_ = 0;  // a kernel has the number of the first step that it is for
  // Functions that write the extents which a loop's bounds change into a
  // thread's table; they are written last, when the table is complete.
  struct Binder {
    llvm::Function* function;  // void(table, one i64 a symbol)
    std::vector<Dim> symbols;
  };
  std::vector<Binder> binders_;
  // Of the entry function:
  llvm::StructType* context_type_ = nullptr;  // ProgramContext
  llvm::Value* context_ = nullptr;
  llvm::Value* again_ = nullptr;  // is this not the first block of a run?
  llvm::Value *buffers_ = nullptr, *dim_table_ = nullptr, *barrier_ = nullptr, *threads_ = nullptr,
              *thread_ = nullptr, *runners_ = nullptr, *ticks_ = nullptr;
  llvm::Value *team_threads_ = nullptr, *team_thread_ = nullptr;  // where `threads_` are a half
  std::vector<llvm::Value*> counters_;
  // In a loop whose rows are one thread's each, where there are enough of them
  // (`apart`): then this thread's own. Else all, shared out in each step.
  struct OwnRows {
    Dim all;
    llvm::Value *threads, *thread, *apart, *begin, *count;
    // Of a run in blocks: how many rows behind its place among all rows a block's first row
    // stands in a buffer that holds a block of each thread.
    llvm::Value* block_shift = nullptr;
  };
  std::optional<OwnRows> own_rows_;
  // In a loop that may compute a product in its turns: does it, what is known of it, and how
  // many loops there are.
  struct Interleaving {
    const Step* product = nullptr;
    llvm::Value *on = nullptr, *state = nullptr;
    std::size_t level = 0;
  };
  std::optional<Interleaving> interleaved_;
  bool alone_ = false;  // in a loop whose turns are one thread's each
};

}  // namespace treadle
