#include "ir/scalar.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <type_traits>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {

// ---- recording ----

DType Scalar::dtype() const { return builder->dtype(*this); }

Scalar ScalarBuilder::push(ScalarInstruction instruction) {
  program_.instructions.push_back(instruction);
  return {this, static_cast<std::uint32_t>(program_.instructions.size() - 1)};
}

Scalar ScalarBuilder::argument(std::uint32_t number, DType dtype) {
  return push({ScalarOp::argument, dtype, {}, 0, number});
}

Scalar ScalarBuilder::constant(DType dtype, double value) {
  if (is_float(dtype)) return push({ScalarOp::constant, dtype, {}, value, 0});
  return integer(dtype, dtype == DType::b1 ? value != 0 : static_cast<std::int64_t>(value));
}

Scalar ScalarBuilder::integer(DType dtype, std::int64_t value) {
  if (is_float(dtype)) return constant(dtype, static_cast<double>(value));
  return push({ScalarOp::constant, dtype, {}, 0, value});
}

namespace {

bool gives_bool(ScalarOp op) {
  return op == ScalarOp::is_finite || op == ScalarOp::lt || op == ScalarOp::le ||
         op == ScalarOp::eq;
}

}  // namespace

Scalar ScalarBuilder::unary(ScalarOp op, Scalar x) {
  return push({op, gives_bool(op) ? DType::b1 : dtype(x), {x.id}, 0, 0});
}

Scalar ScalarBuilder::binary(ScalarOp op, Scalar x, Scalar y) {
  ensure(dtype(x) == dtype(y), "scalar", "the operands' dtypes differ");
  return push({op, gives_bool(op) ? DType::b1 : dtype(x), {x.id, y.id}, 0, 0});
}

Scalar ScalarBuilder::select(Scalar condition, Scalar x, Scalar y) {
  ensure(dtype(condition) == DType::b1 && dtype(x) == dtype(y), "scalar",
         "select takes (bool, x, x)");
  return push({ScalarOp::select, dtype(x), {condition.id, x.id, y.id}, 0, 0});
}

Scalar ScalarBuilder::cast(Scalar x, DType to) {
  if (dtype(x) == to) return x;
  return push({ScalarOp::cast, to, {x.id}, 0, 0});
}

ScalarProgram ScalarBuilder::finish(Scalar result) {
  program_.result = result.id;
  return std::exchange(program_, {});
}

namespace {

Scalar binary(ScalarOp op, Scalar x, Scalar y) { return x.builder->binary(op, x, y); }
Scalar unary(ScalarOp op, Scalar x) { return x.builder->unary(op, x); }
Scalar like(Scalar x, double value) { return x.builder->constant(x.dtype(), value); }

}  // namespace

