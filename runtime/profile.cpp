#include "runtime/profile.h"

#include <chrono>

namespace treadle {
namespace {

std::int64_t clock_nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// The counter of x86 runs at one rate on all cores, and reading it takes a third
// of what the clock does.
inline std::uint64_t ticks() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(clock_nanoseconds());
#endif
}

}  // namespace

void ThreadTicks::start() { first = last = ticks(); }

void ThreadTicks::kernel_done(std::int64_t kernel) {
  const bool again = kernel < 0;
  if (again) kernel = ~kernel;
  if (!of_another && !again) ++parts[static_cast<std::size_t>(kernel + 1)].calls;
  kernel_ran(kernel);
}

void ThreadTicks::kernel_ran(std::int64_t kernel) {
  const std::uint64_t now = ticks();
  parts[static_cast<std::size_t>(kernel + 1)].running += now - last;
  if (keeps_spans) spans.push_back({RunSpan::Kind::kernel, kernel, last, now});
  last = now;
}

void ThreadTicks::barrier_done(std::int64_t kernel) {
  const std::uint64_t now = ticks();
  parts[static_cast<std::size_t>(kernel + 1)].waiting += now - last;
  if (keeps_spans) spans.push_back({RunSpan::Kind::barrier, kernel, last, now});
  last = now;
}

Profile::Instant Profile::now() { return {ticks(), clock_nanoseconds()}; }

void Profile::begin(int threads, std::size_t kernels) {
  threads_.resize(static_cast<std::size_t>(threads));
  for (ThreadTicks& thread : threads_) {
    thread.parts.assign(kernels + 1, {});
    thread.of_another = false;
    thread.keeps_spans = keeps_spans_;
    thread.spans.clear();
  }
  begin_ = now();
}

void Profile::end() { end_ = now(); }

double Profile::nanoseconds_per_tick() const {
  return static_cast<double>(nanoseconds()) / static_cast<double>(end_.ticks - begin_.ticks);
}

RunTimes Profile::times() const {
  const double tick = nanoseconds_per_tick() * 1e-6;
  const auto milliseconds = [&](std::uint64_t ticks) { return static_cast<double>(ticks) * tick; };
  RunTimes out;
  out.milliseconds = milliseconds(end_.ticks - begin_.ticks);
  for (const ThreadTicks& from : threads_) {
    RunTimes::Thread& to = out.threads.emplace_back();
    to.starting = milliseconds(from.first - begin_.ticks);
    to.ending = milliseconds(end_.ticks - from.last);
    to.waiting = milliseconds(from.parts[0].waiting);
    for (std::size_t k = 1; k < from.parts.size(); ++k)
      to.kernels.push_back({from.parts[k].calls, milliseconds(from.parts[k].running),
                            milliseconds(from.parts[k].waiting)});
  }
  return out;
}

std::vector<std::vector<RunSpan>> Profile::spans() const {
  const double tick = nanoseconds_per_tick();
  const auto since_begin = [&](std::uint64_t ticks) {
    return static_cast<std::int64_t>(static_cast<double>(ticks - begin_.ticks) * tick);
  };
  std::vector<std::vector<RunSpan>> out;
  for (const ThreadTicks& thread : threads_) {
    std::vector<RunSpan>& spans = out.emplace_back();
    for (const ThreadTicks::Span& span : thread.spans)
      spans.push_back({span.kind, span.kernel, since_begin(span.begin), since_begin(span.end)});
  }
  return out;
}

}  // namespace treadle

extern "C" void treadle_kernel_done(void* ticks, std::int64_t kernel) {
  static_cast<treadle::ThreadTicks*>(ticks)->kernel_done(kernel);
}

extern "C" void treadle_barrier_done(void* ticks, std::int64_t kernel) {
  static_cast<treadle::ThreadTicks*>(ticks)->barrier_done(kernel);
}
