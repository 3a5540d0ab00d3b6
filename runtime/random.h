// Counter-based random numbers: every number is a function of a key and a
// counter, so no draw depends on another.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace treadle {

// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As
// Easy as 1, 2, 3" (2011).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// FNV-1a, 64 bits, of the bytes: names for streams of random numbers, and
// signatures.
std::uint64_t hash_text(std::string_view text);

// splitmix64's finaliser of a + b: joins two hashes or seeds.
std::uint64_t mix(std::uint64_t a, std::uint64_t b);

// The random numbers of (seed, stream). `at` calls are independent of order;
// next calls walk along the counter.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}
  RandomStream(std::uint64_t seed, std::string_view name) : RandomStream(seed, hash_text(name)) {}

  // 128 random bits as two 64-bit words.
  std::array<std::uint64_t, 2> bits_at(std::uint64_t index) const;
  // Uniform in [0, 1), 53 bits.
  double uniform_at(std::uint64_t index) const;
  // Standard normal (Box and Muller, 1958).
  double normal_at(std::uint64_t index) const;

  double next_uniform() { return uniform_at(next_++); }
  double next_normal() { return normal_at(next_++); }
  // Uniform in [0, bound), without bias (Lemire 2019); bound >= 1.
  std::uint64_t next_below(std::uint64_t bound);

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t next_ = 0;
};

}  // namespace treadle
