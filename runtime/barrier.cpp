#include "runtime/barrier.h"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace treadle {
namespace {

// About 20 microseconds: longer than any gap between the phases of a step,
// shorter than what a sleeping machine would notice.
constexpr std::uint32_t patient_spins = 1500;
constexpr std::uint32_t hasty_spins = 20;

}  // namespace

std::uint32_t available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0)
    return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&set)));
  return std::max(1U, std::thread::hardware_concurrency());
}

TeamBarrier::TeamBarrier(std::uint32_t threads)
    : count(threads), spins(threads <= available_processors() ? patient_spins : hasty_spins) {}

void TeamBarrier::wait() {
  if (count == 1) return;
  // Read before arriving: once all have arrived it may change at any time.
  const std::uint32_t now = generation.load(std::memory_order_relaxed);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived.store(0, std::memory_order_relaxed);
    // Sequentially consistent, as is the sleeper's side: either the sleeper
    // sees the new generation, or this thread sees the sleeper.
    generation.store(now + 1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) != 0) generation.notify_all();
    return;
  }
  for (std::uint32_t i = 0; i < spins; ++i) {
    if (generation.load(std::memory_order_acquire) != now) return;
    pause_processor();
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (generation.load(std::memory_order_seq_cst) == now) generation.wait(now);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace treadle

extern "C" void treadle_barrier(void* barrier) {
  static_cast<treadle::TeamBarrier*>(barrier)->wait();
}
