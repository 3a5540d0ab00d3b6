// Rounding to bfloat16 for tests, by arithmetic, not by bits.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

namespace treadle::test {

// x in units of the last of 8 significant bits, to the nearest whole number, ties to
// even; infinite where that is above the largest bfloat16.
inline double nearest_bfloat16(double x) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const double unit = std::ldexp(1.0, std::max(std::ilogb(x), -126) - 7);
  const double rounded = std::nearbyint(x / unit) * unit;
  constexpr double largest = 0x1.FEp127;
  if (std::abs(rounded) <= largest) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

}  // namespace treadle::test
