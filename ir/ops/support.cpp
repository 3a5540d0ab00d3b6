#include "ir/ops/support.h"

#include <algorithm>
#include <cstring>

namespace treadle::ops {

void fail(std::string code, std::string message) {
  throw InferError{std::move(code), std::move(message)};
}

std::string describe(std::span<const Type> operands) {
  static constexpr std::string_view names[] = {"x", "y", "z"};
  std::string out;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const std::string name = i < 3 ? std::string(names[i]) : fmt::format("operand {}", i);
    out += fmt::format("{}{} is {}", i == 0 ? "" : ", ", name, to_string(operands[i]));
  }
  return out;
}

void require_float(const InferContext& c, std::size_t operand) {
  if (!is_float(c.operands[operand].dtype))
    fail("T0311", fmt::format("floating-point elements expected: {}", describe(c.operands)));
}

void require_number(const InferContext& c, std::size_t operand) {
  if (c.operands[operand].dtype == DType::b1)
    fail("T0311", fmt::format("numbers expected: {}", describe(c.operands)));
}

void require_integer(const InferContext& c, std::size_t operand) {
  if (!is_integer(c.operands[operand].dtype))
    fail("T0311", fmt::format("integer elements expected: {}", describe(c.operands)));
}

void require_same_dtype(const InferContext& c, std::size_t a, std::size_t b) {
  if (c.operands[a].dtype != c.operands[b].dtype)
    fail("T0311", fmt::format("element types differ: {}", describe(c.operands)));
}

void require_same_type(const InferContext& c, std::size_t a, std::size_t b) {
  if (c.operands[a].dims != c.operands[b].dims)
    fail("T0310", fmt::format("shapes differ: {}", describe(c.operands)));
  require_same_dtype(c, a, b);
}

void require_axis(std::int64_t axis, const Type& type) {
  if (axis < 0 || axis >= static_cast<std::int64_t>(type.rank()))
    fail("T0314", fmt::format("axis {} does not exist: x is {} with {} axes", axis, to_string(type),
                              type.rank()));
}

void require_axes(const Integers& axes, const Type& type) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    require_axis(axes[i], type);
    if (std::find(axes.begin(), axes.begin() + static_cast<std::ptrdiff_t>(i), axes[i]) !=
        axes.begin() + static_cast<std::ptrdiff_t>(i))
      fail("T0314", fmt::format("axis {} is given twice: x is {}", axes[i], to_string(type)));
  }
}

Integers ascending(std::size_t count, std::int64_t first) {
  Integers out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(first + static_cast<std::int64_t>(i));
  return out;
}

Integers shifted(const Integers& axes) {
  Integers out = axes;
  for (std::int64_t& axis : out) ++axis;
  return out;
}

Integers with_leading(const Integers& axes) {
  Integers out{0};
  for (const std::int64_t axis : axes) out.push_back(axis + 1);
  return out;
}

bool contains(const Integers& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Integers complement(const Integers& axes, std::size_t rank) {
  Integers out;
  for (const std::int64_t axis : ascending(rank))
    if (!contains(axes, axis)) out.push_back(axis);
  return out;
}

Dims without(const Dims& dims, const Integers& axes) {
  Dims out;
  for (const std::int64_t axis : complement(axes, dims.size()))
    out.push_back(dims[static_cast<std::size_t>(axis)]);
  return out;
}

Value rebuild(Builder& b, const Node& node, std::vector<Value> operands,
              std::initializer_list<std::pair<const std::string, Attribute>> changes) {
  Attributes attributes = node.attributes;
  for (const auto& [name, value] : changes) attributes.set(name, value);
  return b.add_node(node.op, std::move(operands), std::move(attributes), node.regions);
}

Value zeros_like(Builder& b, Value v) { return b.constant(b.type(v), 0); }

Value count_of(Builder& b, const Dims& dims, DType dtype) {
  const Dim count = product(dims).at_least(1);
  if (const auto value = count.constant())
    return b.constant({dtype, {}}, static_cast<double>(*value));
  return b.dimension(count, dtype);
}

Value spread(Builder& b, Value reduced, const Dims& dims, const Integers& axes) {
  return b.broadcast(reduced, dims, complement(axes, dims.size()));
}

std::vector<Value> batch_pointwise(BatchContext& c) {
  std::vector<Value> operands;
  for (std::size_t i = 0; i < c.operands.size(); ++i) operands.push_back(c.force(i));
  return {rebuild(c.b, c.node, std::move(operands))};
}

std::vector<Value> jvp_pointwise(JvpContext& c) {
  Value sum;
  const VjpRule vjp = op_def(c.node.op).vjp;
  for (std::size_t i = 0; vjp != nullptr && i < c.operands.size(); ++i) {
    if (!c.tangents[i].valid()) continue;
    std::vector<bool> needs(c.operands.size(), false);
    needs[i] = true;
    VjpContext transposed{c.b, c.node, c.operands, c.outputs, {c.tangents[i]}, std::move(needs)};
    const Value part = vjp(transposed)[i];
    if (part.valid()) sum = sum.valid() ? c.b.add(sum, part) : part;
  }
  return {sum};
}

std::vector<Value> jvp_linear(JvpContext& c) {
  if (!c.tangents[0].valid()) return {Value{}};
  std::vector<Value> operands = c.operands;
  operands[0] = c.tangents[0];
  return {rebuild(c.b, c.node, std::move(operands))};
}

Dim flops_none(const Node&, std::span<const Type>) { return 0; }
Dim flops_per_result(const Node& node, std::span<const Type>) { return node.types[0].count(); }
Dim flops_per_operand(const Node&, std::span<const Type> operands) { return operands[0].count(); }

std::vector<std::int64_t> strides_of(const Shape& shape) {
  std::vector<std::int64_t> out(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) out[axis - 1] = out[axis] * shape[axis];
  return out;
}

void copy_element(Tensor& to, std::int64_t to_index, const Tensor& from, std::int64_t from_index) {
  const auto size = static_cast<std::int64_t>(size_of(from.dtype()));
  std::memcpy(to.data() + to_index * size, from.data() + from_index * size,
              static_cast<std::size_t>(size));
}

AxisView::AxisView(const Shape& shape, std::int64_t axis) {
  const auto middle = static_cast<std::size_t>(axis);
  for (std::size_t i = 0; i < middle; ++i) outer *= shape[i];
  extent = shape[middle];
  for (std::size_t i = middle + 1; i < shape.size(); ++i) inner *= shape[i];
}

}  // namespace treadle::ops
