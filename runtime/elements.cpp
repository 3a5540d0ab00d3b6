#include "runtime/elements.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <type_traits>

#include "ir/diagnostic.h"
#include "runtime/bytes.h"

namespace treadle {
namespace {

template <typename T>
T load_element(const char* at, bool big_endian) {
  std::array<char, sizeof(T)> raw;
  std::memcpy(raw.data(), at, sizeof(T));
  if (big_endian) std::reverse(raw.begin(), raw.end());
  T value;
  std::memcpy(&value, raw.data(), sizeof(T));
  return value;
}

template <typename From, typename To>
void convert(std::string_view bytes, bool big_endian, std::span<To> out) {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<To>(load_element<From>(bytes.data() + i * sizeof(From), big_endian));
}

template <typename From>
void convert_to_any(std::string_view bytes, bool big_endian, Tensor& out) {
  if (out.dtype() == DType::f32) return convert<From>(bytes, big_endian, out.as<float>());
  if (out.dtype() == DType::f64) return convert<From>(bytes, big_endian, out.as<double>());
  if constexpr (std::is_integral_v<From>) {
    if (out.dtype() == DType::i32) return convert<From>(bytes, big_endian, out.as<std::int32_t>());
    if (out.dtype() == DType::i64) return convert<From>(bytes, big_endian, out.as<std::int64_t>());
  }
  for (std::int64_t i = 0; i < out.size(); ++i)
    out.set(i, static_cast<double>(load_element<From>(
                   bytes.data() + static_cast<std::size_t>(i) * sizeof(From), big_endian)));
}

std::optional<DType> same_as(StoredType type) {
  switch (type) {
    case StoredType::i32: return DType::i32;
    case StoredType::i64: return DType::i64;
    case StoredType::bf16: return DType::bf16;
    case StoredType::f32: return DType::f32;
    case StoredType::f64: return DType::f64;
    default: return std::nullopt;
  }
}

void decode_sixteen_bit_float(std::string_view bytes, StoredType type, bool big_endian,
                              Tensor& out) {
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const auto raw =
        load_element<std::uint16_t>(bytes.data() + static_cast<std::size_t>(i) * 2, big_endian);
    const float value = type == StoredType::f16
                            ? half_to_float(raw)
                            : std::bit_cast<float>(static_cast<std::uint32_t>(raw) << 16);
    out.set(i, static_cast<double>(value));
  }
}

}  // namespace

std::size_t size_of(StoredType type) {
  switch (type) {
    case StoredType::u8:
    case StoredType::i8:
    case StoredType::b1: return 1;
    case StoredType::u16:
    case StoredType::i16:
    case StoredType::f16:
    case StoredType::bf16: return 2;
    case StoredType::u32:
    case StoredType::i32:
    case StoredType::f32: return 4;
    case StoredType::i64:
    case StoredType::f64: return 8;
  }
  return 0;
}

DType widened(StoredType type) {
  if (const auto same = same_as(type)) return *same;
  if (type == StoredType::f16) return DType::f32;
  if (type == StoredType::u32) return DType::i64;
  if (type == StoredType::b1) return DType::b1;
  return DType::i32;
}

void decode_elements(std::string_view bytes, StoredType type, bool big_endian, Tensor& out) {
  ensure(bytes.size() == static_cast<std::size_t>(out.size()) * size_of(type), "elements",
         "byte count and shape differ");
  if (bytes.empty()) return;
  if (!big_endian && same_as(type) == out.dtype()) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return;
  }
  switch (type) {
    case StoredType::u8: return convert_to_any<std::uint8_t>(bytes, big_endian, out);
    case StoredType::i8: return convert_to_any<std::int8_t>(bytes, big_endian, out);
    case StoredType::u16: return convert_to_any<std::uint16_t>(bytes, big_endian, out);
    case StoredType::i16: return convert_to_any<std::int16_t>(bytes, big_endian, out);
    case StoredType::u32: return convert_to_any<std::uint32_t>(bytes, big_endian, out);
    case StoredType::i32: return convert_to_any<std::int32_t>(bytes, big_endian, out);
    case StoredType::i64: return convert_to_any<std::int64_t>(bytes, big_endian, out);
    case StoredType::f32: return convert_to_any<float>(bytes, big_endian, out);
    case StoredType::f64: return convert_to_any<double>(bytes, big_endian, out);
    case StoredType::f16:
    case StoredType::bf16: return decode_sixteen_bit_float(bytes, type, big_endian, out);
    case StoredType::b1:
      for (std::int64_t i = 0; i < out.size(); ++i)
        out.set(i, bytes[static_cast<std::size_t>(i)] != 0 ? 1.0 : 0.0);
  }
}

}  // namespace treadle
