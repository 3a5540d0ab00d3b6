// A value as another value's memory, read with strides.
#pragma once
#include <optional>
#include <span>

#include "ir/graph.h"

namespace treadle {

// Element i of the value stands at offset + sum_k i[k] * strides[k] of `base`,
// which is dense and row-major.
struct StridedView {
  Value base;
  Dim offset;
  Dims strides;
};

Dims dense_strides(const Dims& dims);

// Looks through slice, transpose, reverse and, where the memory allows it,
// reshape; `base` is the first value that is none of those.
StridedView strided_view(const Graph& graph, Value v);

// The stride of the position along `axes` taken together, in order, when one
// stride does; a group of no axes has stride 0.
std::optional<Dim> merged_stride(const StridedView& view, const Dims& dims,
                                 std::span<const std::int64_t> axes);

// A matmul's operand as a batch of matrices [free, contracted].
struct MatrixView {
  Value base;
  Dim offset;
  Dim batch_stride, free_stride, contract_stride;
};
struct MatmulShape {
  Dim batch, m, n, k;
};
MatmulShape matmul_shape(const Graph& graph, const Node& matmul);
// Operand 0 or 1, looked through when that gives strides; none when it must be
// copied first.
std::optional<MatrixView> matrix_view(const Graph& graph, const Node& matmul, std::size_t operand);
// The same for the operand in memory of its own.
std::optional<MatrixView> dense_matrix_view(const Graph& graph, const Node& matmul,
                                            std::size_t operand);

}  // namespace treadle
