#include "ir/builder.h"

#include <fmt/format.h>

#include <numeric>

#include "ir/diagnostic.h"

namespace treadle {

Value Builder::push(Node node) {
  graph_.nodes_.push_back(std::move(node));
  return {static_cast<NodeId>(graph_.nodes_.size() - 1), 0};
}

Value Builder::add_node(Op op, std::vector<Value> operands, Attributes attributes,
                        std::vector<Region> regions) {
  const OpDef& def = op_def(op);
  const auto count = static_cast<int>(operands.size());
  ensure(def.operands < 0 || def.operands == count, def.name, "wrong number of operands");
  std::vector<Type> types;
  for (const Value v : operands) {
    ensure(v.valid() && v.node < graph_.size() && v.index < graph_.node(v.node).types.size(),
           def.name, "an operand that is no value of this graph");
    types.push_back(graph_.type(v));
  }
  Node node{op, std::move(operands), std::move(attributes), {}, std::move(regions), location_};
  try {
    node.types = def.infer({types, node.attributes, node.regions});
  } catch (const InferError& error) {
    Diagnostic diagnostic;
    diagnostic.code = error.code;
    diagnostic.range = location_;
    diagnostic.message = fmt::format("[{}] {}", def.name, error.message);
    throw UserError(std::move(diagnostic));
  }
  const Value value = push(std::move(node));
  if (def.family == Family::control &&
      (op == Op::input || op == Op::parameter || op == Op::argument))
    graph_.inputs_.push_back(value.node);
  return value;
}

Value Builder::clone(const Node& node, std::vector<Value> operands) {
  const LocationScope scope(*this, node.location);
  return add_node(node.op, std::move(operands), node.attributes, node.regions);
}

namespace {
// Sources keep their type as attributes, so that their record can infer it.
Attributes with_type(Attributes attributes, const Type& type) {
  attributes.set("dtype", type.dtype);
  attributes.set("dims", type.dims);
  return attributes;
}
}  // namespace

Value Builder::input(std::string name, Type type, Attributes more) {
  more.set("name", std::move(name));
  return add_node(Op::input, {}, with_type(std::move(more), type));
}

Value Builder::parameter(std::string name, Type type, std::string initialiser, Attributes more) {
  more.set("name", std::move(name));
  more.set("initialiser", std::move(initialiser));
  return add_node(Op::parameter, {}, with_type(std::move(more), type));
}

Value Builder::argument(Type type) { return add_node(Op::argument, {}, with_type({}, type)); }

Value Builder::source(const Node& source, Type type) {
  const LocationScope scope(*this, source.location);
  return add_node(source.op, {}, with_type(source.attributes, type));
}

Value Builder::constant(Type type, double value) {
  Attributes attributes{{"dims", type.dims}};
  attributes.set("value", std::make_shared<const Tensor>(Tensor::scalar(type.dtype, value)));
  return add_node(Op::constant, {}, std::move(attributes));
}

Value Builder::literal(Tensor tensor) {
  Dims dims(tensor.shape().begin(), tensor.shape().end());
  Attributes attributes{{"dims", std::move(dims)}};
  attributes.set("value", std::make_shared<const Tensor>(std::move(tensor)));
  return add_node(Op::constant, {}, std::move(attributes));
}

Value Builder::dimension(Dim dim, DType dtype) {
  return add_node(Op::dimension, {}, {{"dim", Dims{std::move(dim)}}, {"dtype", dtype}});
}

Value Builder::cast(Value x, DType dtype) {
  if (type(x).dtype == dtype) return x;
  return add_node(Op::cast, {x}, {{"dtype", dtype}});
}

Value Builder::scale(Value x, double value) { return mul(x, constant(type(x), value)); }
Value Builder::shift(Value x, double value) { return add(x, constant(type(x), value)); }

Value Builder::matmul(Value a, Value b, Integers contract_a, Integers contract_b, Integers batch_a,
                      Integers batch_b) {
  return add_node(Op::matmul, {a, b},
                  {{"contract_a", std::move(contract_a)},
                   {"contract_b", std::move(contract_b)},
                   {"batch_a", std::move(batch_a)},
                   {"batch_b", std::move(batch_b)}});
}

Value Builder::transpose(Value x, Integers permutation) {
  return add_node(Op::transpose, {x}, {{"permutation", std::move(permutation)}});
}
Value Builder::reshape(Value x, Dims dims) {
  return add_node(Op::reshape, {x}, {{"dims", std::move(dims)}});
}
Value Builder::broadcast(Value x, Dims dims, Integers axes) {
  return add_node(Op::broadcast, {x}, {{"dims", std::move(dims)}, {"axes", std::move(axes)}});
}
Value Builder::slice(Value x, std::int64_t axis, Dim start, Dim extent) {
  return add_node(
      Op::slice, {x},
      {{"axis", axis}, {"start", Dims{std::move(start)}}, {"extent", Dims{std::move(extent)}}});
}
Value Builder::pad(Value x, std::int64_t axis, Dim low, Dim high) {
  return add_node(Op::pad, {x},
                  {{"axis", axis}, {"low", Dims{std::move(low)}}, {"high", Dims{std::move(high)}}});
}
Value Builder::concat(std::vector<Value> parts, std::int64_t axis) {
  return add_node(Op::concat, std::move(parts), {{"axis", axis}});
}
Value Builder::reverse(Value x, std::int64_t axis) {
  return add_node(Op::reverse, {x}, {{"axis", axis}});
}
Value Builder::windows(Value x, std::int64_t axis, Dim size, std::int64_t stride,
                       std::int64_t dilation) {
  return add_node(Op::windows, {x},
                  {{"axis", axis},
                   {"size", Dims{std::move(size)}},
                   {"stride", stride},
                   {"dilation", dilation}});
}
Value Builder::overlap_add(Value x, std::int64_t axis, Dim extent, std::int64_t stride,
                           std::int64_t dilation) {
  return add_node(Op::overlap_add, {x},
                  {{"axis", axis},
                   {"extent", Dims{std::move(extent)}},
                   {"stride", stride},
                   {"dilation", dilation}});
}

Value Builder::reduce_sum(Value x, Integers axes) {
  return add_node(Op::reduce_sum, {x}, {{"axes", std::move(axes)}});
}
Value Builder::reduce_max(Value x, Integers axes) {
  return add_node(Op::reduce_max, {x}, {{"axes", std::move(axes)}});
}
Value Builder::mean(Value x, Integers axes) {
  return add_node(Op::mean, {x}, {{"axes", std::move(axes)}});
}
Value Builder::argmax(Value x, std::int64_t axis) {
  return add_node(Op::argmax, {x}, {{"axis", axis}});
}
Value Builder::logsumexp(Value x, std::int64_t axis) {
  return add_node(Op::logsumexp, {x}, {{"axis", axis}});
}
Value Builder::softmax(Value x, std::int64_t axis) {
  return add_node(Op::softmax, {x}, {{"axis", axis}});
}
Value Builder::log_softmax(Value x, std::int64_t axis) {
  return add_node(Op::log_softmax, {x}, {{"axis", axis}});
}

Value Builder::gather(Value table, Value indices, std::int64_t batch) {
  return add_node(Op::gather, {table, indices}, {{"batch", batch}});
}
Value Builder::scatter_add(Value base, Value indices, Value updates, std::int64_t batch) {
  return add_node(Op::scatter_add, {base, indices, updates}, {{"batch", batch}});
}
Value Builder::one_hot(Value indices, Dim classes, DType dtype) {
  return add_node(Op::one_hot, {indices},
                  {{"classes", Dims{std::move(classes)}}, {"dtype", dtype}});
}
Value Builder::iota(Dims dims, std::int64_t axis, DType dtype) {
  return add_node(Op::iota, {}, {{"dims", std::move(dims)}, {"axis", axis}, {"dtype", dtype}});
}

Value Builder::philox(Value key, Value counter_low, Value counter_high) {
  return add_node(Op::philox, {key, counter_low, counter_high});
}
Value Builder::uniform_from_bits(Value bits, DType dtype) {
  return add_node(Op::uniform_from_bits, {bits}, {{"dtype", dtype}});
}

std::vector<Value> Builder::scan(ScanSpec spec) {
  std::vector<Value> operands = spec.constants;
  operands.insert(operands.end(), spec.carries.begin(), spec.carries.end());
  operands.insert(operands.end(), spec.sequences.begin(), spec.sequences.end());
  Attributes attributes = std::move(spec.more);
  attributes.set("constants", static_cast<std::int64_t>(spec.constants.size()));
  attributes.set("carries", static_cast<std::int64_t>(spec.carries.size()));
  attributes.set("length", Dims{spec.length});
  attributes.set("reverse", spec.reverse);
  if (!spec.bounds.empty()) {
    Dims dims, rows, most;
    for (const ScanBound& bound : spec.bounds) {
      dims.push_back(bound.dim);
      rows.push_back(bound.rows);
      most.push_back(bound.most);
    }
    attributes.set("bound", std::move(dims));
    attributes.set("rows", std::move(rows));
    attributes.set("most", std::move(most));
    operands.insert(operands.end(), spec.counts.begin(), spec.counts.end());
  }
  const Value first = add_node(Op::scan, std::move(operands), std::move(attributes), {spec.body});
  std::vector<Value> out;
  for (std::uint32_t i = 0; i < graph_.node(first.node).types.size(); ++i)
    out.push_back({first.node, i});
  return out;
}

ScanView::ScanView(const Node& node)
    : ScanView(node.attributes, node.operands.size(), *node.regions.at(0)) {}

ScanView::ScanView(const Attributes& attributes, std::size_t operands, const Graph& step)
    : constants(static_cast<std::size_t>(attributes.integer("constants"))),
      carries(static_cast<std::size_t>(attributes.integer("carries"))),
      length(attributes.dim("length")),
      reverse(attributes.boolean("reverse")),
      body(&step),
      bounds(scan_bounds(attributes)) {
  ensure(operands >= constants + carries + bounds.size(), "scan",
         "fewer operands than it declares");
  sequences = operands - constants - carries - bounds.size();
  outputs = body->outputs().size() - carries;
}

std::vector<ScanBound> scan_bounds(const Attributes& attributes) {
  std::vector<ScanBound> out;
  if (!attributes.has("bound")) return out;
  const Dims &dims = attributes.dims("bound"), &rows = attributes.dims("rows"),
             &most = attributes.dims("most");
  ensure(rows.size() == dims.size() && most.size() == dims.size(), "scan",
         "bounds without rows or most");
  for (std::size_t i = 0; i < dims.size(); ++i) out.push_back({dims[i], rows[i], most[i]});
  return out;
}

std::vector<Value> ScanView::counts(const std::vector<Value>& operands) const {
  return {operands.begin() + static_cast<std::ptrdiff_t>(first_count()), operands.end()};
}

const ScanBound* ScanView::bound_of(const Type& inner) const {
  if (inner.dims.empty()) return nullptr;
  for (const ScanBound& bound : bounds)
    if (bound.dim == inner.dims[0]) return &bound;
  return nullptr;
}

bool ScanView::mentions_bound(const Dim& dim) const {
  for (const ScanBound& bound : bounds)
    if (const auto symbol = bound.dim.bare_symbol(); symbol && dim.mentions(*symbol)) return true;
  return false;
}

bool ScanView::mentions_bound(const Type& type) const {
  for (const Dim& dim : type.dims)
    if (mentions_bound(dim)) return true;
  return false;
}

bool ScanView::stackable(const Type& inner) const {
  if (bound_of(inner) == nullptr) return !mentions_bound(inner);
  return !mentions_bound(Type{inner.dtype, Dims(inner.dims.begin() + 1, inner.dims.end())});
}

Type ScanView::stacked(Type inner) const {
  if (const ScanBound* bound = bound_of(inner); bound != nullptr)
    inner.dims[0] = bound->rows;
  else
    inner.dims.insert(inner.dims.begin(), length);
  return inner;
}

Type ScanView::carried(Type inner) const {
  if (const ScanBound* bound = bound_of(inner); bound != nullptr) inner.dims[0] = bound->most;
  return inner;
}

}  // namespace treadle
