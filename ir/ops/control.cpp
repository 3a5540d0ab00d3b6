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
  if (c.regions.size() != 1) scan_error("it needs one region, the step");
  const Graph& body = *c.regions[0];
  const std::size_t bounds = scan_bounds(c.attributes).size();
  const auto constants = static_cast<std::size_t>(c.attributes.integer("constants"));
  const auto carries = static_cast<std::size_t>(c.attributes.integer("carries"));
  if (c.operands.size() != body.inputs().size() + bounds ||
      body.inputs().size() < constants + carries)
    scan_error(fmt::format("{} operands meet {} arguments of the step and {} bounds",
                           c.operands.size(), body.inputs().size(), bounds));
  if (body.outputs().size() < carries) scan_error("the step returns fewer values than it carries");
  const ScanView view(c.attributes, c.operands.size(), body);
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    const Type& inner = body.type(body.input_value(i));
    const bool sequence = i >= view.first_sequence();
    if (!view.stackable(inner))
      scan_error(fmt::format("argument {} of the step is {}: a bound dimension comes first", i,
                             to_string(inner)));
    const Type expected = sequence ? view.stacked(inner) : view.carried(inner);
    if (c.operands[i] != expected)
      scan_error(fmt::format("argument {} of the step is {}: its operand is {}, expected {}", i,
                             to_string(inner), to_string(c.operands[i]), to_string(expected)));
  }
  for (std::size_t i = view.first_count(); i < c.operands.size(); ++i)
    if (c.operands[i] != Type{DType::i32, {view.length}})
      scan_error(fmt::format("the counts are {}, expected i32[{}]", to_string(c.operands[i]),
                             view.length.to_string()));
  std::vector<Type> out;
  for (std::size_t i = 0; i < body.outputs().size(); ++i) {
    const Type type = body.output_type(i);
    if (!view.stackable(type))
      scan_error(
          fmt::format("the step returns {}: a bound dimension comes first", to_string(type)));
    if (i >= carries) {
      out.push_back(view.stacked(type));
      continue;
    }
    const Type& before = body.type(body.input_value(constants + i));
    if (type != before)
      scan_error(fmt::format("a carried value starts as {} and becomes {} after a step",
                             to_string(before), to_string(type)));
    out.push_back(view.carried(type));
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
  def.attributes = {{"constants", AttributeKind::integer}, {"carries", AttributeKind::integer},
                    {"length", AttributeKind::dims},       {"reverse", AttributeKind::boolean},
                    {"bound", AttributeKind::dims, false}, {"rows", AttributeKind::dims, false},
                    {"most", AttributeKind::dims, false}};
  def.infer = infer_scan;
  def.no_derivative = "differentiated by the pass, as a scan that runs the other way";
  return def;
}

}  // namespace treadle
