#include "driver/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace treadle {
namespace {

constexpr std::int64_t turns = 500'000;

#if defined(__x86_64__)

// Twelve chains hide the latency of a multiply-add (4 cycles, 2 started in each)
// and fit in the 16 registers of AVX2. Each is a variable of its own, since
// compilers keep an array in memory; the empty asm keeps them from working out
// the sums. Values stay finite: x * 0.5 + 1 tends to 2.
#define TREADLE_TURN(sum) \
  sum = sum * half + one; \
  asm volatile("" : "+x"(sum))
#define TREADLE_MULTIPLY_ADD_LOOP(name, features, floats)                        \
  __attribute__((target(features))) float name() {                               \
    typedef float Vector __attribute__((vector_size((floats) * sizeof(float)))); \
    const Vector half = Vector{} + 0.5F, one = Vector{} + 1.0F;                  \
    Vector a = one, b = one, c = one, d = one, e = one, f = one;                 \
    Vector g = one, h = one, i = one, j = one, k = one, l = one;                 \
    for (std::int64_t turn = 0; turn < turns; ++turn) {                          \
      TREADLE_TURN(a);                                                           \
      TREADLE_TURN(b);                                                           \
      TREADLE_TURN(c);                                                           \
      TREADLE_TURN(d);                                                           \
      TREADLE_TURN(e);                                                           \
      TREADLE_TURN(f);                                                           \
      TREADLE_TURN(g);                                                           \
      TREADLE_TURN(h);                                                           \
      TREADLE_TURN(i);                                                           \
      TREADLE_TURN(j);                                                           \
      TREADLE_TURN(k);                                                           \
      TREADLE_TURN(l);                                                           \
    }                                                                            \
    const Vector sum = a + b + c + d + e + f + g + h + i + j + k + l;            \
    return sum[0];                                                               \
  }

// clang-format off
TREADLE_MULTIPLY_ADD_LOOP(loop_avx2, "avx2,fma", 8)
TREADLE_MULTIPLY_ADD_LOOP(loop_avx512, "avx512f,avx512vl,fma", 16)
// clang-format on

struct Loop {
  float (*run)();
  double flops;
};

Loop widest_loop() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
    return {loop_avx512, 2.0 * 16 * 12 * turns};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {loop_avx2, 2.0 * 8 * 12 * turns};
  return {nullptr, 0};
}

#else

struct Loop {
  float (*run)();
  double flops;
};
Loop widest_loop() { return {nullptr, 0}; }

#endif

}  // namespace

double measured_peak_flops(Team& team) {
  const Loop loop = widest_loop();
  if (loop.run == nullptr) return 0;
  std::vector<float> results(static_cast<std::size_t>(team.size()));
  double best = 0;
  // Of a millisecond each: the best is one in which no thread was disturbed.
  for (int round = 0; round < 8; ++round) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int thread) { results[static_cast<std::size_t>(thread)] = loop.run(); });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, loop.flops * team.size() / took.count());
  }
  return best;
}

}  // namespace treadle
