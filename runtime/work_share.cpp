#include "runtime/work_share.h"

#include <thread>

#include "runtime/barrier.h"
#include "runtime/profile.h"

namespace treadle {
namespace {

constexpr std::uint64_t one_turn = std::uint64_t{1} << 32;
constexpr int patient_spins = 1000;

// What is left of a thread's part, as `claimed` says.
struct Left {
  Left(const WorkShare& share, std::uint64_t claimed, std::int64_t turns)
      : begun(static_cast<std::int64_t>(claimed / one_turn)),
        end(share.count - static_cast<std::int64_t>(claimed % one_turn)),
        items(end - begun * share.chunk),
        work(share.chunk != 0 ? items : (turns - begun) * items) {}
  std::int64_t begun, end, items, work;
};

}  // namespace

void WorkShare::reset() {
  claimed.store(0, std::memory_order_relaxed);
  done.store(0, std::memory_order_relaxed);
}

TakenWork take_work(WorkShare* shares, std::int64_t threads, std::int64_t turns,
                    std::int64_t unit) {
  while (true) {
    WorkShare* most = nullptr;
    std::uint64_t claimed = 0;
    std::int64_t most_work = 0;
    for (WorkShare* share = shares; share != shares + threads; ++share) {
      const std::uint64_t seen = share->claimed.load(std::memory_order_acquire);
      // What it has is written only once a turn is begun.
      if (seen < one_turn) continue;
      const Left left(*share, seen, turns);
      if (left.items < 2 * unit || left.work <= most_work) continue;
      most_work = left.work;
      most = share;
      claimed = seen;
    }
    if (most == nullptr) return {};
    const Left left(*most, claimed, turns);
    const std::int64_t taken = left.items / 2 / unit * unit;
    if (!most->claimed.compare_exchange_strong(claimed, claimed + static_cast<std::uint64_t>(taken),
                                               std::memory_order_acq_rel))
      continue;
    const std::int64_t begin = most->begin + left.end - taken;
    if (most->chunk != 0) return {begin, taken, 0};
    // It may take its time where others use its core too.
    const auto begun = static_cast<std::uint64_t>(left.begun);
    for (int spins = 0; most->done.load(std::memory_order_acquire) < begun; ++spins) {
      if (spins < patient_spins)
        pause_processor();
      else
        std::this_thread::yield();
    }
    return {begin, taken, left.begun};
  }
}

}  // namespace treadle

extern "C" void treadle_take_work(void* shares, std::int64_t threads, std::int64_t turns,
                                  std::int64_t unit, void* taken, void* ticks,
                                  std::int64_t kernel) {
  using namespace treadle;
  auto* const thread = static_cast<ThreadTicks*>(ticks);
  if (thread != nullptr) thread->kernel_ran(kernel);
  const TakenWork work = take_work(static_cast<WorkShare*>(shares), threads, turns, unit);
  *static_cast<TakenWork*>(taken) = work;
  if (thread == nullptr) return;
  thread->barrier_done(kernel);
  thread->of_another = work.count != 0;
}
