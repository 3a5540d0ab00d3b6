#include "runtime/bytes.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "ir/diagnostic.h"

namespace treadle {

std::string_view ByteReader::take(std::uint64_t count, std::string_view what) {
  if (count > remaining())
    throw_user_error("T0911",
                     fmt::format("{} is truncated: {} takes {} bytes, {} are left", file_, what,
                                 count, remaining()),
                     "the file is incomplete or damaged: fetch or write it again");
  const std::string_view out = bytes_.substr(position_, static_cast<std::size_t>(count));
  position_ += static_cast<std::size_t>(count);
  return out;
}

std::uint32_t ByteReader::u32_big_endian(std::string_view what) {
  std::uint32_t value = 0;
  for (const char c : take(4, what)) value = value << 8 | static_cast<std::uint8_t>(c);
  return value;
}

std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b, std::string_view file) {
  std::uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out))
    throw_user_error("T0917", fmt::format("{} declares a size that 64 bits cannot hold", file));
  return out;
}

std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view file) {
  std::uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out))
    throw_user_error("T0917", fmt::format("{} declares a size that 64 bits cannot hold", file));
  return out;
}

float half_to_float(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const int fraction = bits & 0x3FF;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0x1F)
    return fraction != 0 ? std::numeric_limits<float>::quiet_NaN()
                         : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

}  // namespace treadle
