// Scans, whose turns a thread may do for rows of its own.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "runtime/barrier.h"

namespace treadle {

void ProgramEmitter::emit_scan(llvm::IRBuilder<>& b, const Step& step) {
  if (!step.bounds.empty()) return emit_bound_scan(b, step);
  emit_steps(b, step.before);
  emit_barrier_unless_one(b, std::nullopt);
  emit_loop_of(b, step);
  if (step.unless_one || step.own_rows) emit_barrier_unless_one(b, std::nullopt);
}

// All turns, without the barriers in front and behind.
void ProgramEmitter::emit_loop_of(llvm::IRBuilder<>& b, const Step& step) {
  const auto loop = [&] {
    emit_loop(b, b.getInt64(0), extent(b, dim_table_, step.length), b.getInt64(1),
              [&](llvm::Value* i) { emit_turn(b, step, i); });
  };
  begin_interleaving(b, step);
  if (!step.own_rows || own_rows_ || alone_)
    loop();
  else if (step.shared < 0)
    emit_own_rows(b, *step.own_rows, step.own_rows_least, loop);
  else
    emit_own_rows(b, *step.own_rows, step.own_rows_least, [&] { emit_shared_loop(b, step); });
  if (step.interleaved) interleaved_.reset();
}

// Two loops (loop_pairs.h): one after the other, or each by a half of the threads, which
// meets at a barrier of its own. Neither uses what the other writes, so that nobody waits
// between them.
void ProgramEmitter::emit_pair(llvm::IRBuilder<>& b, const Step& first, const Step& second) {
  emit_steps(b, first.before);
  emit_barrier(b);
  llvm::Value *threads = threads_, *thread = thread_, *barrier = barrier_;
  llvm::Value* odd = b.CreateTrunc(threads, b.getInt1Ty());
  llvm::Value* halves = b.CreateNot(odd);  // else the smaller one would be waited for
  if (first.own_rows)                      // both have as many
    halves =
        b.CreateAnd(halves, b.CreateNot(enough_rows(b, *first.own_rows, first.own_rows_least)));
  llvm::Value* half = b.CreateUDiv(threads, b.getInt64(2));
  llvm::Value* in_second = b.CreateICmpUGE(thread, half);
  llvm::Value* barriers =
      b.CreateLoad(b.getPtrTy(), b.CreateStructGEP(context_type_, context_, 15));
  const auto run = [&](const Step& step, llvm::Value* mine, llvm::Value* begin,
                       llvm::Value* meeting) {
    emit_if(
        b, b.CreateOr(mine, b.CreateNot(halves)),
        [&] {
          thread_ = b.CreateSelect(halves, b.CreateSub(thread, begin), thread);
          threads_ = b.CreateSelect(halves, half, threads);
          barrier_ = b.CreateSelect(halves, meeting, barrier);
          emit_loop_of(b, step);
          thread_ = thread;
          threads_ = threads;
          barrier_ = barrier;
        },
        [] {});
  };
  run(first, b.CreateNot(in_second), b.getInt64(0), barriers);
  run(second, in_second, half, b.CreateConstGEP1_64(b.getInt8Ty(), barriers, sizeof(TeamBarrier)));
  emit_barrier(b);
}

void ProgramEmitter::emit_turn(llvm::IRBuilder<>& b, const Step& step, llvm::Value* turn) {
  counters_.push_back(turn);
  begin_interleaved_turn(b, turn);
  emit_steps(b, step.body);
  emit_barrier_unless_one(b, step.unless_one);
  counters_.pop_back();
}

// Steps that each thread does for its own rows, if it has enough, without waiting.
void ProgramEmitter::emit_together(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  llvm::Value* apart = nullptr;
  emit_own_rows(b, *steps[0].own_rows, steps[0].own_rows_least, [&] {
    apart = own_rows_->apart;
    // What the loops of the run read from in front of it they wait for themselves
    // otherwise, each where it begins.
    emit_if(
        b, apart, [&] { emit_barrier(b); }, [] {});
    for (const Step& step : steps) {
      if (step.barrier_before) emit_barrier_unless_one(b, step.unless_one);
      emit_step(b, step);
    }
  });
  emit_if(
      b, apart, [&] { emit_barrier(b); }, [] {});
}

// A run of steps (row_runs.h), a block of rows at a time where each thread has rows for
// one; blocks go from thread to thread. With fewer rows it is one block, in which threads
// share out each step and meet where they must.
void ProgramEmitter::emit_row_run(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  const RowRun& run = *steps[0].run;
  llvm::Value* apart = nullptr;
  emit_own_rows(b, run.rows, run.least, [&] {
    OwnRows& own = *own_rows_;
    apart = own.apart;
    emit_if(
        b, apart, [&] { emit_barrier(b); }, [] {});
    SharedWork work = shared_work(b, run.shared);
    auto* null = llvm::ConstantPointerNull::get(b.getPtrTy());
    work.shares = b.CreateSelect(apart, work.shares, null);
    llvm::Value* begin = own.begin;
    llvm::Value* end = b.CreateAdd(begin, own.count);
    llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1);
    llvm::Value* all = b.CreateSelect(b.CreateICmpEQ(own.count, zero), one, own.count);
    llvm::Value* blocks = enough_rows(b, run.rows, run.least);
    llvm::Value* block = b.getInt64(static_cast<std::uint64_t>(run.block));
    llvm::Value* chunk = b.CreateSelect(blocks, block, all);
    emit_in_chunks(b, work, begin, end, chunk, rows_of_tile,
                   [&](llvm::Value* from, llvm::Value* to) {
                     again_ = b.CreateICmpNE(from, begin);
                     own.begin = from;
                     own.count = b.CreateSub(to, from);
                     llvm::Value* place = b.CreateMul(own.thread, block);
                     own.block_shift = b.CreateSelect(blocks, b.CreateSub(place, from), zero);
                     for (const Step& step : steps) {
                       if (step.barrier_before) emit_barrier_unless_one(b, step.unless_one);
                       emit_step(b, step);
                     }
                     again_ = nullptr;
                     work.kernel = b.getInt64(static_cast<std::uint64_t>(steps_emitted_ - 1));
                   });
  });
  emit_if(
      b, apart, [&] { emit_barrier(b); }, [] {});
}

