// Products that a loop computes in its turns, beside a product of one row.
#include "backends/llvm/interleaved_products.h"
#include "backends/llvm/interleaved_tile_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"

namespace treadle {

static_assert(Interleaved::length_at_least >= interleaved_rows);

// Interleaved::in_turns, or null where the machine has not the registers.
llvm::Value* ProgramEmitter::in_turns(llvm::IRBuilder<>& b, const Step& product,
                                      const Interleaved& where) {
  if (!may_interleave(target_, kernels(product.product_dtype).tile)) return nullptr;
  const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
  llvm::Value* one_row = b.CreateICmpEQ(size(where.rows), b.getInt64(1));
  const auto at_least = [&](const Dim& dim, std::int64_t least) {
    return b.CreateICmpSGE(size(dim), b.getInt64(static_cast<std::uint64_t>(least)));
  };
  llvm::Value* many =
      b.CreateAnd(at_least(where.length, Interleaved::length_at_least), at_least(where.depth, 1));
  llvm::Value* least =
      b.CreateMul(team_threads_, b.getInt64(std::uint64_t{Interleaved::bytes_of_a_thread}));
  llvm::Value* large = b.CreateICmpSGE(size(where.weight_bytes), least);
  return b.CreateAnd(one_row, b.CreateAnd(many, large));
}

// Where the loop computes the others: those rows that its first turns need.
void ProgramEmitter::only_first_rows(llvm::IRBuilder<>& b, const Step& step, llvm::Value*& a,
                                     llvm::Value*& out, llvm::Value*& rows) {
  const Interleaved& where = *step.interleaved;
  llvm::Value* on = in_turns(b, step, where);
  if (on == nullptr) return;
  llvm::Value* first = b.getInt64(std::uint64_t{interleaved_rows});
  if (where.reverse) {
    const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
    llvm::Type* element = memory_type(b.getContext(), step.graph->node(step.node).types[0].dtype);
    llvm::Value* before = b.CreateSub(size(where.length), first);
    before = b.CreateSelect(on, before, b.getInt64(0));
    a = b.CreateGEP(element, a, b.CreateMul(before, size(step.view_a.free_stride)));
    out = b.CreateGEP(element, out, b.CreateMul(before, size(step.shape.n)));
  }
  rows = b.CreateSelect(on, first, rows);
}

llvm::Function* ProgramEmitter::begin_turn_function(DType dtype) {
  llvm::Function*& out = begin_turns_[dtype];
  if (out != nullptr) return out;
  const MatmulKernels& made = kernels(dtype);
  const std::string prefix(to_string(dtype));
  out = emit_begin_turn(module_, target_, made.tile, made.gemm, prefix.c_str());
  generate_quickly(*out);
  return out;
}

// In front of the loop: what its turns need to know.
void ProgramEmitter::begin_interleaving(llvm::IRBuilder<>& b, const Step& loop) {
  if (!loop.interleaved || alone_) return;
  const Step& step = loop.interleaved->product[0];
  llvm::Value* on = in_turns(b, step, *loop.interleaved);
  if (on == nullptr) return;
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  llvm::StructType* type = interleaved_type(b.getContext(), kernels(step.product_dtype).tile);
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> at_entry(&entry, entry.begin());
  llvm::AllocaInst* state = at_entry.CreateAlloca(type);
  state->setAlignment(llvm::Align(64));
  interleaved_ = Interleaving{&step, on, state, counters_.size() + 1};
  const auto size = [&](const Dim& dim) { return extent(b, dim_table_, dim); };
  const auto store = [&](unsigned field, llvm::Value* value) {
    b.CreateStore(value, b.CreateStructGEP(type, state, field));
  };
  emit_if(
      b, on,
      [&] {
        b.CreateMemSet(state, b.getInt8(0),
                       module_.getDataLayout().getTypeAllocSize(type).getFixedValue(),
                       llvm::Align(64));
        llvm::Value* bytes = b.getInt64(size_of(dtype));
        store(interleaved_all_a,
              b.CreateGEP(memory_type(b.getContext(), dtype), pointer(b, step.in[0], dtype),
                          size(step.view_a.offset)));
        store(interleaved_all_c, pointer(b, step.out[0], dtype));
        store(interleaved_a_m, b.CreateMul(size(step.view_a.free_stride), bytes));
        store(interleaved_a_k, b.CreateMul(size(step.view_a.contract_stride), bytes));
        store(interleaved_packed, pointer(b, step.in[1], dtype));
        store(interleaved_n, size(step.shape.n));
        store(interleaved_k, size(step.shape.k));
        store(interleaved_length, size(loop.interleaved->length));
        store(interleaved_reverse, b.getInt64(loop.interleaved->reverse ? 1 : 0));
        store(interleaved_thread, thread_);
        store(interleaved_threads, threads_);
      },
      [] {});
}

void ProgramEmitter::begin_interleaved_turn(llvm::IRBuilder<>& b, llvm::Value* turn) {
  if (!interleaved_ || counters_.size() != interleaved_->level) return;
  const Interleaving& now = *interleaved_;
  llvm::Function* begin = begin_turn_function(now.product->product_dtype);
  emit_if(
      b, now.on,
      [&] {
        b.CreateCall(begin, {now.state, turn});
      },
      [] {});
}

// Calls the product of a turn's rows, beside which others may be computed.
void ProgramEmitter::call_one_row(llvm::IRBuilder<>& b, const Step& step, ProductKind kind,
                                  const std::vector<llvm::Value*>& arguments) {
  llvm::Function* alone = product_kernel(step.product_dtype, kind);
  const bool beside =
      interleaved_ && counters_.size() == interleaved_->level &&
      may_have_beside(step, *interleaved_->product, interleaved_->product->interleaved->rows) &&
      (kind == ProductKind::one_row || kind == ProductKind::any_rows);
  if (!beside) {
    b.CreateCall(alone, arguments);
    return;
  }
  llvm::Function* both = product_kernel(step.product_dtype, ProductKind::interleaved_row);
  std::vector<llvm::Value*> with_state = arguments;
  with_state.push_back(interleaved_->state);
  emit_if(
      b, interleaved_->on, [&] { b.CreateCall(both, with_state); },
      [&] { b.CreateCall(alone, arguments); });
}

}  // namespace treadle
