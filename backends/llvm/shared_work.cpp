// Work that threads share out while they do it.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/work_share_internal.h"

namespace treadle {

namespace {

// A thread's part is done in so many chunks, so that there is something to take till
// shortly before its end.
constexpr std::uint64_t chunks_of_share = 8;

}  // namespace

// For work of the entry function that has that number (Step::shared), if any.
ProgramEmitter::SharedWork ProgramEmitter::shared_work(llvm::IRBuilder<>& b, int shared) {
  SharedWork out{
      llvm::ConstantPointerNull::get(b.getPtrTy()),          context_, thread_, threads_, ticks_,
      b.getInt64(static_cast<std::uint64_t>(steps_emitted_))};
  if (!profiled_) out.ticks = llvm::ConstantPointerNull::get(b.getPtrTy());
  if (own_rows_) {
    out.thread = own_rows_->thread;
    out.threads = own_rows_->threads;
  }
  if (shared < 0) return out;
  llvm::Value* all = b.CreateLoad(b.getPtrTy(), b.CreateStructGEP(context_type_, context_, 13));
  llvm::Value* number = b.getInt64(static_cast<std::uint64_t>(shared));
  out.shares = share_at(b, all, b.CreateMul(out.threads, number));
  return out;
}

// The last arguments of a product kernel that is shared out while it is done.
void ProgramEmitter::add_shared_work(llvm::IRBuilder<>& b, const Step& step,
                                     std::vector<llvm::Value*>& arguments) {
  const SharedWork work = shared_work(b, step.shared);
  arguments.insert(arguments.end(), {work.shares, work.context, work.ticks, work.kernel});
}

// Half of what another thread has left, into `taken`.
void ProgramEmitter::take_work(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* turns,
                               llvm::Value* unit, llvm::Value* taken) {
  llvm::Value* const context = std::exchange(context_, of.context);
  call_out(b, "treadle_take_work", 14,
           {of.shares, of.threads, turns, unit, taken, of.ticks, of.kernel});
  context_ = context;
}

// Does its own part and then goes on with parts of others as long as there are some: items
// begin ... end - 1 in turns of `share` from `first_turn` on.
void ProgramEmitter::emit_in_turns(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* begin,
                                   llvm::Value* end, llvm::Value* turns, llvm::Value* chunk,
                                   std::int64_t unit, const TurnsOfItems& work) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::Value *zero = b.getInt64(0), *taken = work_on_stack(b, sizeof(TakenWork));
  llvm::Value* shared = b.CreateIsNotNull(of.shares);
  llvm::Value* unshared = emit_unshared(b);
  llvm::Value* own = b.CreateSelect(shared, share_at(b, of.shares, of.thread), unshared);
  emit_share(b, own, begin, b.CreateSub(end, begin), chunk);
  auto* before = b.GetInsertBlock();
  auto* items = llvm::BasicBlock::Create(b.getContext(), "items", function);
  auto* again = llvm::BasicBlock::Create(b.getContext(), "again", function);
  auto* after = llvm::BasicBlock::Create(b.getContext(), "after", function);
  b.CreateBr(items);
  b.SetInsertPoint(items);
  const auto phi = [&](llvm::Value* first) {
    llvm::PHINode* out = b.CreatePHI(first->getType(), 2);
    out->addIncoming(first, before);
    return out;
  };
  // What was taken is nobody else's.
  llvm::PHINode *share = phi(own), *from = phi(begin), *to = phi(end), *first_turn = phi(zero);
  work(from, to, share, first_turn);
  b.CreateCondBr(shared, again, after);
  b.SetInsertPoint(again);
  take_work(b, of, turns, b.getInt64(static_cast<std::uint64_t>(unit)), taken);
  llvm::Value* count = load_work(b, taken, offsetof(TakenWork, count));
  llvm::Value* next = load_work(b, taken, offsetof(TakenWork, begin));
  share->addIncoming(unshared, again);
  from->addIncoming(next, again);
  to->addIncoming(b.CreateAdd(next, count), again);
  first_turn->addIncoming(load_work(b, taken, offsetof(TakenWork, first_turn)), again);
  b.CreateCondBr(b.CreateICmpNE(count, zero), items, after);
  b.SetInsertPoint(after);
}

// An eighth of so many items, `least` or a multiple of it.
llvm::Value* ProgramEmitter::chunk_of(llvm::IRBuilder<>& b, llvm::Value* count,
                                      std::int64_t least) {
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1);
  const auto unit = static_cast<std::uint64_t>(least);
  llvm::Value* more = b.CreateSub(b.CreateSelect(b.CreateICmpEQ(count, zero), one, count), one);
  llvm::Value* units = b.CreateAdd(b.CreateUDiv(more, b.getInt64(unit * chunks_of_share)), one);
  return b.CreateMul(units, b.getInt64(unit));
}

// The same for items that are done but once, `chunk` at a time; `least` or a multiple of it
// goes to another thread.
void ProgramEmitter::emit_in_chunks(llvm::IRBuilder<>& b, const SharedWork& of, llvm::Value* begin,
                                    llvm::Value* end, llvm::Value* chunk, std::int64_t least,
                                    const Items& work) {
  llvm::Value* zero = b.getInt64(0);
  emit_in_turns(b, of, begin, end, zero, chunk, least,
                [&](llvm::Value* from, llvm::Value* to, llvm::Value* share, llvm::Value*) {
                  llvm::Value* all = b.CreateSub(to, from);
                  emit_loop(b, zero, all, chunk, [&](llvm::Value* at) {
                    llvm::Value* left = emit_begin_turn(b, share, all);
                    llvm::Value* chunk_end = b.CreateAdd(at, chunk);
                    chunk_end = b.CreateSelect(b.CreateICmpSLT(chunk_end, left), chunk_end, left);
                    emit_if(
                        b, b.CreateICmpSLT(at, chunk_end),
                        [&] { work(b.CreateAdd(from, at), b.CreateAdd(from, chunk_end)); }, [] {});
                  });
                });
}

// All turns of a loop for rows of this thread's own, then for some of another's, from the
// turn on that the other would begin next: cores differ, and others use them too.
void ProgramEmitter::emit_shared_loop(llvm::IRBuilder<>& b, const Step& step) {
  OwnRows& own = *own_rows_;
  llvm::Value* one = b.getInt64(1);
  SharedWork work = shared_work(b, step.shared);
  auto* null = llvm::ConstantPointerNull::get(b.getPtrTy());
  work.shares = b.CreateSelect(own.apart, work.shares, null);
  llvm::Value* length = extent(b, dim_table_, step.length);
  // Fewer rows than a tile has would leave it half empty.
  emit_in_turns(b, work, own.begin, b.CreateAdd(own.begin, own.count), length, b.getInt64(0),
                rows_of_tile,
                [&](llvm::Value* from, llvm::Value* to, llvm::Value* share, llvm::Value* first) {
                  own.begin = from;
                  llvm::Value* rows = b.CreateSub(to, from);
                  emit_loop(b, first, length, one, [&](llvm::Value* turn) {
                    own.count = emit_begin_turn(b, share, rows);
                    emit_turn(b, step, turn);
                    emit_end_turn(b, share, b.CreateAdd(turn, one));
                  });
                  // What is waited behind is the last kernel of a turn.
                  work.kernel = b.getInt64(static_cast<std::uint64_t>(steps_emitted_ - 1));
                });
}

}  // namespace treadle
