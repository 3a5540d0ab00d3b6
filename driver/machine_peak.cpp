#include "driver/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace treadle {
namespace {

struct Loop {
  float (*run)(float factor, std::int64_t turns);
  double flops;  // of a turn
};

#if defined(__x86_64__)

// Twelve chains hide the latency of a multiply-add (4 cycles, 2 started in each)
// and fit in the 16 registers of AVX2. Each is a variable of its own, since
// compilers keep an array in memory; the empty asm keeps them from working out
// the sums. The multiply-adds are the instructions by name: with a * b + c the
// build's -ffp-contract=off makes two of each, which read 0.7 to 0.85 of the
// peak. Values stay finite: x * factor + 1 tends to 1 / (1 - factor).
#define TREADLE_TURN(fused, sum)     \
  sum = fused(sum, multiplier, one); \
  asm volatile("" : "+x"(sum))
#define TREADLE_MULTIPLY_ADD_LOOP(name, features, Vector, spread, fused)           \
  __attribute__((target(features))) float name(float factor, std::int64_t turns) { \
    const Vector multiplier = spread(factor), one = spread(1.0F);                  \
    Vector a = one, b = one, c = one, d = one, e = one, f = one;                   \
    Vector g = one, h = one, i = one, j = one, k = one, l = one;                   \
    for (std::int64_t turn = 0; turn < turns; ++turn) {                            \
      TREADLE_TURN(fused, a);                                                      \
      TREADLE_TURN(fused, b);                                                      \
      TREADLE_TURN(fused, c);                                                      \
      TREADLE_TURN(fused, d);                                                      \
      TREADLE_TURN(fused, e);                                                      \
      TREADLE_TURN(fused, f);                                                      \
      TREADLE_TURN(fused, g);                                                      \
      TREADLE_TURN(fused, h);                                                      \
      TREADLE_TURN(fused, i);                                                      \
      TREADLE_TURN(fused, j);                                                      \
      TREADLE_TURN(fused, k);                                                      \
      TREADLE_TURN(fused, l);                                                      \
    }                                                                              \
    const Vector sum = a + b + c + d + e + f + g + h + i + j + k + l;              \
    return sum[0];                                                                 \
  }

// clang-format off
TREADLE_MULTIPLY_ADD_LOOP(loop_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
TREADLE_MULTIPLY_ADD_LOOP(loop_avx512, "avx512f,avx512vl,fma", __m512, _mm512_set1_ps,
                          _mm512_fmadd_ps)
// clang-format on

Loop widest_loop() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
    return {loop_avx512, 2.0 * 16 * 12};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {loop_avx2, 2.0 * 8 * 12};
  return {nullptr, 0};
}

#else

Loop widest_loop() { return {nullptr, 0}; }

#endif

}  // namespace

float multiply_add_chains(float factor, std::int64_t turns) {
  const Loop loop = widest_loop();
  return loop.run == nullptr ? 0 : loop.run(factor, turns);
}

double measured_peak_flops(Team& team) {
  constexpr std::int64_t turns = 500'000;
  const Loop loop = widest_loop();
  if (loop.run == nullptr) return 0;
  std::vector<float> results(static_cast<std::size_t>(team.size()));
  double best = 0;
  // Of a millisecond each: the best is one in which no thread was disturbed.
  for (int round = 0; round < 8; ++round) {
    const auto start = std::chrono::steady_clock::now();
    team.run(
        [&](int thread) { results[static_cast<std::size_t>(thread)] = loop.run(0.5F, turns); });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, loop.flops * turns * team.size() / took.count());
  }
  return best;
}

}  // namespace treadle
