// The barrier of a thread team, callable from compiled code.
#pragma once
#include <atomic>
#include <cstdint>

namespace treadle {

// A plain struct of fixed layout; compiled code passes its address to
// treadle_barrier and reads nothing of it. What changes shares one cache line:
// with it on two, a barrier of two threads took five times as long.
//   offset  0: generation  (u32) how often the barrier has opened
//   offset  4: arrived     (u32) threads that wait for it to open
//   offset  8: sleepers    (u32) those of them that stopped spinning
//   offset 64: count       (u32) threads of the team
//   offset 68: spins       (u32) rounds to spin before sleeping
struct TeamBarrier {
  explicit TeamBarrier(std::uint32_t threads);

  alignas(64) std::atomic<std::uint32_t> generation{0};
  std::atomic<std::uint32_t> arrived{0};
  std::atomic<std::uint32_t> sleepers{0};
  alignas(64) std::uint32_t count;
  std::uint32_t spins;

  // Returns when `count` threads have called it. What a thread wrote before is
  // seen by every thread after. Spins for some microseconds, then sleeps; with
  // more threads than processors it sleeps almost at once.
  void wait();
};
static_assert(sizeof(TeamBarrier) == 128 && sizeof(std::atomic<std::uint32_t>) == 4);

// Tells the processor that a loop waits for another thread.
inline void pause_processor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// The processors this process may run on.
std::uint32_t available_processors();

}  // namespace treadle

// TeamBarrier::wait for compiled code.
extern "C" void treadle_barrier(void* barrier);
