// Ops on indices: gather, scatter-add, one-hot, iota.
#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Results = std::vector<Value>;

OpDef record(std::string_view doc, int operands, std::vector<AttributeSpec> attributes) {
  OpDef def;
  def.doc = doc;
  def.family = Family::index;
  def.operands = operands;
  def.attributes = std::move(attributes);
  def.flops = flops_none;
  return def;
}

std::string describe_indexing(const Type& table, const Type& indices) {
  return fmt::format("the table is {}, the indices are {}", to_string(table), to_string(indices));
}

void require_indices(const Type& indices) {
  if (!is_integer(indices.dtype))
    fail("T0311", fmt::format("indices must be i32 or i64, not {}", to_string(indices)));
}

// [batch..., S..., rest...] for table[batch..., V, rest...], indices[batch..., S...].
Type looked_up(const Type& table, const Type& indices, std::int64_t batch) {
  require_indices(indices);
  const auto shared = static_cast<std::size_t>(batch);
  if (batch < 0 || table.rank() < shared + 1 || indices.rank() < shared)
    fail("T0313", fmt::format("{} shared dimensions and one to look up in: {}", batch,
                              describe_indexing(table, indices)));
  for (std::size_t i = 0; i < shared; ++i)
    if (table.dims[i] != indices.dims[i])
      fail("T0310", fmt::format("shared dimensions differ: {}", describe_indexing(table, indices)));
  Type out{table.dtype, indices.dims};
  out.dims.insert(out.dims.end(), table.dims.begin() + static_cast<std::ptrdiff_t>(shared) + 1,
                  table.dims.end());
  return out;
}

std::vector<Type> infer_gather(const InferContext& c) {
  return {looked_up(c.operands[0], c.operands[1], c.attributes.integer("batch"))};
}

std::vector<Type> infer_scatter_add(const InferContext& c) {
  require_number(c, 0);
  const Type expected = looked_up(c.operands[0], c.operands[1], c.attributes.integer("batch"));
  if (c.operands[2].dims != expected.dims)
    fail("T0310",
         fmt::format("the updates are {}, expected {}: {}", to_string(c.operands[2]),
                     to_string(expected), describe_indexing(c.operands[0], c.operands[1])));
  if (c.operands[2].dtype != expected.dtype)
    fail("T0311", fmt::format("element types differ: the base is {}, the updates are {}",
                              to_string(c.operands[0]), to_string(c.operands[2])));
  return {c.operands[0]};
}

// Calls function(table offset, row offset, row length) for each index, in order.
template <typename Function>
void for_each_row(const EvaluateContext& c, const Tensor& table, const Tensor& indices,
                  Function&& function) {
  const AxisView view(table.shape(), c.node.attributes.integer("batch"));
  const std::int64_t rows = view.outer == 0 ? 0 : indices.size() / view.outer;
  for (std::int64_t o = 0; o < view.outer; ++o) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t index = indices.get_integer(o * rows + r);
      if (index < 0 || index >= view.extent)
        throw_user_error("T0318",
                         fmt::format("[{}] index {} is outside a dimension of {}",
                                     to_string(c.node.op), index, view.extent),
                         {}, c.node.location);
      function(view.at(o, index, 0), (o * rows + r) * view.inner, view.inner);
    }
  }
}

void evaluate_gather(EvaluateContext& c) {
  const Tensor& table = *c.operands[0];
  for_each_row(c, table, *c.operands[1],
               [&](std::int64_t from, std::int64_t to, std::int64_t length) {
                 for (std::int64_t i = 0; i < length; ++i)
                   copy_element(c.results[0], to + i, table, from + i);
               });
}

void evaluate_scatter_add(EvaluateContext& c) {
  Tensor& out = c.results[0];
  const Tensor& updates = *c.operands[2];
  for (std::int64_t i = 0; i < out.size(); ++i) copy_element(out, i, *c.operands[0], i);
  for_each_row(c, *c.operands[0], *c.operands[1],
               [&](std::int64_t to, std::int64_t from, std::int64_t length) {
                 for (std::int64_t i = 0; i < length; ++i) {
                   if (is_integer(out.dtype()))
                     out.set_integer(to + i,
                                     out.get_integer(to + i) + updates.get_integer(from + i));
                   else
                     out.set(to + i, out.get(to + i) + updates.get(from + i));
                 }
               });
}

std::vector<Value> batch_gather(BatchContext& c) {
  const std::int64_t batch = c.node.attributes.integer("batch");
  // A table that all examples share is looked up as it is.
  if (!c.batched[0] && batch == 0) return {rebuild(c.b, c.node, c.operands)};
  return {rebuild(c.b, c.node, {c.force(0), c.force(1)}, {{"batch", batch + 1}})};
}

std::vector<Value> batch_scatter_add(BatchContext& c) {
  return {rebuild(c.b, c.node, {c.force(0), c.force(1), c.force(2)},
                  {{"batch", c.node.attributes.integer("batch") + 1}})};
}

std::vector<Value> vjp_gather(VjpContext& c) {
  Results out(2);
  if (c.needs[0])
    out[0] = c.b.scatter_add(zeros_like(c.b, c.operands[0]), c.operands[1], c.dy(),
                             c.node.attributes.integer("batch"));
  return out;
}

std::vector<Value> vjp_scatter_add(VjpContext& c) {
  Results out(3);
  if (c.needs[0]) out[0] = c.dy();
  if (c.needs[2]) out[2] = c.b.gather(c.dy(), c.operands[1], c.node.attributes.integer("batch"));
  return out;
}

std::vector<Value> jvp_scatter_add(JvpContext& c) {
  if (!c.tangents[2].valid()) return {c.tangents[0]};
  const Value base = c.tangents[0].valid() ? c.tangents[0] : zeros_like(c.b, c.operands[0]);
  return {rebuild(c.b, c.node, {base, c.operands[1], c.tangents[2]})};
}