// Is the product in that buffer computed in the turns of its loop?
llvm::Value* ProgramEmitter::is_deferred(llvm::IRBuilder<>& b, int buffer) {
  const BufferPlan::Turn& turn = *plan_.buffers[static_cast<std::size_t>(buffer)].turn;
  return enough_rows(b, turn.rows, turn.least);
}

// Are there so many rows for each thread of the team?
llvm::Value* ProgramEmitter::enough_rows(llvm::IRBuilder<>& b, const Dim& rows, const Dim& least) {
  return b.CreateICmpUGE(extent(b, dim_table_, rows),
                         b.CreateMul(team_threads_, extent(b, dim_table_, least)));
}

// Thread i of n does rows r * i / n ... r * (i + 1) / n - 1 of r, in pairs, as if it
// were the only thread, where those are enough: for all threads, which a half of them takes
// for granted that they are not.
void ProgramEmitter::emit_own_rows(llvm::IRBuilder<>& b, const Dim& rows, const Dim& wanted,
                                   const std::function<void()>& work) {
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1), *two = b.getInt64(2);
  llvm::Value *thread = team_thread_, *threads = team_threads_;
  llvm::Value *all = extent(b, dim_table_, rows), *of_half = thread_, *half = threads_;
  const auto first = [&](llvm::Value* i) {
    llvm::Value* row =
        b.CreateMul(b.CreateUDiv(b.CreateMul(b.CreateUDiv(all, two), i), threads), two);
    return b.CreateSelect(b.CreateICmpEQ(i, threads), all, row);
  };
  llvm::Value* apart = b.CreateAnd(enough_rows(b, rows, wanted), b.CreateICmpUGT(threads, one));
  llvm::Value* begin = first(thread);
  llvm::Value* count = b.CreateSub(first(b.CreateAdd(thread, one)), begin);
  own_rows_ = OwnRows{rows,
                      threads,
                      thread,
                      apart,
                      b.CreateSelect(apart, begin, zero),
                      b.CreateSelect(apart, count, all)};
  thread_ = b.CreateSelect(apart, zero, of_half);
  threads_ = b.CreateSelect(apart, one, half);
  work();
  thread_ = of_half;
  threads_ = half;
  own_rows_.reset();
}

}  // namespace treadle