Scalar operator+(Scalar x, Scalar y) { return binary(ScalarOp::add, x, y); }
Scalar operator-(Scalar x, Scalar y) { return binary(ScalarOp::sub, x, y); }
Scalar operator*(Scalar x, Scalar y) { return binary(ScalarOp::mul, x, y); }
Scalar operator/(Scalar x, Scalar y) { return binary(ScalarOp::div, x, y); }
Scalar operator-(Scalar x) {
  return is_float(x.dtype()) ? unary(ScalarOp::neg, x) : like(x, 0) - x;
}
Scalar operator+(Scalar x, double y) { return x + like(x, y); }
Scalar operator+(double x, Scalar y) { return like(y, x) + y; }
Scalar operator-(Scalar x, double y) { return x - like(x, y); }
Scalar operator-(double x, Scalar y) { return like(y, x) - y; }
Scalar operator*(Scalar x, double y) { return x * like(x, y); }
Scalar operator*(double x, Scalar y) { return like(y, x) * y; }
Scalar operator/(Scalar x, double y) { return x / like(x, y); }
Scalar operator/(double x, Scalar y) { return like(y, x) / y; }
Scalar exp(Scalar x) { return unary(ScalarOp::exp, x); }
Scalar expm1(Scalar x) { return unary(ScalarOp::expm1, x); }
Scalar log(Scalar x) { return unary(ScalarOp::log, x); }
Scalar log1p(Scalar x) { return unary(ScalarOp::log1p, x); }
Scalar sqrt(Scalar x) { return unary(ScalarOp::sqrt, x); }
Scalar sin(Scalar x) { return unary(ScalarOp::sin, x); }
Scalar cos(Scalar x) { return unary(ScalarOp::cos, x); }
Scalar erf(Scalar x) { return unary(ScalarOp::erf, x); }
Scalar normal_cdf(Scalar x) { return unary(ScalarOp::normal_cdf, x); }
Scalar normal_pdf(Scalar x) { return unary(ScalarOp::normal_pdf, x); }
Scalar gelu(Scalar x) { return unary(ScalarOp::gelu, x); }
Scalar silu(Scalar x) { return unary(ScalarOp::silu, x); }
Scalar softplus(Scalar x) { return unary(ScalarOp::softplus, x); }
Scalar tanh(Scalar x) { return unary(ScalarOp::tanh, x); }
Scalar sigmoid(Scalar x) { return unary(ScalarOp::sigmoid, x); }
Scalar abs(Scalar x) {
  if (is_float(x.dtype())) return unary(ScalarOp::abs, x);
  return x.builder->select(less(x, like(x, 0)), -x, x);
}
Scalar floor(Scalar x) { return unary(ScalarOp::floor, x); }
Scalar pow(Scalar x, Scalar y) { return binary(ScalarOp::pow, x, y); }
Scalar minimum(Scalar x, Scalar y) { return binary(ScalarOp::minimum, x, y); }
Scalar maximum(Scalar x, Scalar y) { return binary(ScalarOp::maximum, x, y); }
Scalar less(Scalar x, Scalar y) { return binary(ScalarOp::lt, x, y); }
Scalar less_equal(Scalar x, Scalar y) { return binary(ScalarOp::le, x, y); }
Scalar equal(Scalar x, Scalar y) { return binary(ScalarOp::eq, x, y); }

// ---- running ----

namespace {

constexpr std::int64_t block = 256;

// The value of one instruction for a block of elements. bf16 is kept as f32
// and rounded to bf16 after each instruction.
struct alignas(64) Register {
  std::byte bytes[block * 8];
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(bytes);
  }
};

float round_to_bf16(float value) {
  if (std::isnan(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000U);
}

template <typename Function>
void with_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f32:
    case DType::bf16: return function(float{});
    case DType::f64: return function(double{});
    case DType::i32: return function(std::int32_t{});
    case DType::i64: return function(std::int64_t{});
    case DType::b1: return function(std::uint8_t{});
  }
}

