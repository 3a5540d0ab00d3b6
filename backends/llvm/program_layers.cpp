// Loops of which one follows the other some turns behind (loop_layers.h).
#include <algorithm>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "runtime/barrier.h"

namespace treadle {

namespace {

// Turns of a phase: a 32nd of all, but so many at least, since all threads meet twice in
// each, and at most. The turns of one phase are those for which one half waits at the
// beginning, and the other at the end.
constexpr std::uint64_t phases_wanted = 32, fewest_turns = 4, most_turns = 16;

// The first kernel of steps, in the order of the code.
int first_kernel(std::span<const Step> steps) {
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::scan && !step.turn) return step.kernel;
    for (const auto* inner : {&step.before, &step.body})
      if (const int found = first_kernel(*inner); found >= 0) return found;
  }
  return -1;
}

llvm::Value* smaller(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y) {
  return b.CreateSelect(b.CreateICmpULT(x, y), x, y);
}
llvm::Value* larger(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y) {
  return b.CreateSelect(b.CreateICmpULT(x, y), y, x);
}

}  // namespace

// Two loops and the steps between, in their order, or, where there are few rows, both loops at
// the same time. The kernels are the same.
void ProgramEmitter::emit_layers(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  const Step& first = steps.front();
  const auto number = [&](std::int64_t x) { return b.getInt64(static_cast<std::uint64_t>(x)); };
  // As LayersPlan::at_once.
  llvm::Value* length = extent(b, dim_table_, first.length);
  llvm::Value* halves = b.CreateNot(b.CreateTrunc(team_threads_, b.getInt1Ty()));
  halves =
      b.CreateAnd(halves, b.CreateNot(enough_rows(b, *first.own_rows, LayersPlan::rows_below)));
  halves = b.CreateAnd(halves, b.CreateICmpUGE(length, number(LayersPlan::length_at_least)));
  const int begin = steps_emitted_;
  emit_if(
      b, halves, [&] { emit_at_once(b, steps); },
      [&] {
        steps_emitted_ = begin;
        emit_scan(b, first);
        emit_steps(b, steps.subspan(1));
      });
}

void ProgramEmitter::emit_at_once(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  const Step &first = steps.front(), &second = steps.back();
  const auto emit_all = [&](std::span<const Step> some) {
    emit_barrier(b);
    steps_emitted_ = first_kernel(some);
    emit_steps(b, some);
  };
  // Barriers are planned for steps in their order.
  const auto emit_those = [&](Step::Layer layer) {
    for (std::size_t i = 1, end = i; i < steps.size(); i = end) {
      for (end = i; steps[end].layer == layer; ++end) continue;
      if (end > i) emit_all(steps.subspan(i, end - i));
      end = std::max(end, i + 1);
    }
  };
  emit_steps(b, first.before);
  emit_those(Step::Layer::front);
  if (!second.before.empty()) emit_all(second.before);
  emit_barrier(b);
  emit_phases(b, steps);
  emit_those(Step::Layer::back);
  emit_barrier(b);
}

// In each phase one half of the threads does some turns of the first loop and the other half
// as many of the second, those before; then all do the steps between for the rows of the
// turns that the first loop has just done.
void ProgramEmitter::emit_phases(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  const Step &first = steps.front(), &second = steps.back();
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1);
  llvm::Value *threads = threads_, *thread = thread_, *barrier = barrier_;
  llvm::Value* half = b.CreateUDiv(threads, b.getInt64(2));
  llvm::Value* in_second = b.CreateICmpUGE(thread, half);
  llvm::Value* rank = b.CreateSelect(in_second, b.CreateSub(thread, half), thread);
  llvm::Value* meeting = b.CreateLoad(b.getPtrTy(), b.CreateStructGEP(context_type_, context_, 15));
  llvm::Value* other = b.CreateConstGEP1_64(b.getInt8Ty(), meeting, sizeof(TeamBarrier));
  meeting = b.CreateSelect(in_second, other, meeting);
  llvm::Value* length = extent(b, dim_table_, first.length);
  llvm::Value* turns = b.CreateUDiv(length, b.getInt64(phases_wanted));
  turns = smaller(b, larger(b, turns, b.getInt64(fewest_turns)), b.getInt64(most_turns));
  llvm::Value* phases = b.CreateUDiv(b.CreateSub(b.CreateAdd(length, turns), one), turns);
  const auto loop = [&](const Step& step, llvm::Value* from, llvm::Value* to) {
    steps_emitted_ = first_kernel(step.body);
    emit_loop(b, from, to, one, [&](llvm::Value* turn) { emit_turn(b, step, turn); });
  };
  emit_loop(b, zero, b.CreateAdd(phases, one), one, [&](llvm::Value* phase) {
    llvm::Value* begin = smaller(b, b.CreateMul(phase, turns), length);
    llvm::Value* end = smaller(b, b.CreateAdd(begin, turns), length);
    llvm::Value* behind = b.CreateMul(b.CreateSub(larger(b, phase, one), one), turns);
    thread_ = rank;
    threads_ = half;
    barrier_ = meeting;
    emit_if(
        b, in_second, [&] { loop(second, behind, begin); }, [&] { loop(first, begin, end); });
    thread_ = thread;
    threads_ = threads;
    barrier_ = barrier;
    emit_barrier(b);
    emit_if(
        b, b.CreateICmpULT(begin, end),
        [&] {
          again_ = b.CreateICmpNE(phase, zero);
          emit_between(b, steps, begin, end);
          again_ = nullptr;
          emit_barrier(b);
        },
        [] {});
  });
}

// The steps between, for the rows of turns begin ... end - 1.
void ProgramEmitter::emit_between(llvm::IRBuilder<>& b, std::span<const Step> steps,
                                  llvm::Value* begin, llvm::Value* end) {
  const Step& first = steps.front();
  llvm::Value *zero = b.getInt64(0), *one = b.getInt64(1), *again = again_;
  llvm::Value *length = extent(b, dim_table_, first.length), *turns = b.CreateSub(end, begin);
  llvm::Value* from = first.reverse ? b.CreateSub(length, end) : begin;
  const auto work = [&](Step step, const Dim& all, llvm::Value* row, llvm::Value* count) {
    own_rows_ = OwnRows{all, threads_, thread_, b.getFalse(), row, count};
    // There are too few rows to take some of another thread's, or to defer them.
    step.shared = step.unless_deferred = -1;
    steps_emitted_ = step.kernel;
    emit_step(b, step);
    own_rows_.reset();
  };
  const Step* before = nullptr;
  for (const Step& step : steps) {
    if (step.layer != Step::Layer::between) continue;
    // Barriers are planned for all steps in their order.
    const bool next = before != nullptr && before + 1 == &step;
    if (before != nullptr && (!next || step.barrier_before)) emit_barrier(b);
    before = &step;
    if (!step.rows_of_turn) {
      llvm::Value* rows = extent(b, dim_table_, *first.own_rows);
      work(step, first.length * *first.own_rows, b.CreateMul(from, rows), b.CreateMul(turns, rows));
      continue;
    }
    const Dim& runs = *step.rows_of_turn;
    emit_loop(b, zero, extent(b, dim_table_, runs), one, [&](llvm::Value* run) {
      again_ = b.CreateOr(again, b.CreateICmpNE(run, zero));
      work(step, runs * first.length, b.CreateAdd(b.CreateMul(run, length), from), turns);
    });
    again_ = again;
  }
}

}  // namespace treadle
