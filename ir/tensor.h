// A dense tensor in host memory: what constants, inputs, parameters and
// results are made of.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ir/dtype.h"

namespace treadle {

using Shape = std::vector<std::int64_t>;

// Product of the extents; throws UserError T0901 when it overflows.
std::int64_t element_count(std::span<const std::int64_t> shape);

// Row-major, contiguous, 64-byte aligned, zero-filled on construction.
// Copying copies the elements; moving does not.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);
  Tensor(const Tensor& other);
  Tensor& operator=(const Tensor& other);
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;

  static Tensor scalar(DType dtype, double value);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * size_of(dtype_); }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }

  template <typename T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(data_.get()), static_cast<std::size_t>(size_)};
  }
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(data_.get()), static_cast<std::size_t>(size_)};
  }

  // One element, converted (bf16 rounds to nearest even; b1 is value != 0).
  double get(std::int64_t index) const;
  void set(std::int64_t index, double value);
  std::int64_t get_integer(std::int64_t index) const;
  void set_integer(std::int64_t index, std::int64_t value);

  // Every element converted to `dtype`.
  Tensor cast(DType dtype) const;
  // The same elements under another shape of equal size.
  Tensor reshaped(Shape shape) const;

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  DType dtype_ = DType::f32;
  Shape shape_;
  std::int64_t size_ = 0;
  std::unique_ptr<std::byte[], Free> data_;
};

bool same_bits(const Tensor& a, const Tensor& b);

}  // namespace treadle
