// A fixed set of threads that run one function together.
#pragma once
#include <array>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/barrier.h"

namespace treadle {

// Thread 0 is the caller of run(); the others are kept between runs, spinning
// briefly and then asleep. A team is used by one thread at a time.
class Team {
 public:
  // T0980 unless 1 <= threads <= 1024. More threads than processors work.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(barrier_.count); }

  // Calls function(context, thread) once on each thread, 0 <= thread < size(),
  // and returns when all have returned. An exception is passed on when all
  // have returned (of several, one); a function that waits at the barrier must
  // not throw, or the others wait for ever.
  using Function = void (*)(void* context, int thread);
  void run(Function function, void* context);
  void run(const std::function<void(int thread)>& function);

  // For the function that runs: all of the team meet here.
  TeamBarrier& barrier() { return barrier_; }
  // Two in a row, for functions that have a team of even size work in halves: the threads
  // of the first half meet at the first, the others at the second.
  TeamBarrier* half_barriers() { return halves_.data(); }

 private:
  void work(int thread);
  void call(int thread) noexcept;

  TeamBarrier barrier_;  // for the functions
  std::array<TeamBarrier, 2> halves_;
  TeamBarrier start_;   // a run begins, for all
  TeamBarrier finish_;  // a run has ended, for all
  Function function_ = nullptr;
  void* context_ = nullptr;
  bool running_ = false;
  bool ending_ = false;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> workers_;
};

}  // namespace treadle
