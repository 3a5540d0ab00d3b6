// The order of examples in an epoch.
#pragma once
#include <cstdint>
#include <vector>

namespace treadle {

// A permutation of 0 .. n-1, a function of (seed, epoch) alone (Fisher and
// Yates); every permutation is equally likely.
std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch);

}  // namespace treadle
