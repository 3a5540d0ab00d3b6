// Windows over an axis, padding, and products over several axes: what
// convolutions are made of.
#include <fmt/format.h>

#include <numeric>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

TensorValue GraphMaker::windows(const TensorValue& x, std::int64_t axis, const Dim& size,
                                std::int64_t stride, std::int64_t dilation,
                                const SourceRange& range) {
  const auto at = static_cast<std::size_t>(axis);
  if (stride < 1 || dilation < 1)
    fail("T0355", range, "a window's stride and dilation are at least 1",
         fmt::format("stride {}, dilation {}", stride, dilation));
  const auto known_size = size.constant();
  if (known_size && *known_size < 1)
    fail("T0355", range, fmt::format("a window of {} elements", *known_size));
  const Dim& extent = x.type.dims[at];
  const Dim reach = (size - Dim(1)) * Dim(dilation) + Dim(1);
  if (const auto left = (extent - reach).constant(); left && *left < 0)
    fail("T0355", range,
         fmt::format("a window reaches over {} elements, there are {}", reach.to_string(),
                     extent.to_string()),
         fmt::format("axis {} of {}", axis, show_type(x)),
         {"pad(x, low, high) puts zeros around the elements"});
  return guarded(range, [&] {
    TensorValue out = tensor(b().windows(use(x), axis, size, stride, dilation));
    out.classes = x.classes;
    out.origins = x.origins;
    if (!out.origins.empty()) {
      out.origins[at] = {};
      out.origins.insert(out.origins.begin() + axis + 1, Origin{});
    }
    return out;
  });
}

TensorValue GraphMaker::pad(const TensorValue& x, std::int64_t axis, const Dim& low,
                            const Dim& high, const std::optional<TensorValue>& value,
                            const SourceRange& range) {
  for (const Dim& dim : {low, high})
    if (const auto known = dim.constant(); known && *known < 0)
      fail("T0355", range, fmt::format("padding by {} elements", *known), {},
           {"a slice takes elements away: x[1:]"});
  if (low == Dim(0) && high == Dim(0)) return x;
  return guarded(range, [&] {
    TensorValue out = tensor(b().pad(use(x), axis, low, high));
    if (value) {
      const Dims dims = out.type.dims;
      if (value->type.rank() != 0)
        fail("T0310", range, "the value of 'pad' is one number",
             fmt::format("this is {}", show_type(*value)));
      const Value place = b().iota(dims, axis, DType::i64);
      const auto bound = [&](const Dim& dim) {
        return b().broadcast_scalar(b().dimension(dim, DType::i64), dims);
      };
      const Dim end = low + x.type.dims[static_cast<std::size_t>(axis)];
      const Value inside = b().logical_and(b().ge(place, bound(low)), b().lt(place, bound(end)));
      out = tensor(b().select(inside, use(out), b().broadcast_scalar(use(*value), dims)));
    }
    out.origins = x.origins;
    if (!out.origins.empty()) out.origins[static_cast<std::size_t>(axis)] = {};
    return out;
  });
}

TensorValue GraphMaker::contract(const TensorValue& x, const TensorValue& y, std::int64_t axes,
                                 const SourceRange& range) {
  const auto label = [&] { return fmt::format("x: {}   y: {}", show_type(x), show_type(y)); };
  const auto m = static_cast<std::int64_t>(x.type.rank());
  const auto n = static_cast<std::int64_t>(y.type.rank());
  if (axes < 1 || axes > m || axes > n)
    fail("T0351", range, fmt::format("'contract' has no {} axes to sum over", axes), label());
  for (std::int64_t i = 0; i < axes; ++i)
    if (x.type.dims[static_cast<std::size_t>(m - axes + i)] !=
        y.type.dims[static_cast<std::size_t>(i)])
      fail("T0312", range, "inner dimensions differ in 'contract'", label(), dim_notes({&x, &y}));
  Integers last(static_cast<std::size_t>(axes)), first(static_cast<std::size_t>(axes));
  std::iota(last.begin(), last.end(), m - axes);
  std::iota(first.begin(), first.end(), 0);
  return guarded(range, [&] {
    TensorValue out = tensor(b().matmul(use(x), use(y), last, first));
    if (x.origins.size() == x.type.rank() && y.origins.size() == y.type.rank()) {
      out.origins.assign(x.origins.begin(), x.origins.end() - axes);
      out.origins.insert(out.origins.end(), y.origins.begin() + axes, y.origins.end());
    }
    return out;
  });
}

}  // namespace treadle::elaboration
