// Where the time of a program's runs goes, kernel by kernel and thread by thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace treadle {

// Of one run, in milliseconds. A thread's times add up to the run's: it starts,
// runs kernels and waits at barriers, and has ended before the slowest thread has.
struct RunTimes {
  struct Kernel {
    std::int64_t calls = 0;
    double running = 0;
    double waiting = 0;  // at the barriers behind it
  };
  struct Thread {
    double starting = 0, ending = 0;
    double waiting = 0;  // at the barriers in front of the first kernel
    std::vector<Kernel> kernels;
  };
  double milliseconds = 0;
  std::vector<Thread> threads;
};

// What a thread does from one time to the next, in nanoseconds since the run's begin.
struct RunSpan {
  enum class Kind : std::uint8_t { kernel, barrier };
  Kind kind = Kind::kernel;
  std::int64_t kernel = -1;  // that runs, or the one in front of the barrier: -1 where none is
  std::int64_t begin = 0, end = 0;
};

// What one thread has measured, in ticks of the processor's counter.
struct ThreadTicks {
  struct alignas(64) Part {  // no two threads write to one cache line
    std::int64_t calls = 0;
    std::uint64_t running = 0, waiting = 0;
  };
  struct Span {
    RunSpan::Kind kind;
    std::int64_t kernel;
    std::uint64_t begin, end;
  };
  std::uint64_t first = 0, last = 0;
  std::vector<Part> parts;  // of kernel k at k + 1; at 0 what comes before kernel 0
  bool of_another = false;  // kernels work on rows that were taken from another thread
  bool keeps_spans = false;
  std::vector<Span> spans;

  void start();
  // Kernel k is ~k where this call is no other than one that was counted: a later block
  // of rows.
  void kernel_done(std::int64_t kernel);
  void kernel_ran(std::int64_t kernel);    // a part of a call
  void barrier_done(std::int64_t kernel);  // the kernel in front of the barrier, or -1
};

// Filled by the runs of a program that was compiled for it. Each thread reads the
// processor's counter whenever a kernel has ended or a barrier has opened, and adds
// the ticks since it last did to that kernel's; the kernels' code is the same as
// without.
class Profile {
 public:
  // Of the last run.
  RunTimes times() const;
  // Each thread's, one behind the other; of runs after keep_spans() alone.
  void keep_spans() { keeps_spans_ = true; }
  std::vector<std::vector<RunSpan>> spans() const;
  std::int64_t nanoseconds() const { return end_.nanoseconds - begin_.nanoseconds; }

  // For the program: a run begins, its threads start, it ends.
  void begin(int threads, std::size_t kernels);
  ThreadTicks& thread(int i) { return threads_[static_cast<std::size_t>(i)]; }
  void end();

 private:
  // The counter, and the clock that says how long a tick is.
  struct Instant {
    std::uint64_t ticks = 0;
    std::int64_t nanoseconds = 0;
  };
  static Instant now();

  double nanoseconds_per_tick() const;

  Instant begin_, end_;
  bool keeps_spans_ = false;
  std::vector<ThreadTicks> threads_;
};

}  // namespace treadle

// ThreadTicks::kernel_done and barrier_done for compiled code.
extern "C" void treadle_kernel_done(void* ticks, std::int64_t kernel);
extern "C" void treadle_barrier_done(void* ticks, std::int64_t kernel);
