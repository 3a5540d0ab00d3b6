#include "ir/strided_view.h"

#include <algorithm>

namespace treadle {

Dims dense_strides(const Dims& dims) {
  Dims out(dims.size());
  Dim stride(1);
  for (std::size_t i = dims.size(); i-- > 0;) {
    out[i] = stride;
    stride = stride * dims[i];
  }
  return out;
}

namespace {

// The view of `v`, given that of its first operand; false when there is none.
bool through(const Node& node, const Dims& operand_dims, StridedView& view) {
  const auto axis = [&] { return static_cast<std::size_t>(node.attributes.integer("axis")); };
  switch (node.op) {
    case Op::slice:
      view.offset = view.offset + node.attributes.dim("start") * view.strides[axis()];
      return true;
    case Op::reverse:
      view.offset = view.offset + (operand_dims[axis()] - Dim(1)) * view.strides[axis()];
      view.strides[axis()] = Dim(0) - view.strides[axis()];
      return true;
    case Op::transpose: {
      Dims strides;
      for (const std::int64_t from : node.attributes.integers("permutation"))
        strides.push_back(view.strides[static_cast<std::size_t>(from)]);
      view.strides = std::move(strides);
      return true;
    }
    case Op::reshape:
      if (view.strides != dense_strides(operand_dims)) return false;
      view.strides = dense_strides(node.types[0].dims);
      return true;
    default: return false;
  }
}

}  // namespace

StridedView strided_view(const Graph& graph, Value v) {
  const StridedView whole{v, Dim(0), dense_strides(graph.type(v).dims)};
  const Node& node = graph.node(v.node);
  const bool looks_through = node.op == Op::slice || node.op == Op::reverse ||
                             node.op == Op::transpose || node.op == Op::reshape;
  if (!looks_through) return whole;
  StridedView view = strided_view(graph, node.operands[0]);
  return through(node, graph.type(node.operands[0]).dims, view) ? view : whole;
}

std::optional<Dim> merged_stride(const StridedView& view, const Dims& dims,
                                 std::span<const std::int64_t> axes) {
  std::optional<Dim> stride;
  Dim inner;
  for (std::size_t i = axes.size(); i-- > 0;) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    if (dims[axis].constant() == 1) continue;
    if (!stride) {
      stride = view.strides[axis];
      inner = *stride * dims[axis];
      continue;
    }
    if (view.strides[axis] != inner) return std::nullopt;
    inner = inner * dims[axis];
  }
  return stride.value_or(Dim(0));
}

namespace {

Integers free_axes(std::size_t rank, const Integers& batch, const Integers& contract) {
  Integers out;
  for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(rank); ++axis)
    if (std::find(batch.begin(), batch.end(), axis) == batch.end() &&
        std::find(contract.begin(), contract.end(), axis) == contract.end())
      out.push_back(axis);
  return out;
}

Dim extent_of(const Dims& dims, const Integers& axes) {
  Dim out(1);
  for (const std::int64_t axis : axes) out = out * dims[static_cast<std::size_t>(axis)];
  return out;
}

std::optional<MatrixView> merged(const StridedView& view, const Graph& graph, const Node& matmul,
                                 std::size_t operand) {
  const Dims& dims = graph.type(matmul.operands[operand]).dims;
  const Integers& batch = matmul.attributes.integers(operand == 0 ? "batch_a" : "batch_b");
  const Integers& contract = matmul.attributes.integers(operand == 0 ? "contract_a" : "contract_b");
  const auto b = merged_stride(view, dims, batch);
  const auto f = merged_stride(view, dims, free_axes(dims.size(), batch, contract));
  const auto c = merged_stride(view, dims, contract);
  if (!b || !f || !c) return std::nullopt;
  return MatrixView{view.base, view.offset, *b, *f, *c};
}

}  // namespace

MatmulShape matmul_shape(const Graph& graph, const Node& matmul) {
  const Dims& a = graph.type(matmul.operands[0]).dims;
  const Dims& b = graph.type(matmul.operands[1]).dims;
  const Attributes& at = matmul.attributes;
  return {
      extent_of(a, at.integers("batch_a")),
      extent_of(a, free_axes(a.size(), at.integers("batch_a"), at.integers("contract_a"))),
      extent_of(b, free_axes(b.size(), at.integers("batch_b"), at.integers("contract_b"))),
      extent_of(a, at.integers("contract_a")),
  };
}

std::optional<MatrixView> matrix_view(const Graph& graph, const Node& matmul, std::size_t operand) {
  const auto through =
      merged(strided_view(graph, matmul.operands[operand]), graph, matmul, operand);
  return through ? through : dense_matrix_view(graph, matmul, operand);
}

std::optional<MatrixView> dense_matrix_view(const Graph& graph, const Node& matmul,
                                            std::size_t operand) {
  const Value v = matmul.operands[operand];
  return merged({v, Dim(0), dense_strides(graph.type(v).dims)}, graph, matmul, operand);
}

}  // namespace treadle
