// Work that threads take from one another.
#include "runtime/work_share.h"

#include <array>
#include <thread>
#include <vector>

#include "runtime/profile.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

constexpr std::uint64_t one_turn = std::uint64_t{1} << 32;

// A thread that has begun so many turns, and ended all but the last of them.
void set(WorkShare& share, std::int64_t begin, std::int64_t count, std::int64_t chunk,
         std::uint64_t begun, std::uint64_t given = 0) {
  share.begin = begin;
  share.count = count;
  share.chunk = chunk;
  share.claimed = begun * one_turn + given;
  share.done = begun;
}

void check(const TakenWork& found, std::int64_t begin, std::int64_t count,
           std::int64_t first_turn) {
  CHECK(found.begin == begin);
  CHECK(found.count == count);
  CHECK(found.first_turn == first_turn);
}

}  // namespace

TEST_CASE("half of what is left is taken from the thread that has most left to do") {
  std::array<WorkShare, 3> shares;
  set(shares[0], 0, 32, 0, 9);
  set(shares[1], 32, 32, 0, 7);
  set(shares[2], 64, 32, 0, 8);
  check(take_work(shares.data(), 3, 10, 8), 48, 16, 7);
  CHECK(shares[1].claimed == 7 * one_turn + 16);
  // The third has 2 turns of 32 left, the second 3 of 16.
  check(take_work(shares.data(), 3, 10, 8), 80, 16, 8);
  check(take_work(shares.data(), 3, 10, 8), 40, 8, 7);
  // 8 are no two units of 8; 16 are, of the first and the third.
  check(take_work(shares.data(), 3, 10, 8), 16, 16, 9);
  check(take_work(shares.data(), 3, 10, 8), 72, 8, 8);
  check(take_work(shares.data(), 3, 10, 8), 8, 8, 9);
  check(take_work(shares.data(), 3, 10, 8), 0, 0, 0);
  // Units are whole.
  set(shares[0], 0, 31, 0, 2);
  check(take_work(shares.data(), 1, 10, 4), 19, 12, 2);
}

TEST_CASE("nothing is taken before a thread begins, nor when it has begun its last turn") {
  WorkShare share;
  set(share, 0, 64, 0, 0);
  check(take_work(&share, 1, 10, 8), 0, 0, 0);
  set(share, 0, 64, 0, 10);
  check(take_work(&share, 1, 10, 8), 0, 0, 0);
}

TEST_CASE("of work in chunks what no turn has begun is taken, at once") {
  WorkShare share;
  set(share, 100, 40, 5, 4);  // items 120 to 139 are left
  share.done = 0;
  check(take_work(&share, 1, 0, 1), 130, 10, 0);
  check(take_work(&share, 1, 0, 1), 125, 5, 0);
  check(take_work(&share, 1, 0, 2), 123, 2, 0);
  check(take_work(&share, 1, 0, 2), 0, 0, 0);
  check(take_work(&share, 1, 0, 1), 122, 1, 0);
  check(take_work(&share, 1, 0, 1), 121, 1, 0);
  // One is left, for the thread itself.
  check(take_work(&share, 1, 0, 1), 0, 0, 0);
  // Its next turn would begin behind what is left.
  share.claimed += one_turn;
  check(take_work(&share, 1, 0, 1), 0, 0, 0);
}

TEST_CASE("each turn of each item is done once, in order, whoever takes it") {
  constexpr std::int64_t threads = 4, each = 24, turns = 40;
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::array<WorkShare, threads> shares;
    std::vector<std::int64_t> next(threads * each, 0);  // the turn that an item is to do
    std::array<std::int64_t, threads> wrong{};
    const auto run = [&](std::int64_t thread) {
      const auto work = [&](const TakenWork& items, WorkShare& share) {
        for (std::int64_t turn = items.first_turn; turn < turns; ++turn) {
          const std::uint64_t claimed = share.claimed.fetch_add(one_turn);
          const auto count = items.count - static_cast<std::int64_t>(claimed % one_turn);
          for (std::int64_t i = items.begin; i < items.begin + count; ++i)
            wrong[static_cast<std::size_t>(thread)] += next[static_cast<std::size_t>(i)]++ != turn;
          // The first thread is slow.
          if (thread == 0) std::this_thread::yield();
          share.done.store(static_cast<std::uint64_t>(turn + 1), std::memory_order_release);
        }
      };
      WorkShare& own = shares[static_cast<std::size_t>(thread)];
      own.begin = thread * each;
      own.count = each;
      work({thread * each, each, 0}, own);
      while (true) {
        const TakenWork taken = take_work(shares.data(), threads, turns, 2);
        if (taken.count == 0) return;
        WorkShare unshared;
        work(taken, unshared);
      }
    };
    std::vector<std::thread> others;
    for (std::int64_t t = 1; t < threads; ++t) others.emplace_back(run, t);
    run(0);
    for (std::thread& other : others) other.join();
    for (const std::int64_t turn : next) REQUIRE(turn == turns);
    for (const std::int64_t count : wrong) REQUIRE(count == 0);
  }
}

TEST_CASE("a profile counts work that was taken as time, but not as calls") {
  WorkShare share;
  set(share, 0, 64, 0, 5);
  Profile profile;
  profile.begin(1, 2);
  ThreadTicks& ticks = profile.thread(0);
  ticks.start();
  ticks.kernel_done(1);
  TakenWork taken;
  treadle_take_work(&share, 1, 6, 8, &taken, &ticks, 1);
  CHECK(taken.count == 32);
  ticks.kernel_done(0);
  ticks.kernel_done(1);
  treadle_take_work(&share, 1, 5, 8, &taken, &ticks, 1);
  CHECK(taken.count == 0);
  ticks.kernel_done(0);
  profile.end();
  const RunTimes times = profile.times();
  CHECK(times.threads[0].kernels[0].calls == 1);
  CHECK(times.threads[0].kernels[1].calls == 1);
  CHECK(times.threads[0].kernels[1].waiting > 0);
}
