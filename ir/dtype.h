// Element types of values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace treadle {

// `b1` is a truth value stored as one byte (0 or 1).
enum class DType : std::uint8_t { f32, f64, bf16, i32, i64, b1 };

constexpr std::size_t size_of(DType d) {
  switch (d) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::bf16: return 2;
    case DType::b1: return 1;
  }
  return 0;
}
constexpr bool is_float(DType d) { return d == DType::f32 || d == DType::f64 || d == DType::bf16; }
constexpr bool is_integer(DType d) { return d == DType::i32 || d == DType::i64; }

// The text form: "f32", "f64", "bf16", "i32", "i64", "bool".
std::string_view to_string(DType d);
std::optional<DType> dtype_from_string(std::string_view text);

}  // namespace treadle
