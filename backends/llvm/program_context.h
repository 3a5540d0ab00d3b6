// What compiled code is given. The layout is that of the code.
#pragma once
#include <cstdint>

namespace treadle {

struct ProgramContext {
  void* const* buffers = nullptr;
  const std::int64_t* dims = nullptr;
  void* barrier = nullptr;
  std::int64_t threads = 1;
  void* const* runners = nullptr;  // NodeRunner
  std::int64_t dim_count = 0;      // of `dims`
  // Code has no other way out, so that it runs wherever it stands:
  void (*wait)(void* barrier) = nullptr;
  void (*prepare)(void* runner, std::int64_t thread, const void* b) = nullptr;
  void (*run)(void* runner, std::int64_t thread, const void* a, void* c) = nullptr;
  // Of a profiled program:
  void* const* ticks = nullptr;  // ThreadTicks of each thread
  void (*kernel_done)(void* ticks, std::int64_t kernel) = nullptr;
  void (*barrier_done)(void* ticks, std::int64_t kernel) = nullptr;
  std::int64_t prepares = 0;  // not 0: ProgramPlan::preparation comes first
  // WorkShare of each thread in shared step i from i * threads on, and treadle_take_work.
  void* shares = nullptr;
  void (*take_work)(void* shares, std::int64_t threads, std::int64_t turns, std::int64_t unit,
                    void* taken, void* ticks, std::int64_t kernel) = nullptr;
  void* half_barriers = nullptr;  // two: of the first half of the threads, of the second
};
using ProgramEntry = void(const ProgramContext*, std::int64_t thread);

}  // namespace treadle