// ---- one_hot and iota ----

std::vector<Type> infer_one_hot(const InferContext& c) {
  require_indices(c.operands[0]);
  Type out = c.operands[0].with_dtype(c.attributes.dtype("dtype"));
  out.dims.push_back(c.attributes.dim("classes"));
  return {out};
}

void evaluate_one_hot(EvaluateContext& c) {
  const std::int64_t classes = c.results[0].shape().back();
  for (std::int64_t i = 0; i < c.operands[0]->size(); ++i) {
    const std::int64_t index = c.operands[0]->get_integer(i);
    if (index >= 0 && index < classes) c.results[0].set(i * classes + index, 1);
  }
}

std::vector<Value> decompose_one_hot(Builder& b, const Node& node, std::span<const Value> x) {
  const Type indices = b.type(x[0]);
  Dims dims = indices.dims;
  dims.push_back(node.attributes.dim("classes"));
  const auto last = static_cast<std::int64_t>(dims.size()) - 1;
  const Value wanted = b.broadcast(x[0], dims, ascending(indices.rank()));
  const Value here = b.iota(dims, last, indices.dtype);
  return {b.cast(b.eq(wanted, here), node.attributes.dtype("dtype"))};
}

std::vector<Type> infer_iota(const InferContext& c) {
  const Type out{c.attributes.dtype("dtype"), c.attributes.dims("dims")};
  const std::int64_t axis = c.attributes.integer("axis");
  if (axis < 0 || axis >= static_cast<std::int64_t>(out.rank()))
    fail("T0314", fmt::format("axis {} does not exist: the result is {}", axis, to_string(out)));
  if (out.dtype == DType::b1)
    fail("T0311", fmt::format("numbers expected: the result is {}", to_string(out)));
  return {out};
}

void evaluate_iota(EvaluateContext& c) {
  const AxisView view(c.results[0].shape(), c.node.attributes.integer("axis"));
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t e = 0; e < view.extent; ++e)
      for (std::int64_t i = 0; i < view.inner; ++i) c.results[0].set_integer(view.at(o, e, i), e);
}

ProbeOperand indices(Dims dims, double high, DType dtype = DType::i32) {
  return probe(std::move(dims), 0, high, dtype);
}

Attributes batch_of(std::int64_t batch) { return {{"batch", batch}}; }

}  // namespace

template <>
OpDef make_op_def<Op::gather>() {
  OpDef def = record("rows of a table: table[batch..., V, rest...] at indices[batch..., S...]", 2,
                     {{"batch", AttributeKind::integer}});
  def.infer = infer_gather;
  def.evaluate = evaluate_gather;
  def.vjp = vjp_gather;
  def.jvp = jvp_linear;
  def.batch = batch_gather;
  // More indices than rows, so that some repeat.
  def.probes = [] {
    return std::vector<Probe>{{{probe({3, 5}), indices({7}, 2)}, batch_of(0), {}},
                              {{probe({4}), indices({3, 2}, 3, DType::i64)}, batch_of(0), {}},
                              {{probe({2, 3, 4}), indices({2, 5}, 2)}, batch_of(1), {}},
                              {{probe({3, 5}), indices({}, 2)}, batch_of(0), {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::scatter_add>() {
  OpDef def = record(
      "base with updates[batch..., S..., rest...] added at indices[batch..., S...], in order", 3,
      {{"batch", AttributeKind::integer}});
  def.infer = infer_scatter_add;
  def.evaluate = evaluate_scatter_add;
  def.vjp = vjp_scatter_add;
  def.jvp = jvp_scatter_add;
  def.batch = batch_scatter_add;
  def.flops = [](const Node&, std::span<const Type> operands) { return operands[2].count(); };
  def.probes = [] {
    return std::vector<Probe>{
        {{probe({3, 5}), indices({7}, 2), probe({7, 5})}, batch_of(0), {}},
        {{probe({4}), indices({3, 2}, 3, DType::i64), probe({3, 2})}, batch_of(0), {}},
        {{probe({2, 3, 4}), indices({2, 5}, 2), probe({2, 5, 4})}, batch_of(1), {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::one_hot>() {
  OpDef def = record("1 at the index along a new last dimension, else 0; all 0 for no class", 1,
                     {{"classes", AttributeKind::dims}, {"dtype", AttributeKind::dtype}});
  def.infer = infer_one_hot;
  def.evaluate = evaluate_one_hot;
  def.no_derivative = "indices are integers";
  def.batch = [](BatchContext& c) { return Results{rebuild(c.b, c.node, c.operands)}; };
  def.decompose = decompose_one_hot;
  def.probes = [] {
    const Attributes five{{"classes", Dims{5}}, {"dtype", DType::f32}};
    return std::vector<Probe>{{{indices({7}, 4)}, five, {}},
                              {{indices({2, 3}, 4, DType::i64)}, five, {}},
                              {{probe({4}, -2, 7, DType::i32)}, five, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::iota>() {
  OpDef def = record("the index along an axis", 0,
                     {{"dims", AttributeKind::dims},
                      {"axis", AttributeKind::integer},
                      {"dtype", AttributeKind::dtype}});
  def.infer = infer_iota;
  def.evaluate = evaluate_iota;
  def.no_derivative = "it has no operands";
  def.probes = [] {
    const auto along = [](std::int64_t axis, DType dtype) {
      return Attributes{{"dims", Dims{3, 5}}, {"axis", axis}, {"dtype", dtype}};
    };
    return std::vector<Probe>{{{}, along(1, DType::i32), {}}, {{}, along(0, DType::f32), {}}};
  };
  return def;
}

}  // namespace treadle
