// The order of examples in an epoch.
#pragma once
#include <cstdint>
#include <vector>

namespace treadle {

// A permutation of 0 .. n-1, a function of (seed, epoch) alone (Fisher and
// Yates); every permutation is equally likely.
std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch);

// Which example stands at a place of an epoch: those of `permutation`, or all in
// their own order. Keeps the order of the epoch last asked for.
class EpochOrder {
 public:
  EpochOrder() = default;
  EpochOrder(std::int64_t count, std::uint64_t seed, bool shuffle)
      : count_(count), seed_(seed), shuffle_(shuffle) {}
  std::int64_t at(std::int64_t epoch, std::int64_t place) const;
  // Those at places [begin, end).
  std::vector<std::int64_t> range(std::int64_t epoch, std::int64_t begin, std::int64_t end) const;

 private:
  std::int64_t count_ = 0;
  std::uint64_t seed_ = 0;
  bool shuffle_ = false;
  mutable std::int64_t epoch_ = -1;
  mutable std::vector<std::int64_t> order_;
};

}  // namespace treadle
