// Sources, constants, and the scan.
#include <fmt/format.h>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

std::vector<Type> infer_source(const InferContext& c) {
  return {{c.attributes.dtype("dtype"), c.attributes.dims("dims")}};
}

OpDef source(Op op, std::string_view name, std::string_view doc) {
  OpDef def;
  def.op = op;
  def.name = name;
  def.doc = doc;
  def.family = Family::control;
  def.operands = 0;
  def.attributes = {{"dtype", AttributeKind::dtype}, {"dims", AttributeKind::dims}};
  def.infer = infer_source;
  def.no_derivative = "a source has no operands";
  return def;
}

std::vector<Type> infer_constant(const InferContext& c) {
  const Tensor& value = c.attributes.tensor("value");
  return {{value.dtype(), c.attributes.dims("dims")}};
}

void evaluate_constant(EvaluateContext& c) {
  const Tensor& value = c.node.attributes.tensor("value");
  Tensor& out = c.results[0];
  const bool splat = value.size() == 1;
  for (std::int64_t i = 0; i < out.size(); ++i) {
    if (is_float(out.dtype()))
      out.set(i, value.get(splat ? 0 : i));
    else
      out.set_integer(i, value.get_integer(splat ? 0 : i));
  }
}

std::vector<Type> infer_dimension(const InferContext& c) {
  return {{c.attributes.dtype("dtype"), {}}};
}

void evaluate_dimension(EvaluateContext& c) {
  const std::int64_t extent = c.node.attributes.dim("dim").evaluate(c.env);
  if (is_float(c.results[0].dtype()))
    c.results[0].set(0, static_cast<double>(extent));
  else
    c.results[0].set_integer(0, extent);
}

[[noreturn]] void scan_error(std::string message) { throw InferError{"T0330", std::move(message)}; }

std::vector<Type> infer_scan(const InferContext& c) {
  const auto constants = static_cast<std::size_t>(c.attributes.integer("constants"));
  const auto carries = static_cast<std::size_t>(c.attributes.integer("carries"));
  const Dim& length = c.attributes.dim("length");
  if (c.regions.size() != 1) scan_error("it needs one region, the step");
  const Graph& body = *c.regions[0];
  if (c.operands.size() != body.inputs().size() || c.operands.size() < constants + carries)
    scan_error(fmt::format("{} operands meet {} arguments of the step", c.operands.size(),
                           body.inputs().size()));
  if (body.outputs().size() < carries) scan_error("the step returns fewer values than it carries");
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    Type expected = c.operands[i];
    if (i >= constants + carries) {
      if (expected.dims.empty() || expected.dims[0] != length)
        scan_error(fmt::format("a sequence is {}, but the scan's length is {}", to_string(expected),
                               length.to_string()));
      expected.dims.erase(expected.dims.begin());
    }
    const Type& found = body.type(body.input_value(i));
    if (found != expected)
      scan_error(fmt::format("operand {} gives the step {}, its argument is {}", i,
                             to_string(expected), to_string(found)));
  }
  std::vector<Type> out;
  for (std::size_t i = 0; i < body.outputs().size(); ++i) {
    Type type = body.output_type(i);
    if (i < carries) {
      if (type != c.operands[constants + i])
        scan_error(fmt::format("a carried value starts as {} and becomes {} after a step",
                               to_string(c.operands[constants + i]), to_string(type)));
    } else {
      type.dims.insert(type.dims.begin(), length);
    }
    out.push_back(std::move(type));
  }
  return out;
}

}  // namespace

template <>
OpDef make_op_def<Op::input>() {
  OpDef def = source(Op::input, "input", "a tensor given at run time");
  def.attributes.push_back({"name", AttributeKind::string});
  return def;
}

template <>
OpDef make_op_def<Op::parameter>() {
  OpDef def = source(Op::parameter, "parameter", "a trained tensor, with its initialiser");
  def.attributes.push_back({"name", AttributeKind::string});
  def.attributes.push_back({"initialiser", AttributeKind::string});
  return def;
}

template <>
OpDef make_op_def<Op::argument>() {
  return source(Op::argument, "argument", "an input of a region");
}

template <>
OpDef make_op_def<Op::constant>() {
  OpDef def = source(Op::constant, "constant", "fixed elements: one for all, or each its own");
  def.attributes = {{"dims", AttributeKind::dims}, {"value", AttributeKind::tensor}};
  def.infer = infer_constant;
  def.evaluate = evaluate_constant;
  return def;
}

template <>
OpDef make_op_def<Op::dimension>() {
  OpDef def = source(Op::dimension, "dimension", "the value of a dimension as a scalar");
  def.attributes = {{"dim", AttributeKind::dims}, {"dtype", AttributeKind::dtype}};
  def.infer = infer_dimension;
  def.evaluate = evaluate_dimension;
  return def;
}

// Its vjp and batch rule need whole-graph transforms and live in passes/
// (differentiate_scan.cpp, batch.cpp); the evaluator runs its region.
template <>
OpDef make_op_def<Op::scan>() {
  OpDef def;
  def.op = Op::scan;
  def.name = "scan";
  def.doc = "a loop over time: (constants, carries, rows) -> (carries, output rows)";
  def.family = Family::control;
  def.operands = -1;
  def.attributes = {{"constants", AttributeKind::integer},
                    {"carries", AttributeKind::integer},
                    {"length", AttributeKind::dims},
                    {"reverse", AttributeKind::boolean}};
  def.infer = infer_scan;
  def.no_derivative = "differentiated by the pass, as a scan that runs the other way";
  return def;
}

}  // namespace treadle
