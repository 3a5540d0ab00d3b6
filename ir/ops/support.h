// What the families of ops share: checks of `infer`, rules that fit many ops.
#pragma once
#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

namespace treadle::ops {

// Codes: T0310 shapes differ, T0311 wrong dtype, T0312 inner dimensions differ,
// T0313 wrong rank, T0314 bad axis, T0315 reshape changes the count,
// T0316 a negative range, T0327 one outside the dimension, T0318 an index outside the dimension.
[[noreturn]] void fail(std::string code, std::string message);
// "x is f32[3], y is f32[4]"; operands are called x, y, z.
std::string describe(std::span<const Type> operands);

void require_float(const InferContext& c, std::size_t operand);
void require_number(const InferContext& c, std::size_t operand);  // not bool
void require_integer(const InferContext& c, std::size_t operand);
void require_same_dtype(const InferContext& c, std::size_t a, std::size_t b);
void require_same_type(const InferContext& c, std::size_t a, std::size_t b);
// An axis attribute within [0, rank).
void require_axis(std::int64_t axis, const Type& type);
// Axes within [0, rank), each at most once.
void require_axes(const Integers& axes, const Type& type);

// 0, 1, ..., count-1, from `first`.
Integers ascending(std::size_t count, std::int64_t first = 0);
Integers shifted(const Integers& axes);       // each plus one
Integers with_leading(const Integers& axes);  // 0, then each plus one
Integers complement(const Integers& axes, std::size_t rank);
Dims without(const Dims& dims, const Integers& axes);
bool contains(const Integers& axes, std::int64_t axis);

// The node again on other operands, some attributes changed.
Value rebuild(Builder& b, const Node& node, std::vector<Value> operands,
              std::initializer_list<std::pair<const std::string, Attribute>> changes = {});
Value zeros_like(Builder& b, Value v);
// The product of dims as a scalar, at least 1.
Value count_of(Builder& b, const Dims& dims, DType dtype);
// `reduced` is `dims` without `axes`; its rows stretch over them.
Value spread(Builder& b, Value reduced, const Dims& dims, const Integers& axes);

// Batch rule: every operand gets the batch, the node stays as it is.
std::vector<Value> batch_pointwise(BatchContext& c);
// Forward rule of pointwise ops: the Jacobian is diagonal, so that the vjp is
// its own transpose.
std::vector<Value> jvp_pointwise(JvpContext& c);
// Forward rule of ops that are linear in operand 0, the only one with a
// derivative.
std::vector<Value> jvp_linear(JvpContext& c);

Dim flops_none(const Node& node, std::span<const Type> operands);
Dim flops_per_result(const Node& node, std::span<const Type> operands);   // one an element
Dim flops_per_operand(const Node& node, std::span<const Type> operands);  // of operand 0

// Row-major strides in elements.
std::vector<std::int64_t> strides_of(const Shape& shape);
// Calls function(linear, offset) for each element of `shape` in row-major
// order, offset = sum of index * stride.
template <typename Function>
void for_each_offset(const Shape& shape, const std::vector<std::int64_t>& strides,
                     Function&& function) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  std::vector<std::int64_t> index(shape.size(), 0);
  std::int64_t offset = 0;
  for (std::int64_t linear = 0; linear < count; ++linear) {
    function(linear, offset);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}
// Copies one element of the same dtype.
void copy_element(Tensor& to, std::int64_t to_index, const Tensor& from, std::int64_t from_index);

// A shape seen around one axis: [outer][extent][inner].
struct AxisView {
  AxisView(const Shape& shape, std::int64_t axis);
  std::int64_t outer = 1, extent = 1, inner = 1;
  std::int64_t at(std::int64_t o, std::int64_t e, std::int64_t i) const {
    return (o * extent + e) * inner + i;
  }
};

// Short forms for probes.
inline ProbeOperand probe(Dims dims, double low = -1, double high = 1, DType dtype = DType::f32) {
  return {{dtype, std::move(dims)}, low, high};
}

}  // namespace treadle::ops
