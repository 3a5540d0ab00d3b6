// matmul: the general contraction of two tensors; matmul_add: added to a third one.
#include <algorithm>

#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

// The axes of both operands by their part in the contraction.
struct Contraction {
  explicit Contraction(const Attributes& attributes, std::size_t rank_a, std::size_t rank_b)
      : contract_a(attributes.integers("contract_a")),
        contract_b(attributes.integers("contract_b")),
        batch_a(attributes.integers("batch_a")),
        batch_b(attributes.integers("batch_b")),
        free_a(free_axes(contract_a, batch_a, rank_a)),
        free_b(free_axes(contract_b, batch_b, rank_b)) {}
  Integers contract_a, contract_b, batch_a, batch_b, free_a, free_b;

 private:
  static Integers free_axes(Integers used, const Integers& batch, std::size_t rank) {
    used.insert(used.end(), batch.begin(), batch.end());
    return complement(used, rank);
  }
};

Contraction contraction_of(const Builder& b, const Node& node, std::span<const Value> operands) {
  return Contraction(node.attributes, b.type(operands[0]).rank(), b.type(operands[1]).rank());
}

// Are the operands rounded to bfloat16 before they are multiplied?
bool rounds_operands(const Attributes& attributes) {
  return attributes.has("operands") && attributes.dtype("operands") == DType::bf16;
}

const Dim& at(const Type& type, std::int64_t axis) {
  return type.dims[static_cast<std::size_t>(axis)];
}

std::string describe_pair(const Type& a, const Type& b) {
  return fmt::format("a is {}, b is {}", to_string(a), to_string(b));
}

void check_pairs(const Type& a, const Type& b, const Integers& axes_a, const Integers& axes_b,
                 std::string_view code, std::string_view what) {
  if (axes_a.size() != axes_b.size())
    fail("T0313",
         fmt::format("{} dimensions of a and b differ in number: {}", what, describe_pair(a, b)));
  for (std::size_t i = 0; i < axes_a.size(); ++i)
    if (at(a, axes_a[i]) != at(b, axes_b[i]))
      fail(std::string(code), fmt::format("{} dimensions differ: {}", what, describe_pair(a, b)));
}

void check_axes(const Type& type, Integers axes, const Integers& more) {
  axes.insert(axes.end(), more.begin(), more.end());
  require_axes(axes, type);
}

std::vector<Type> infer_matmul(const InferContext& c) {
  const Type& a = c.operands[0];
  const Type& b = c.operands[1];
  const Attributes& attributes = c.attributes;
  check_axes(a, attributes.integers("contract_a"), attributes.integers("batch_a"));
  check_axes(b, attributes.integers("contract_b"), attributes.integers("batch_b"));
  const Contraction axes(attributes, a.rank(), b.rank());
  check_pairs(a, b, axes.contract_a, axes.contract_b, "T0312", "inner");
  check_pairs(a, b, axes.batch_a, axes.batch_b, "T0310", "batch");
  if (a.dtype != b.dtype)
    fail("T0311", fmt::format("element types differ: {}", describe_pair(a, b)));
  if (!is_float(a.dtype))
    fail("T0311", fmt::format("floating-point elements expected: {}", describe_pair(a, b)));
  if (rounds_operands(attributes) && a.dtype != DType::f32)
    fail("T0311", fmt::format("f32 elements expected, to be rounded: {}", describe_pair(a, b)));
  Type out{a.dtype, {}};
  for (const std::int64_t axis : axes.batch_a) out.dims.push_back(at(a, axis));
  for (const std::int64_t axis : axes.free_a) out.dims.push_back(at(a, axis));
  for (const std::int64_t axis : axes.free_b) out.dims.push_back(at(b, axis));
  return {out};
}

std::vector<Type> infer_matmul_add(const InferContext& c) {
  std::vector<Type> out = infer_matmul(c);
  if (c.operands[2] != out[0])
    fail("T0310", fmt::format("what is added is {}, the product {}", to_string(c.operands[2]),
                              to_string(out[0])));
  return out;
}

