#include "ir/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "ir/diagnostic.h"
#include "ir/memory.h"

namespace treadle {
namespace {

constexpr std::size_t alignment = 64;

float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

template <typename T>
T load(const std::byte* data, std::int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void store(std::byte* data, std::int64_t index, T value) {
  std::memcpy(data + index * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
}

}  // namespace

std::int64_t element_count(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw_user_error("T0901", "a tensor's extent is negative");
    if (__builtin_mul_overflow(count, extent, &count))
      throw_user_error("T0901", "a tensor's size overflows 64 bits");
  }
  return count;
}

void Tensor::Free::operator()(std::byte* p) const { std::free(p); }

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), size_(element_count(shape_)) {
  std::int64_t total = 0;
  if (__builtin_mul_overflow(size_, static_cast<std::int64_t>(size_of(dtype)), &total) ||
      __builtin_add_overflow(total, static_cast<std::int64_t>(alignment), &total))
    throw_user_error("T0901", "a tensor's size overflows 64 bits");
  const std::size_t rounded = (bytes() + alignment) / alignment * alignment;
  const auto described = [&] {
    return fmt::format("a tensor {}[{}]", to_string(dtype_), fmt::join(shape_, ", "));
  };
  require_memory(rounded, described);
  auto* raw = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (raw == nullptr) no_memory(rounded, described());
  data_.reset(raw);
  std::memset(raw, 0, rounded);
}

Tensor::Tensor(const Tensor& other) : Tensor() { *this = other; }

Tensor& Tensor::operator=(const Tensor& other) {
  if (this == &other) return *this;
  if (other.data_ == nullptr) return *this = Tensor();
  Tensor copy(other.dtype_, other.shape_);
  std::memcpy(copy.data(), other.data(), other.bytes());
  return *this = std::move(copy);
}

Tensor Tensor::scalar(DType dtype, double value) {
  Tensor out(dtype, {});
  out.set(0, value);
  return out;
}

double Tensor::get(std::int64_t index) const {
  switch (dtype_) {
    case DType::f32: return load<float>(data(), index);
    case DType::f64: return load<double>(data(), index);
    case DType::bf16: return bf16_to_float(load<std::uint16_t>(data(), index));
    case DType::i32: return load<std::int32_t>(data(), index);
    case DType::i64: return static_cast<double>(load<std::int64_t>(data(), index));
    case DType::b1: return load<std::uint8_t>(data(), index) != 0 ? 1.0 : 0.0;
  }
  return 0;
}

void Tensor::set(std::int64_t index, double value) {
  switch (dtype_) {
    case DType::f32: return store(data(), index, static_cast<float>(value));
    case DType::f64: return store(data(), index, value);
    case DType::bf16: return store(data(), index, float_to_bf16(static_cast<float>(value)));
    case DType::i32: return store(data(), index, static_cast<std::int32_t>(value));
    case DType::i64: return store(data(), index, static_cast<std::int64_t>(value));
    case DType::b1: return store(data(), index, static_cast<std::uint8_t>(value != 0));
  }
}

std::int64_t Tensor::get_integer(std::int64_t index) const {
  if (dtype_ == DType::i64) return load<std::int64_t>(data(), index);
  return static_cast<std::int64_t>(get(index));
}

void Tensor::set_integer(std::int64_t index, std::int64_t value) {
  if (dtype_ == DType::i64) return store(data(), index, value);
  set(index, static_cast<double>(value));
}

Tensor Tensor::cast(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor out(dtype, shape_);
  const bool whole = is_integer(dtype) && is_integer(dtype_);
  for (std::int64_t i = 0; i < size_; ++i) {
    if (whole)
      out.set_integer(i, get_integer(i));
    else
      out.set(i, get(i));
  }
  return out;
}

Tensor Tensor::reshaped(Shape shape) const {
  ensure(element_count(shape) == size_, "tensor", "reshape changes the number of elements");
  Tensor out(*this);
  out.shape_ = std::move(shape);
  return out;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

}  // namespace treadle