// Transcendental functions of f32 are worked out in f64 and rounded once.
double sigmoid_of(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

double normal_cdf_of(double x) { return 0.5 * std::erfc(x / -std::numbers::sqrt2); }

double normal_pdf_of(double x) {
  return std::numbers::inv_sqrtpi / std::numbers::sqrt2 * std::exp(-0.5 * x * x);
}

// Where the bounds count the other factor is 0: the limit far below 0 is 0.
double gelu_of(double x) { return (x < -100 ? -100 : x) * normal_cdf_of(x); }
double silu_of(double x) { return (x < -1000 ? -1000 : x) * sigmoid_of(x); }

double softplus_of(double x) {
  return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

template <typename T>
T integer_divide(T x, T y) {
  if (y == 0) return 0;
  if (y == -1) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(x));
  return x / y;
}

template <typename To, typename From>
To convert(From x) {
  if constexpr (std::is_floating_point_v<From> && !std::is_floating_point_v<To>) {
    if (std::isnan(x)) return 0;
    // Both bounds are powers of two, exact in any float.
    constexpr auto low = static_cast<double>(std::numeric_limits<To>::min());
    if (static_cast<double>(x) <= low) return std::numeric_limits<To>::min();
    if (static_cast<double>(x) >= -low) return std::numeric_limits<To>::max();
  }
  return static_cast<To>(x);
}

class Interpreter {
 public:
  Interpreter(const ScalarProgram& program, std::span<const std::byte* const> arguments,
              std::span<const std::int64_t> strides)
      : program_(program),
        arguments_(arguments),
        strides_(strides),
        registers_(program.instructions.size()) {}

  void run(std::int64_t first, std::int64_t count, std::byte* result) {
    for (std::size_t i = 0; i < program_.instructions.size(); ++i)
      step(program_.instructions[i], registers_[i], first, count);
    store(result, first, count);
  }

 private:
  void step(const ScalarInstruction& in, Register& out, std::int64_t first, std::int64_t count) {
    switch (in.op) {
      case ScalarOp::argument: load(in, out, first, count); break;
      case ScalarOp::constant: fill(in, out, count); break;
      case ScalarOp::select: choose(in, out, count); break;
      case ScalarOp::cast: change(in, out, count); break;
      default: compute(in, out, count); break;
    }
    if (in.dtype != DType::bf16 || in.op == ScalarOp::argument) return;
    float* values = out.as<float>();
    for (std::int64_t i = 0; i < count; ++i) values[i] = round_to_bf16(values[i]);
  }

  void load(const ScalarInstruction& in, Register& out, std::int64_t first, std::int64_t count) {
    const std::byte* data = arguments_[static_cast<std::size_t>(in.immediate)];
    const std::int64_t stride = strides_[static_cast<std::size_t>(in.immediate)];
    if (in.dtype == DType::bf16) {
      const auto* from = reinterpret_cast<const std::uint16_t*>(data) + first * stride;
      for (std::int64_t i = 0; i < count; ++i)
        out.as<float>()[i] =
            std::bit_cast<float>(static_cast<std::uint32_t>(from[i * stride]) << 16);
      return;
    }
    with_type(in.dtype, [&](auto tag) {
      using T = decltype(tag);
      const auto* from = reinterpret_cast<const T*>(data) + first * stride;
      for (std::int64_t i = 0; i < count; ++i) out.as<T>()[i] = from[i * stride];
    });
  }

  void store(std::byte* result, std::int64_t first, std::int64_t count) {
    Register& from = registers_[program_.result];
    const DType dtype = program_.instructions[program_.result].dtype;
    if (dtype == DType::bf16) {
      auto* to = reinterpret_cast<std::uint16_t*>(result) + first;
      for (std::int64_t i = 0; i < count; ++i) {
        const float value = from.as<float>()[i];
        const auto bits = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
        to[i] = std::isnan(value) ? static_cast<std::uint16_t>(bits | 0x40) : bits;
      }
      return;
    }
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    std::memcpy(result + first * size, from.bytes, static_cast<std::size_t>(count * size));
  }

  static void fill(const ScalarInstruction& in, Register& out, std::int64_t count) {
    with_type(in.dtype, [&](auto tag) {
      using T = decltype(tag);
      const T value =
          std::is_floating_point_v<T> ? static_cast<T>(in.real) : static_cast<T>(in.immediate);
      std::fill_n(out.as<T>(), count, value);
    });
  }

  void choose(const ScalarInstruction& in, Register& out, std::int64_t count) {
    const auto* condition = registers_[in.operands[0]].as<std::uint8_t>();
    with_type(in.dtype, [&](auto tag) {
      using T = decltype(tag);
      const T* x = registers_[in.operands[1]].as<T>();
      const T* y = registers_[in.operands[2]].as<T>();
      for (std::int64_t i = 0; i < count; ++i) out.as<T>()[i] = condition[i] != 0 ? x[i] : y[i];
    });
  }

  void change(const ScalarInstruction& in, Register& out, std::int64_t count) {
    with_type(program_.instructions[in.operands[0]].dtype, [&](auto from_tag) {
      using From = decltype(from_tag);
      const From* x = registers_[in.operands[0]].as<From>();
      if (in.dtype == DType::b1) {
        for (std::int64_t i = 0; i < count; ++i) out.as<std::uint8_t>()[i] = x[i] != 0;
        return;
      }
      with_type(in.dtype, [&](auto to_tag) {
        using To = decltype(to_tag);
        for (std::int64_t i = 0; i < count; ++i) out.as<To>()[i] = convert<To>(x[i]);
      });
    });
  }

  void compute(const ScalarInstruction& in, Register& out, std::int64_t count) {
    Register& x = registers_[in.operands[0]];
    Register& y = registers_[in.operands[1]];
    with_type(program_.instructions[in.operands[0]].dtype, [&](auto tag) {
      using T = decltype(tag);
      if constexpr (std::is_floating_point_v<T>)
        compute_float<T>(in.op, x.as<T>(), y.as<T>(), out, count);
      else if constexpr (std::is_same_v<T, std::uint8_t>)
        compute_bool(in.op, x.as<T>(), y.as<T>(), out, count);
      else
        compute_integer<T>(in.op, x.as<T>(), y.as<T>(), out, count);
    });
  }

  template <typename R, typename T, typename Function>
  static void each(const T* x, const T* y, Register& out, std::int64_t count, Function function) {
    R* result = out.as<R>();
    for (std::int64_t i = 0; i < count; ++i) result[i] = static_cast<R>(function(x[i], y[i]));
  }

  // A function of one argument, worked out in f64.
  template <typename T, typename Function>
  static void each_wide(const T* x, Register& out, std::int64_t count, Function function) {
    T* result = out.as<T>();
    for (std::int64_t i = 0; i < count; ++i)
      result[i] = static_cast<T>(function(static_cast<double>(x[i])));
  }

  template <typename T>
  static void compute_float(ScalarOp op, const T* x, const T* y, Register& out,
                            std::int64_t count) {
    using D = double;
    constexpr T nan = std::numeric_limits<T>::quiet_NaN();
    switch (op) {
      case ScalarOp::neg: return each<T>(x, x, out, count, [](T a, T) { return -a; });
      case ScalarOp::abs: return each<T>(x, x, out, count, [](T a, T) { return std::abs(a); });
      case ScalarOp::floor: return each<T>(x, x, out, count, [](T a, T) { return std::floor(a); });
      case ScalarOp::sqrt: return each<T>(x, x, out, count, [](T a, T) { return std::sqrt(a); });
      case ScalarOp::exp: return each_wide(x, out, count, [](D a) { return std::exp(a); });
      case ScalarOp::expm1: return each_wide(x, out, count, [](D a) { return std::expm1(a); });
      case ScalarOp::log: return each_wide(x, out, count, [](D a) { return std::log(a); });
      case ScalarOp::log1p: return each_wide(x, out, count, [](D a) { return std::log1p(a); });
      case ScalarOp::sin: return each_wide(x, out, count, [](D a) { return std::sin(a); });
      case ScalarOp::cos: return each_wide(x, out, count, [](D a) { return std::cos(a); });
      case ScalarOp::erf: return each_wide(x, out, count, [](D a) { return std::erf(a); });
      case ScalarOp::tanh: return each_wide(x, out, count, [](D a) { return std::tanh(a); });
      case ScalarOp::sigmoid: return each_wide(x, out, count, sigmoid_of);
      case ScalarOp::normal_cdf: return each_wide(x, out, count, normal_cdf_of);
      case ScalarOp::normal_pdf: return each_wide(x, out, count, normal_pdf_of);
      case ScalarOp::gelu: return each_wide(x, out, count, gelu_of);
      case ScalarOp::silu: return each_wide(x, out, count, silu_of);
      case ScalarOp::softplus: return each_wide(x, out, count, softplus_of);
      case ScalarOp::is_finite:
        return each<std::uint8_t>(x, x, out, count, [](T a, T) { return std::isfinite(a); });
      case ScalarOp::add: return each<T>(x, y, out, count, [](T a, T b) { return a + b; });
      case ScalarOp::sub: return each<T>(x, y, out, count, [](T a, T b) { return a - b; });
      case ScalarOp::mul: return each<T>(x, y, out, count, [](T a, T b) { return a * b; });
      case ScalarOp::div: return each<T>(x, y, out, count, [](T a, T b) { return a / b; });
      case ScalarOp::minimum:
        return each<T>(x, y, out, count, [](T a, T b) {
          return std::isunordered(a, b) ? nan : b < a ? b : a;
        });
      case ScalarOp::maximum:
        return each<T>(x, y, out, count, [](T a, T b) {
          return std::isunordered(a, b) ? nan : a < b ? b : a;
        });
      case ScalarOp::pow:
        return each<T>(x, y, out, count, [](T a, T b) { return std::pow(D(a), D(b)); });
      default: return compare(op, x, y, out, count);
    }
  }

  template <typename T>
  static void compute_integer(ScalarOp op, const T* x, const T* y, Register& out,
                              std::int64_t count) {
    using U = std::make_unsigned_t<T>;
    constexpr U width = sizeof(T) * 8;
    switch (op) {
      case ScalarOp::add: return each<T>(x, y, out, count, [](T a, T b) { return U(a) + U(b); });
      case ScalarOp::sub: return each<T>(x, y, out, count, [](T a, T b) { return U(a) - U(b); });
      case ScalarOp::mul: return each<T>(x, y, out, count, [](T a, T b) { return U(a) * U(b); });
      case ScalarOp::div: return each<T>(x, y, out, count, integer_divide<T>);
      case ScalarOp::minimum:
        return each<T>(x, y, out, count, [](T a, T b) { return std::min(a, b); });
      case ScalarOp::maximum:
        return each<T>(x, y, out, count, [](T a, T b) { return std::max(a, b); });
      case ScalarOp::bit_and: return each<T>(x, y, out, count, [](T a, T b) { return a & b; });
      case ScalarOp::bit_or: return each<T>(x, y, out, count, [](T a, T b) { return a | b; });
      case ScalarOp::bit_xor: return each<T>(x, y, out, count, [](T a, T b) { return a ^ b; });
      case ScalarOp::shift_left:
        return each<T>(x, y, out, count,
                       [](T a, T b) { return U(b) < width ? U(a) << U(b) : U(0); });
      case ScalarOp::shift_right:
        return each<T>(x, y, out, count,
                       [](T a, T b) { return U(b) < width ? U(a) >> U(b) : U(0); });
      default: return compare(op, x, y, out, count);
    }
  }

  static void compute_bool(ScalarOp op, const std::uint8_t* x, const std::uint8_t* y, Register& out,
                           std::int64_t count) {
    using B = std::uint8_t;
    switch (op) {
      case ScalarOp::logical_and: return each<B>(x, y, out, count, [](B a, B b) { return a & b; });
      case ScalarOp::logical_or: return each<B>(x, y, out, count, [](B a, B b) { return a | b; });
      case ScalarOp::logical_not: return each<B>(x, x, out, count, [](B a, B) { return a == 0; });
      default: return compare(op, x, y, out, count);
    }
  }

  template <typename T>
  static void compare(ScalarOp op, const T* x, const T* y, Register& out, std::int64_t count) {
    using B = std::uint8_t;
    switch (op) {
      case ScalarOp::lt: return each<B>(x, y, out, count, [](T a, T b) { return a < b; });
      case ScalarOp::le: return each<B>(x, y, out, count, [](T a, T b) { return a <= b; });
      case ScalarOp::eq: return each<B>(x, y, out, count, [](T a, T b) { return a == b; });
      default: internal_error("scalar", "an instruction does not fit its operand's dtype");
    }
  }

  const ScalarProgram& program_;
  std::span<const std::byte* const> arguments_;
  std::span<const std::int64_t> strides_;
  std::vector<Register> registers_;
};

}  // namespace

void run_scalar_program(const ScalarProgram& program, std::int64_t count,
                        std::span<const std::byte* const> arguments,
                        std::span<const std::int64_t> strides, std::byte* result) {
  Interpreter interpreter(program, arguments, strides);
  for (std::int64_t first = 0; first < count; first += block)
    interpreter.run(first, std::min(block, count - first), result);
}

}  // namespace treadle