// The elements as [batch][outer][inner], widened to f64.
struct Packed {
  Packed(const Tensor& t, const Integers& batch, const Integers& outer, const Integers& inner) {
    const std::vector<std::int64_t> strides = strides_of(t.shape());
    Shape shape;
    std::vector<std::int64_t> order;
    std::int64_t* counts[] = {&batch_count, &outer_count, &inner_count};
    const Integers* groups[] = {&batch, &outer, &inner};
    for (std::size_t g = 0; g < 3; ++g) {
      for (const std::int64_t axis : *groups[g]) {
        shape.push_back(t.shape()[static_cast<std::size_t>(axis)]);
        order.push_back(strides[static_cast<std::size_t>(axis)]);
        *counts[g] *= shape.back();
      }
    }
    elements.resize(static_cast<std::size_t>(t.size()));
    for_each_offset(shape, order, [&](std::int64_t linear, std::int64_t offset) {
      elements[static_cast<std::size_t>(linear)] = t.get(offset);
    });
  }
  const double* row(std::int64_t batch, std::int64_t outer) const {
    return elements.data() + (batch * outer_count + outer) * inner_count;
  }
  std::int64_t batch_count = 1, outer_count = 1, inner_count = 1;
  std::vector<double> elements;
};

// Sums in f64, rounded once to the dtype; of matmul_add they start from its third operand.
void evaluate_matmul(EvaluateContext& c) {
  Tensor rounded_a, rounded_b;
  if (rounds_operands(c.node.attributes)) {
    rounded_a = c.operands[0]->cast(DType::bf16);
    rounded_b = c.operands[1]->cast(DType::bf16);
  }
  const Tensor& ta = rounded_a.size() != 0 ? rounded_a : *c.operands[0];
  const Tensor& tb = rounded_b.size() != 0 ? rounded_b : *c.operands[1];
  const Contraction axes(c.node.attributes, ta.shape().size(), tb.shape().size());
  const Packed a(ta, axes.batch_a, axes.free_a, axes.contract_a);
  const Packed b(tb, axes.batch_b, axes.contract_b, axes.free_b);
  const std::int64_t columns = b.inner_count;
  std::vector<double> sums(static_cast<std::size_t>(columns));
  const Tensor* start = c.node.op == Op::matmul_add ? c.operands[2] : nullptr;
  std::int64_t next = 0;
  for (std::int64_t batch = 0; batch < a.batch_count; ++batch) {
    for (std::int64_t m = 0; m < a.outer_count; ++m) {
      for (std::int64_t n = 0; n < columns; ++n)
        sums[static_cast<std::size_t>(n)] = start == nullptr ? 0.0 : start->get(next + n);
      for (std::int64_t k = 0; k < a.inner_count; ++k) {
        const double factor = a.row(batch, m)[k];
        const double* row = b.row(batch, k);
        for (std::int64_t n = 0; n < columns; ++n)
          sums[static_cast<std::size_t>(n)] += factor * row[n];
      }
      for (const double sum : sums) c.results[0].set(next++, sum);
    }
  }
}

// Dimension k of `v` is the operand's axis axes[k]: into the operand's order.
Value in_order(Builder& b, Value v, const Integers& axes) {
  Integers permutation(axes.size());
  for (std::size_t k = 0; k < axes.size(); ++k)
    permutation[static_cast<std::size_t>(axes[k])] = static_cast<std::int64_t>(k);
  return permutation == ascending(axes.size()) ? v : b.transpose(v, permutation);
}

Integers joined(Integers a, const Integers& b, const Integers& c) {
  a.insert(a.end(), b.begin(), b.end());
  a.insert(a.end(), c.begin(), c.end());
  return a;
}

// The partners in `to` of `from`'s axes, in ascending order of `from`.
Integers partners(const Integers& from, const Integers& to) {
  Integers sorted = from, out;
  std::sort(sorted.begin(), sorted.end());
  for (const std::int64_t axis : sorted) {
    const auto found = std::find(from.begin(), from.end(), axis);
    out.push_back(to[static_cast<std::size_t>(found - from.begin())]);
  }
  return out;
}

