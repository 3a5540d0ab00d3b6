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

// Looks through slice, transpose, reverse, windows and, where the memory allows
// it, reshape; `base` is the first value that is none of those.
StridedView strided_view(const Graph& graph, Value v);

// The strides of what stands under dims `from` with these strides, under dims `to`; none
// where a run of axes takes more than one stride.
std::optional<Dims> reshaped_strides(const Dims& strides, const Dims& from, const Dims& to);

// The stride of the position along `axes` taken together, in order, when one
// stride does; a group of no axes has stride 0.
std::optional<Dim> merged_stride(const StridedView& view, const Dims& dims,
                                 std::span<const std::int64_t> axes);

// A value [batch..., rows, columns] whose elements of a row stand side by side.
struct RowsView {
  Value base;
  Dim offset;
  Dims batch_strides;
  Dim row_stride;
};
// None when a row's elements have others between.
std::optional<RowsView> rows_of(const StridedView& view, const Dims& dims);
std::optional<RowsView> rows_view(const Graph& graph, Value v);

// A matmul's operand as a batch of matrices [free, contracted].
struct MatrixView {
  Value base;
  Dim offset;
  Dim batch_stride, free_stride, contract_stride;
  friend bool operator==(const MatrixView&, const MatrixView&) = default;
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

// A product as it is computed: `shape` and the views are those of one product,
// or, with loops, of the smaller ones that it is made of. Windows need loops:
// the rows of a convolution stand in runs, one for each example and image row,
// and its sums in runs too, one for each row of the kernel.
struct ProductView {
  // `a_stride` and `b_stride` are from one turn to the next.
  struct Loop {
    Dim extent, a_stride, b_stride;
    friend bool operator==(const Loop&, const Loop&) = default;
  };
  MatmulShape shape;
  MatrixView a, b;
  std::vector<Loop> rows;  // each turn gives `shape.m` more rows of the result
  std::vector<Loop> sums;  // each turn adds to the same rows
  bool has_loops() const { return !rows.empty() || !sums.empty(); }
};
// None when an operand must be copied first. Loops are used for windows only,
// which a copy would multiply.
std::optional<ProductView> product_view(const Graph& graph, const Node& matmul);

}  // namespace treadle
