#include "ir/strided_view.h"

#include <algorithm>
#include <functional>

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

// The ends of the shortest runs of axes from `i` and `j` on that hold as many elements.
std::optional<std::pair<std::size_t, std::size_t>> equal_runs(const Dims& from, std::size_t i,
                                                              const Dims& to, std::size_t j) {
  const auto count = [](const Dims& dims, std::size_t begin, std::size_t end) {
    return product(Dims(dims.begin() + static_cast<std::ptrdiff_t>(begin),
                        dims.begin() + static_cast<std::ptrdiff_t>(end)));
  };
  for (std::size_t axes = 2; axes <= from.size() - i + to.size() - j; ++axes)
    for (std::size_t n = 1; n < axes; ++n)
      if (i + n <= from.size() && j + axes - n <= to.size() &&
          count(from, i, i + n) == count(to, j, j + axes - n))
        return std::pair(i + n, j + axes - n);
  return std::nullopt;
}

}  // namespace

std::optional<Dims> reshaped_strides(const Dims& strides, const Dims& from, const Dims& to) {
  if (strides == dense_strides(from)) return dense_strides(to);
  Dims out(to.size(), Dim(1));
  for (std::size_t i = 0, j = 0; i < from.size() && j < to.size();) {
    const auto ends = equal_runs(from, i, to, j);
    if (!ends) return std::nullopt;
    Integers axes;
    for (; i < ends->first; ++i) axes.push_back(static_cast<std::int64_t>(i));
    const auto stride = merged_stride({{}, Dim(0), strides}, from, axes);
    if (!stride) return std::nullopt;
    Dim next = *stride;
    for (std::size_t k = ends->second; k-- > j;) {
      out[k] = next;
      next = next * to[k];
    }
    j = ends->second;
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
    case Op::windows: {
      const Dim stride = view.strides[axis()];
      view.strides[axis()] = stride * Dim(node.attributes.integer("stride"));
      view.strides.insert(view.strides.begin() + static_cast<std::ptrdiff_t>(axis()) + 1,
                          stride * Dim(node.attributes.integer("dilation")));
      return true;
    }
    case Op::reshape: {
      auto strides = reshaped_strides(view.strides, operand_dims, node.types[0].dims);
      if (!strides) return false;
      view.strides = std::move(*strides);
      return true;
    }
    default: return false;
  }
}

}  // namespace

StridedView strided_view(const Graph& graph, Value v) {
  const StridedView whole{v, Dim(0), dense_strides(graph.type(v).dims)};
  const Node& node = graph.node(v.node);
  const bool looks_through = node.op == Op::slice || node.op == Op::reverse ||
                             node.op == Op::transpose || node.op == Op::reshape ||
                             node.op == Op::windows;
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

std::optional<RowsView> rows_of(const StridedView& view, const Dims& dims) {
  if (dims.back() != Dim(1) && view.strides.back() != Dim(1)) return std::nullopt;
  return RowsView{view.base, view.offset, Dims(view.strides.begin(), view.strides.end() - 2),
                  view.strides[dims.size() - 2]};
}

std::optional<RowsView> rows_view(const Graph& graph, Value v) {
  return rows_of(strided_view(graph, v), graph.type(v).dims);
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

namespace {

// What every index gives anew is stored nowhere until a copy stores it.
bool stands_in_memory(const Graph& graph, Value v) {
  const Op op = graph.node(v.node).op;
  return op != Op::constant && op != Op::iota && op != Op::dimension && op != Op::broadcast;
}

bool reads_windows(const Graph& graph, Value from, Value base) {
  if (!stands_in_memory(graph, base)) return false;
  for (Value v = from; v != base; v = graph.node(v.node).operands[0])
    if (graph.node(v.node).op == Op::windows) return true;
  return false;
}

// How many of the axes, from the last on, one stride describes in both views.
std::size_t merged_from_end(const Integers& axes,
                            const std::function<bool(std::span<const std::int64_t>)>& merges) {
  std::size_t count = std::min<std::size_t>(axes.size(), 1);
  while (count < axes.size() && merges(std::span(axes).last(count + 1))) ++count;
  return count;
}

std::optional<ProductView> looped_view(const Graph& graph, const Node& matmul) {
  const Attributes& at = matmul.attributes;
  const Value va = matmul.operands[0], vb = matmul.operands[1];
  const Dims &da = graph.type(va).dims, &db = graph.type(vb).dims;
  const StridedView a = strided_view(graph, va);
  if (!at.integers("batch_a").empty() || !reads_windows(graph, va, a.base)) return std::nullopt;
  const Integers &ca = at.integers("contract_a"), &cb = at.integers("contract_b");
  const Integers fa = free_axes(da.size(), {}, ca), fb = free_axes(db.size(), {}, cb);
  for (const StridedView& b :
       {strided_view(graph, vb), StridedView{vb, Dim(0), dense_strides(db)}}) {
    const auto b_free = merged_stride(b, db, fb);
    if (!b_free || (b.base != vb && !stands_in_memory(graph, b.base))) continue;
    const std::size_t rows =
        merged_from_end(fa, [&](auto axes) { return merged_stride(a, da, axes).has_value(); });
    const std::size_t sums = merged_from_end(ca, [&](std::span<const std::int64_t> axes) {
      return merged_stride(a, da, axes) && merged_stride(b, db, std::span(cb).last(axes.size()));
    });
    const auto last = [](const Integers& axes, std::size_t count) {
      return Integers(axes.end() - static_cast<std::ptrdiff_t>(count), axes.end());
    };
    const Integers row = last(fa, rows), sum_a = last(ca, sums), sum_b = last(cb, sums);
    ProductView out;
    out.shape = {Dim(1), extent_of(da, row), extent_of(db, fb), extent_of(da, sum_a)};
    out.a = {a.base, a.offset, Dim(0), *merged_stride(a, da, row), *merged_stride(a, da, sum_a)};
    out.b = {b.base, b.offset, Dim(0), *b_free, *merged_stride(b, db, sum_b)};
    for (std::size_t i = 0; i + rows < fa.size(); ++i) {
      const auto axis = static_cast<std::size_t>(fa[i]);
      out.rows.push_back({da[axis], a.strides[axis], Dim(0)});
    }
    for (std::size_t i = 0; i + sums < ca.size(); ++i) {
      const auto axis = static_cast<std::size_t>(ca[i]);
      out.sums.push_back({da[axis], a.strides[axis], b.strides[static_cast<std::size_t>(cb[i])]});
    }
    return out;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ProductView> product_view(const Graph& graph, const Node& matmul) {
  const auto a = matrix_view(graph, matmul, 0), b = matrix_view(graph, matmul, 1);
  const bool copies = !a || !b || a->base == matmul.operands[0];
  if (copies)
    if (auto view = looped_view(graph, matmul)) return view;
  if (!a || !b) return std::nullopt;
  return ProductView{matmul_shape(graph, matmul), *a, *b, {}, {}};
}

}  // namespace treadle
