// Regions that passes make after differentiation.
#include <fmt/format.h>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

std::vector<Type> infer_fused(const InferContext& c) {
  if (c.regions.size() != 1) throw InferError{"T0331", "it needs one region"};
  const Graph& body = *c.regions[0];
  if (body.inputs().size() != c.operands.size())
    throw InferError{"T0331", fmt::format("{} operands meet {} arguments", c.operands.size(),
                                          body.inputs().size())};
  for (std::size_t i = 0; i < c.operands.size(); ++i)
    if (body.type(body.input_value(i)) != c.operands[i])
      throw InferError{"T0331",
                       fmt::format("operand {} is {}, its argument {}", i, to_string(c.operands[i]),
                                   to_string(body.type(body.input_value(i))))};
  std::vector<Type> out;
  for (std::size_t i = 0; i < body.outputs().size(); ++i) out.push_back(body.output_type(i));
  return out;
}

}  // namespace

template <>
OpDef make_op_def<Op::fused>() {
  OpDef def;
  def.op = Op::fused;
  def.name = "fused";
  def.doc = "the nodes of its region, as one kernel";
  def.family = Family::fused;
  def.operands = -1;
  def.attributes = {{"domain", AttributeKind::dims, false}};
  def.infer = infer_fused;
  def.no_derivative = "made after differentiation";
  return def;
}

}  // namespace treadle
