#include "runtime/team.h"

#include <chrono>
#include <numeric>
#include <stdexcept>

#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("team: every thread runs once a run, any number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    Team team(threads);
    CHECK(team.size() == threads);
    std::vector<int> calls(static_cast<std::size_t>(threads), 0);
    for (int i = 0; i < 200; ++i)
      team.run([&](int thread) { ++calls[static_cast<std::size_t>(thread)]; });
    CHECK(calls == std::vector<int>(static_cast<std::size_t>(threads), 200));
  }
}

TEST_CASE("team: what is written before the barrier is seen after it") {
  for (const int threads : {1, 2, 3, 8}) {
    Team team(threads);
    std::vector<int> value(static_cast<std::size_t>(threads), 0);
    std::vector<int> wrong(static_cast<std::size_t>(threads), 0);
    team.run([&](int thread) {
      const auto me = static_cast<std::size_t>(thread);
      for (int round = 1; round <= 2000; ++round) {
        value[me] = round;
        treadle_barrier(&team.barrier());
        for (const int v : value) wrong[me] += v != round;
        treadle_barrier(&team.barrier());
      }
    });
    CHECK(wrong == std::vector<int>(static_cast<std::size_t>(threads), 0));
  }
}

TEST_CASE("team: a half meets without the other") {
  for (const int threads : {2, 4, 6}) {
    Team team(threads);
    const int half = threads / 2;
    std::vector<int> value(static_cast<std::size_t>(threads), 0);
    std::vector<int> wrong(static_cast<std::size_t>(threads), 0);
    team.run([&](int thread) {
      const auto me = static_cast<std::size_t>(thread);
      const int first = thread < half ? 0 : half;
      TeamBarrier& barrier = team.half_barriers()[thread < half ? 0 : 1];
      const int rounds = thread < half ? 1000 : 400;
      for (int round = 1; round <= rounds; ++round) {
        value[me] = round;
        treadle_barrier(&barrier);
        for (int other = first; other < first + half; ++other)
          wrong[me] += value[static_cast<std::size_t>(other)] != round;
        treadle_barrier(&barrier);
      }
    });
    CHECK(wrong == std::vector<int>(static_cast<std::size_t>(threads), 0));
  }
}

TEST_CASE("team: sleeping threads wake, at the barrier and between runs") {
  Team team(3);
  int met = 0;
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    team.run([&](int thread) {
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      team.barrier().wait();
      if (thread == 2) ++met;
    });
  }
  CHECK(met == 3);
}

TEST_CASE("team: an exception reaches the caller and the team goes on") {
  Team team(2);
  for (const int thrower : {0, 1})
    CHECK_THROWS_AS(team.run([&](int thread) {
      if (thread == thrower) throw std::runtime_error("x");
    }),
                    std::runtime_error);
  int sum = 0;
  team.run([&](int thread) {
    if (thread == 1) sum = 5;
  });
  CHECK(sum == 5);
}

TEST_CASE("team: impossible sizes, and a run inside a run") {
  CHECK(error_code([] { Team team(0); }) == "T0980");
  CHECK(error_code([] { Team team(5000); }) == "T0980");
  Team team(2);
  CHECK_THROWS_AS(team.run([&](int thread) {
    if (thread == 0) team.run([](int) {});
  }),
                  InternalError);
}
