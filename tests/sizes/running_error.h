// The bounds of these tests, all in one place: numbers that carry how far a
// computation in float or double may be from them.
//
// Higham, Accuracy and Stability of Numerical Algorithms (2nd ed., SIAM 2002):
//   (2.4)   fl(x op y) = (x op y)(1 + d), |d| <= u: one rounding;
//   (3.3)   a sum of n products, in any order, with or without fused
//           multiply-adds, is off by at most gamma_n sum |a_i||b_i|,
//           gamma_n = n u / (1 - n u);
//   ch. 3.3 running error analysis: the bounds of operands go through each
//           operation with its derivative.
// Functions (exp, tanh, ...) are within 3 units in the last place, 6 u, which
// tests/llvm_kernels/vector_math_test.cpp checks.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace treadle::test {

// Of T, and of the doubles that the reference itself is computed in.
template <typename T>
constexpr double unit_roundoff =
    std::numeric_limits<T>::epsilon() / 2 + std::numeric_limits<double>::epsilon() / 2;

template <typename T>
constexpr double function_error = 6 * unit_roundoff<T>;

template <typename T>
double gamma(std::int64_t n) {
  const double nu = static_cast<double>(n) * unit_roundoff<T>;
  return nu / (1 - nu);
}

template <typename T>
struct Bounded {
  double value = 0;
  double error = 0;

  Bounded() = default;
  Bounded(double x) : value(x) {}  // NOLINT: exact
  Bounded(double x, double e) : value(x), error(e) {}
  // What one more rounding (or a function of `relative` error) makes of it.
  Bounded rounded(double relative = unit_roundoff<T>) const {
    return {value, error + relative * (std::abs(value) + error)};
  }
};

template <typename T>
Bounded<T> operator+(const Bounded<T>& x, const Bounded<T>& y) {
  return Bounded<T>(x.value + y.value, x.error + y.error).rounded();
}
template <typename T>
Bounded<T> operator-(const Bounded<T>& x, const Bounded<T>& y) {
  return Bounded<T>(x.value - y.value, x.error + y.error).rounded();
}
template <typename T>
double product_error(const Bounded<T>& x, const Bounded<T>& y) {
  return std::abs(x.value) * y.error + std::abs(y.value) * x.error + x.error * y.error;
}
template <typename T>
Bounded<T> operator*(const Bounded<T>& x, const Bounded<T>& y) {
  return Bounded<T>(x.value * y.value, product_error(x, y)).rounded();
}
template <typename T>
Bounded<T> operator/(const Bounded<T>& x, const Bounded<T>& y) {
  const double quotient = x.value / y.value;
  return Bounded<T>(quotient,
                    (x.error + std::abs(quotient) * y.error) / (std::abs(y.value) - y.error))
      .rounded();
}

// f(x) within its slope, and at most `curvature`, the largest |f''|.
template <typename T>
Bounded<T> function(const Bounded<T>& x, double value, double slope, double curvature) {
  return Bounded<T>(value, x.error * (std::abs(slope) + curvature * x.error))
      .rounded(function_error<T>);
}
template <typename T>
Bounded<T> sigmoid(const Bounded<T>& x) {
  const double y = 1 / (1 + std::exp(-x.value));
  return function(x, y, y * (1 - y), 0.1);
}
template <typename T>
Bounded<T> tanh(const Bounded<T>& x) {
  const double y = std::tanh(x.value);
  return function(x, y, 1 - y * y, 0.77);
}
template <typename T>
Bounded<T> exp(const Bounded<T>& x) {
  const double y = std::exp(x.value);
  return Bounded<T>(y, y * std::expm1(x.error)).rounded(function_error<T>);
}
template <typename T>
Bounded<T> log(const Bounded<T>& x) {
  return Bounded<T>(std::log(x.value), x.error / (x.value - x.error)).rounded(function_error<T>);
}
template <typename T>
Bounded<T> sqrt(const Bounded<T>& x) {
  const double y = std::sqrt(x.value);
  return Bounded<T>(y, x.error / y).rounded();
}

// A sum of terms and products, in whatever order a program adds them.
template <typename T>
class Sum {
 public:
  Sum& add(const Bounded<T>& x) { return add(x.value, x.error); }
  Sum& add(const Bounded<T>& x, const Bounded<T>& y) {
    return add(x.value * y.value, product_error(x, y));
  }
  Bounded<T> result() const { return {value_, error_ + gamma<T>(terms_) * (size_ + error_)}; }

 private:
  Sum& add(double value, double error) {
    value_ += value;
    size_ += std::abs(value);
    error_ += error;
    ++terms_;
    return *this;
  }
  double value_ = 0, size_ = 0, error_ = 0;
  std::int64_t terms_ = 0;
};

}  // namespace treadle::test
