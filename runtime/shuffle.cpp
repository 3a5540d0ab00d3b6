#include "runtime/shuffle.h"

#include <numeric>
#include <utility>

#include "ir/diagnostic.h"
#include "runtime/random.h"

namespace treadle {

std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  ensure(n >= 0, "shuffle", "a negative number of examples");
  std::vector<std::int64_t> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  RandomStream random(seed, mix(hash_text("shuffle"), epoch));
  for (std::size_t i = out.size(); i > 1; --i)
    std::swap(out[i - 1], out[static_cast<std::size_t>(random.next_below(i))]);
  return out;
}

std::int64_t EpochOrder::at(std::int64_t epoch, std::int64_t place) const {
  if (!shuffle_) return place;
  if (epoch != epoch_) {
    order_ = permutation(count_, seed_, static_cast<std::uint64_t>(epoch));
    epoch_ = epoch;
  }
  return order_[static_cast<std::size_t>(place)];
}

std::vector<std::int64_t> EpochOrder::range(std::int64_t epoch, std::int64_t begin,
                                            std::int64_t end) const {
  std::vector<std::int64_t> out;
  for (std::int64_t i = begin; i < end; ++i) out.push_back(at(epoch, i));
  return out;
}

}  // namespace treadle