std::vector<Value> vjp_matmul(VjpContext& c) {
  const Contraction axes = contraction_of(c.b, c.node, c.operands);
  const std::size_t batches = axes.batch_a.size();
  const Integers batch = ascending(batches);
  const Integers rows = ascending(axes.free_a.size(), static_cast<std::int64_t>(batches));
  const Integers columns =
      ascending(axes.free_b.size(), static_cast<std::int64_t>(batches + axes.free_a.size()));
  std::vector<Value> out(2);
  if (c.needs[0]) {
    // [batch, free a, contracted in b's order]
    const Value da = c.b.matmul(c.dy(), c.operands[1], columns, axes.free_b, batch, axes.batch_b);
    out[0] = in_order(
        c.b, da, joined(axes.batch_a, axes.free_a, partners(axes.contract_b, axes.contract_a)));
  }
  if (c.needs[1]) {
    // [batch, contracted in a's order, free b]
    const Value db = c.b.matmul(c.operands[0], c.dy(), axes.free_a, rows, axes.batch_a, batch);
    out[1] = in_order(
        c.b, db, joined(axes.batch_b, partners(axes.contract_a, axes.contract_b), axes.free_b));
  }
  return out;
}

std::vector<Value> jvp_matmul(JvpContext& c) {
  Value sum;
  for (std::size_t i = 0; i < 2; ++i) {
    if (!c.tangents[i].valid()) continue;
    std::vector<Value> operands = c.operands;
    operands[i] = c.tangents[i];
    const Value part = rebuild(c.b, c.node, operands);
    sum = sum.valid() ? c.b.add(sum, part) : part;
  }
  return {sum};
}

std::vector<Value> vjp_matmul_add(VjpContext& c) {
  std::vector<Value> out = vjp_matmul(c);
  out.push_back(c.needs[2] ? c.dy() : Value{});
  return out;
}

// The product alone.
Node product_of(Node node) {
  node.op = Op::matmul;
  node.operands.resize(2);
  return node;
}

std::vector<Value> jvp_matmul_add(JvpContext& c) {
  Value sum = c.tangents[2];
  const Node product = product_of(c.node);
  for (std::size_t i = 0; i < 2; ++i) {
    if (!c.tangents[i].valid()) continue;
    std::vector<Value> operands{c.operands[0], c.operands[1]};
    operands[i] = c.tangents[i];
    const Value part = rebuild(c.b, product, operands);
    sum = sum.valid() ? c.b.add(sum, part) : part;
  }
  return {sum};
}

// Dimension `from` of `v` to the front.
Value to_front(Builder& b, Value v, std::size_t from) {
  if (from == 0) return v;
  Integers permutation{static_cast<std::int64_t>(from)};
  for (const std::int64_t axis : ascending(b.type(v).rank()))
    if (axis != static_cast<std::int64_t>(from)) permutation.push_back(axis);
  return b.transpose(v, permutation);
}

// `v` with its first dimension behind `to` others.
Value from_front(Builder& b, Value v, std::size_t to) {
  if (to == 0) return v;
  Integers permutation = ascending(to, 1);
  permutation.push_back(0);
  for (std::size_t axis = to + 1; axis < b.type(v).rank(); ++axis)
    permutation.push_back(static_cast<std::int64_t>(axis));
  return b.transpose(v, permutation);
}

std::vector<Value> batch_matmul(BatchContext& c) {
  if (!c.batched[0] && !c.batched[1]) {  // what is added is
    c.operands[0] = c.force(0);
    c.batched[0] = true;
  }
  const std::size_t rank_a = c.b.type(c.operands[0]).rank() - (c.batched[0] ? 1 : 0);
  const std::size_t rank_b = c.b.type(c.operands[1]).rank() - (c.batched[1] ? 1 : 0);
  const Contraction axes(c.node.attributes, rank_a, rank_b);
  const auto moved = [&](std::size_t operand, const Integers& list) {
    return c.batched[operand] ? shifted(list) : list;
  };
  // Of a result whose batch is behind `before` other dimensions.
  const auto with_added = [&](Value a, Value b, std::size_t before) {
    std::vector<Value> operands{a, b};
    if (c.operands.size() == 3) operands.push_back(from_front(c.b, c.force(2), before));
    return operands;
  };
  const Attribute contract_a = moved(0, axes.contract_a), batch_a = moved(0, axes.batch_a);
  const Attribute contract_b = moved(1, axes.contract_b), batch_b = moved(1, axes.batch_b);
  if (c.batched[0] && c.batched[1]) {
    return {rebuild(c.b, c.node, with_added(c.operands[0], c.operands[1], 0),
                    {{"contract_a", contract_a},
                     {"contract_b", contract_b},
                     {"batch_a", joined({0}, std::get<Integers>(batch_a), {})},
                     {"batch_b", joined({0}, std::get<Integers>(batch_b), {})}})};
  }
  // A matrix applied to one vector of each example: `b` first makes the batch
  // lead with no transpose.
  if (c.batched[1] && axes.batch_a.empty() && axes.free_b.empty()) {
    return {rebuild(c.b, c.node, with_added(c.operands[1], c.operands[0], 0),
                    {{"contract_a", contract_b},
                     {"contract_b", contract_a},
                     {"batch_a", Integers{}},
                     {"batch_b", Integers{}}})};
  }
  const std::size_t before = axes.batch_a.size() + (c.batched[0] ? 0 : axes.free_a.size());
  const Value out = rebuild(c.b, c.node, with_added(c.operands[0], c.operands[1], before),
                            {{"contract_a", contract_a},
                             {"contract_b", contract_b},
                             {"batch_a", batch_a},
                             {"batch_b", batch_b}});
  return {to_front(c.b, out, before)};
}

