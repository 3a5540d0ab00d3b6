// The loop whose rate is called the machine's peak is made of fused multiply-adds.
#include "driver/machine_peak.h"

#include <cmath>

#include "tests/catch.h"

namespace treadle {
namespace {

// Of twelve chains alike, summed in the loop's order.
float sum_of_twelve(float chain) {
  float sum = chain;
  for (int more = 1; more < 12; ++more) sum += chain;
  return sum;
}

TEST_CASE("the peak is that of fused multiply-adds, rounded once", "[machine_peak]") {
  const float factor = 0.9993F;
  const int turns = 1000;
  float fused = 1, apart = 1;
  for (int turn = 0; turn < turns; ++turn) {
    fused = std::fma(fused, factor, 1.0F);
    volatile const float product = apart * factor;
    apart = product + 1;
  }
  REQUIRE(sum_of_twelve(fused) != sum_of_twelve(apart));  // else this shows nothing
  const float loop = multiply_add_chains(factor, turns);
  if (loop == 0) return;  // no such instructions here
  CHECK(loop == sum_of_twelve(fused));
}

}  // namespace
}  // namespace treadle
