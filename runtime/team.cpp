#include "runtime/team.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

std::uint32_t checked_size(int threads) {
  if (threads < 1 || threads > 1024)
    throw_user_error("T0980",
                     fmt::format("{} threads were asked for: 1 to 1024 are possible", threads));
  return static_cast<std::uint32_t>(threads);
}

}  // namespace

Team::Team(int threads)
    : barrier_(checked_size(threads)),
      halves_{TeamBarrier(barrier_.count / 2), TeamBarrier(barrier_.count / 2)},
      start_(barrier_.count),
      finish_(barrier_.count) {
  for (TeamBarrier& half : halves_) half.spins = barrier_.spins;
  workers_.reserve(barrier_.count - 1);
  try {
    for (int thread = 1; thread < threads; ++thread)
      workers_.emplace_back([this, thread] { work(thread); });
  } catch (const std::system_error&) {
    // Those that did start wait at `start_` for a full team: stand in for the missing.
    ending_ = true;
    start_.arrived += start_.count - 1 - static_cast<std::uint32_t>(workers_.size());
    start_.wait();
    for (std::thread& worker : workers_) worker.join();
    throw_user_error("T0980", fmt::format("the system does not allow {} threads", threads));
  }
}

Team::~Team() {
  ending_ = true;
  start_.wait();
  for (std::thread& worker : workers_) worker.join();
}

void Team::work(int thread) {
  for (;;) {
    start_.wait();
    if (ending_) return;
    call(thread);
    finish_.wait();
  }
}

void Team::call(int thread) noexcept {
  try {
    function_(context_, thread);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void Team::run(Function function, void* context) {
  ensure(!running_, "team", "run() was called by a function that the team runs");
  running_ = true;
  function_ = function;
  context_ = context;
  start_.wait();
  call(0);
  finish_.wait();
  running_ = false;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Team::run(const std::function<void(int thread)>& function) {
  run([](void* context,
         int thread) { (*static_cast<const std::function<void(int)>*>(context))(thread); },
      const_cast<void*>(static_cast<const void*>(&function)));
}

}  // namespace treadle
