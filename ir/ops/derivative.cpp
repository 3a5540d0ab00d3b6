// Derivatives that a program asks for. They stand in the graph of one example
// until the pass `expand-derivatives` has put ordinary nodes in their place.
#include <fmt/format.h>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

void require_real(const Type& type, std::string_view what) {
  if (!is_float(type.dtype))
    throw InferError{"T0372", fmt::format("{} is {}: only real numbers have derivatives", what,
                                          to_string(type))};
}

std::vector<Type> infer_gradient(const InferContext& c) {
  if (c.operands.size() < 2) throw InferError{"T0334", "it needs a value and what to derive by"};
  if (c.operands[0].rank() != 0)
    throw InferError{"T0371", fmt::format("only a single number has a gradient, this is {}",
                                          to_string(c.operands[0]))};
  for (const Type& type : c.operands) require_real(type, "an operand");
  return {c.operands.begin() + 1, c.operands.end()};
}

std::vector<Type> infer_tangent(const InferContext& c) {
  const auto values = static_cast<std::size_t>(c.attributes.integer("values"));
  if (c.operands.size() < values + 2 || (c.operands.size() - values) % 2 != 0)
    throw InferError{"T0334", "it needs values, what to derive by, and a direction for each"};
  for (const Type& type : c.operands) require_real(type, "an operand");
  const std::size_t count = (c.operands.size() - values) / 2;
  for (std::size_t i = values; i < values + count; ++i)
    if (c.operands[i] != c.operands[i + count])
      throw InferError{"T0375",
                       fmt::format("the direction is {}, what it is a direction of is {}",
                                   to_string(c.operands[i + count]), to_string(c.operands[i]))};
  return {c.operands.begin(), c.operands.begin() + static_cast<std::ptrdiff_t>(values)};
}

OpDef derivative(Op op, std::string_view name, std::string_view doc) {
  OpDef def;
  def.op = op;
  def.name = name;
  def.doc = doc;
  def.family = Family::control;
  def.operands = -1;
  def.no_derivative = "replaced by ordinary nodes before anything is differentiated";
  return def;
}

}  // namespace

template <>
OpDef make_op_def<Op::gradient>() {
  OpDef def = derivative(Op::gradient, "gradient",
                         "(y, x...) -> the gradient of y by each x that stands before it");
  def.infer = infer_gradient;
  return def;
}

template <>
OpDef make_op_def<Op::tangent>() {
  OpDef def = derivative(Op::tangent, "tangent",
                         "(y..., x..., v...) -> how each y changes when each x moves along its v");
  def.attributes = {{"values", AttributeKind::integer}};
  def.infer = infer_tangent;
  return def;
}

}  // namespace treadle
