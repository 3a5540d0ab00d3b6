// The scalar language: what a pointwise op computes for one element, written
// once, run by the reference evaluator and emitted by LLVM.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ir/dtype.h"

namespace treadle {

// clang-format off
enum class ScalarOp : std::uint8_t {
  argument,  // `immediate` is the operand's number
  constant,  // `real` (floats) or `immediate` (integers, bool)
  neg, abs, floor, exp, expm1, log, log1p, sqrt, sin, cos, erf, tanh, sigmoid,  // floats
  normal_cdf, normal_pdf, gelu, silu, softplus,  // floats
  is_finite,                             // float -> bool
  add, sub, mul, div, minimum, maximum,  // floats and integers; integers wrap, x / 0 = 0
  pow,                                   // floats
  lt, le, eq,                            // -> bool; a NaN compares false
  logical_and, logical_or, logical_not,  // bool
  bit_and, bit_or, bit_xor, shift_left, shift_right,  // integers; shift_right is logical
  select,                                // (bool, x, x)
  cast,  // to `dtype`; float to integer truncates, saturating; bool is 0 or 1
};
// clang-format on

// minimum and maximum return NaN when either side is NaN.
struct ScalarInstruction {
  ScalarOp op = ScalarOp::constant;
  DType dtype = DType::f32;  // of the result
  std::array<std::uint32_t, 3> operands{};
  double real = 0;
  std::int64_t immediate = 0;
};

// Straight-line code; instruction i defines value i.
struct ScalarProgram {
  std::vector<ScalarInstruction> instructions;
  std::uint32_t result = 0;
};

class ScalarBuilder;

struct Scalar {
  ScalarBuilder* builder = nullptr;
  std::uint32_t id = 0;
  DType dtype() const;
};

class ScalarBuilder {
 public:
  Scalar argument(std::uint32_t number, DType dtype);
  Scalar constant(DType dtype, double value);
  Scalar integer(DType dtype, std::int64_t value);
  Scalar unary(ScalarOp op, Scalar x);
  Scalar binary(ScalarOp op, Scalar x, Scalar y);
  Scalar select(Scalar condition, Scalar x, Scalar y);
  Scalar cast(Scalar x, DType dtype);
  DType dtype(Scalar x) const { return program_.instructions[x.id].dtype; }
  ScalarProgram finish(Scalar result);

 private:
  Scalar push(ScalarInstruction instruction);
  ScalarProgram program_;
};

// Operators and functions, so that a rule reads like its formula. A double
// mixes with a Scalar as a constant of the Scalar's dtype.
Scalar operator+(Scalar x, Scalar y);
Scalar operator-(Scalar x, Scalar y);
Scalar operator*(Scalar x, Scalar y);
Scalar operator/(Scalar x, Scalar y);
Scalar operator-(Scalar x);
Scalar operator+(Scalar x, double y);
Scalar operator+(double x, Scalar y);
Scalar operator-(Scalar x, double y);
Scalar operator-(double x, Scalar y);
Scalar operator*(Scalar x, double y);
Scalar operator*(double x, Scalar y);
Scalar operator/(Scalar x, double y);
Scalar operator/(double x, Scalar y);
Scalar exp(Scalar x);
Scalar expm1(Scalar x);
Scalar log(Scalar x);
Scalar log1p(Scalar x);
Scalar sqrt(Scalar x);
Scalar sin(Scalar x);
Scalar cos(Scalar x);
Scalar erf(Scalar x);
Scalar normal_cdf(Scalar x);
Scalar normal_pdf(Scalar x);
Scalar gelu(Scalar x);
Scalar silu(Scalar x);
Scalar softplus(Scalar x);
Scalar tanh(Scalar x);
Scalar sigmoid(Scalar x);
Scalar abs(Scalar x);
Scalar floor(Scalar x);
Scalar pow(Scalar x, Scalar y);
Scalar minimum(Scalar x, Scalar y);
Scalar maximum(Scalar x, Scalar y);
Scalar less(Scalar x, Scalar y);
Scalar less_equal(Scalar x, Scalar y);
Scalar equal(Scalar x, Scalar y);

// Runs the program over `count` elements. arguments[i] points to the elements
// of operand i, `strides[i]` is 1, or 0 for one element used throughout;
// dtypes are those of the program's argument instructions. Work in f32 rounds
// after each instruction, as compiled code does.
void run_scalar_program(const ScalarProgram& program, std::int64_t count,
                        std::span<const std::byte* const> arguments,
                        std::span<const std::int64_t> strides, std::byte* result);

}  // namespace treadle
