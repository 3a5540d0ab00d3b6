// The record of an op: everything there is to know about it.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/scalar.h"

namespace treadle {

class Builder;

enum class Family : std::uint8_t {
  pointwise,
  random,
  linalg,
  shape,
  reduce,
  index,
  control,
  fused
};

// Thrown by `infer`: what does not fit. The Builder adds op and place, and
// makes it a UserError.
struct InferError {
  std::string code;  // "T0312"
  std::string message;
};

struct InferContext {
  std::span<const Type> operands;
  const Attributes& attributes;
  std::span<const Region> regions;
};

// Reverse mode: from the gradients of the outputs to those of the operands.
// Builds ordinary nodes.
struct VjpContext {
  Builder& b;
  const Node& node;               // its `types` are those of the outputs
  std::vector<Value> operands;    // in b's graph
  std::vector<Value> outputs;     // in b's graph
  std::vector<Value> cotangents;  // of the outputs; invalid: zero
  std::vector<bool> needs;        // is this operand's gradient wanted?
  Value dy() const { return cotangents[0]; }
};
// One per operand; an invalid Value is a zero gradient.
using VjpRule = std::vector<Value> (*)(VjpContext&);

// Forward mode: from tangents of the operands (invalid: zero) to tangents of
// the outputs.
struct JvpContext {
  Builder& b;
  const Node& node;
  std::vector<Value> operands;
  std::vector<Value> outputs;
  std::vector<Value> tangents;
};
using JvpRule = std::vector<Value> (*)(JvpContext&);

// One example -> many. A batched operand has the batch as its first dimension;
// the others are shared by all examples. Called only when some operand is
// batched; all outputs come out batched.
struct BatchContext {
  Builder& b;
  const Node& node;             // as it was, before batching
  const Graph& graph;           // the graph that `node` stands in
  std::vector<Value> operands;  // in b's graph
  std::vector<bool> batched;
  Dim batch;
  // The operand with a batch dimension, broadcast if it was shared.
  Value force(std::size_t i);
  // `dims` with the batch in front.
  Dims with_batch(const Dims& dims) const;
};
using BatchRule = std::vector<Value> (*)(BatchContext&);

// Reference evaluation of ops that are not pointwise.
struct EvaluateContext {
  const Node& node;
  std::span<const Tensor* const> operands;
  std::vector<Tensor>& results;  // made with the output types' shapes, zero-filled
  const DimEnv& env;
};
using EvaluateRule = void (*)(EvaluateContext&);

// Pointwise ops: one element. `out` is the dtype of the result.
using ScalarRule = Scalar (*)(ScalarBuilder&, std::span<const Scalar> x, DType out);

// Composite ops (softmax, mean, ...) rewritten into core ops.
using DecomposeRule = std::vector<Value> (*)(Builder&, const Node&,
                                             std::span<const Value> operands);

// A case that the derived tests run: concrete operand types, attributes, and
// the range from which each operand's elements are drawn.
struct ProbeOperand {
  Type type;
  double low = -1;
  double high = 1;
};
struct Probe {
  std::vector<ProbeOperand> operands;
  Attributes attributes;
  std::vector<Region> regions;
};

enum class AttributeKind : std::uint8_t {
  boolean,
  integer,
  real,
  string,
  integers,
  dims,
  dtype,
  tensor
};
struct AttributeSpec {
  std::string_view name;
  AttributeKind kind = AttributeKind::integer;
  bool required = true;
};

struct OpDef {
  Op op = Op::constant;
  std::string_view name;
  std::string_view doc;  // one line: what it computes
  Family family = Family::pointwise;
  int operands = 1;  // -1: any number
  std::vector<AttributeSpec> attributes;
  std::vector<Type> (*infer)(const InferContext&) = nullptr;
  ScalarRule scalar = nullptr;      // pointwise and random families
  EvaluateRule evaluate = nullptr;  // the rest
  VjpRule vjp = nullptr;
  JvpRule jvp = nullptr;
  std::string_view no_derivative;  // the reason, when vjp is null
  BatchRule batch = nullptr;
  DecomposeRule decompose = nullptr;  // composite ops
  // Floating-point operations of the node as an expression over its dims
  // (a multiply-add is two; pointwise ops count per element).
  Dim (*flops)(const Node&, std::span<const Type> operands) = nullptr;
  std::vector<Probe> (*probes)() = nullptr;

  bool pointwise() const { return scalar != nullptr; }
};

template <Op op>
OpDef make_op_def();

const OpDef& op_def(Op op);
std::span<const Op> all_ops();
std::optional<Op> op_from_name(std::string_view name);
inline std::string_view to_string(Op op) { return op_def(op).name; }

// The sums of products of two operands.
inline bool is_product(Op op) { return op == Op::matmul || op == Op::matmul_add; }

}  // namespace treadle