Dim flops_matmul(const Node& node, std::span<const Type> operands) {
  Dim inner = 1;
  for (const std::int64_t axis : node.attributes.integers("contract_a"))
    inner = inner * at(operands[0], axis);
  return Dim(2) * node.types[0].count() * inner;
}

Attributes axes_of(Integers contract_a, Integers contract_b, Integers batch_a = {},
                   Integers batch_b = {}) {
  return {{"contract_a", std::move(contract_a)},
          {"contract_b", std::move(contract_b)},
          {"batch_a", std::move(batch_a)},
          {"batch_b", std::move(batch_b)}};
}

std::vector<Probe> probes_matmul() {
  return {
      {{probe({3, 5}), probe({5, 4})}, axes_of({1}, {0}), {}},
      {{probe({5}), probe({5, 4})}, axes_of({0}, {0}), {}},
      {{probe({4, 5}), probe({5})}, axes_of({1}, {0}), {}},
      {{probe({3}), probe({4})}, axes_of({}, {}), {}},
      {{probe({2, 3, 5}), probe({4, 2, 5})}, axes_of({2}, {2}, {0}, {1}), {}},
      // Two contracted dimensions, in another order in b; a batch in the middle.
      {{probe({3, 2, 5, 4}), probe({4, 3, 2, 6})}, axes_of({0, 3}, {1, 0}, {1}, {2}), {}},
      {{probe({3, 0}), probe({0, 4})}, axes_of({1}, {0}), {}},
  };
}

std::vector<Probe> probes_matmul_add() {
  std::vector<Probe> out = probes_matmul();
  const Dims results[] = {{3, 4}, {4}, {4}, {3, 4}, {2, 3, 4}, {2, 5, 6}, {3, 4}};
  for (std::size_t i = 0; i < out.size(); ++i) out[i].operands.push_back({probe(results[i])});
  return out;
}

// What both ops share.
OpDef product_def() {
  OpDef def;
  def.family = Family::linalg;
  def.attributes = {
      {"backend", AttributeKind::string, false}, {"operands", AttributeKind::dtype, false},
      {"contract_a", AttributeKind::integers},   {"contract_b", AttributeKind::integers},
      {"batch_a", AttributeKind::integers},      {"batch_b", AttributeKind::integers}};
  def.evaluate = evaluate_matmul;
  def.batch = batch_matmul;
  def.flops = flops_matmul;
  return def;
}

}  // namespace

template <>
OpDef make_op_def<Op::matmul>() {
  OpDef def = product_def();
  def.doc =
      "the sum over the contracted dimensions of a * b; results are batch, free a, free b; "
      "operands = bf16 rounds f32 operands first";
  def.operands = 2;
  def.infer = infer_matmul;
  def.vjp = vjp_matmul;
  def.jvp = jvp_matmul;
  def.probes = probes_matmul;
  return def;
}

template <>
OpDef make_op_def<Op::matmul_add>() {
  OpDef def = product_def();
  def.doc = "the sum of its third operand and the product of the others, summed from there on";
  def.operands = 3;
  def.infer = infer_matmul_add;
  def.vjp = vjp_matmul_add;
  def.jvp = jvp_matmul_add;
  def.probes = probes_matmul_add;
  return def;
}

}  // namespace treadle
