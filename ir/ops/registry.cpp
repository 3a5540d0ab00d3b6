// The table of all records, in the order of ops.def.
#include <array>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {

#define OP(name) \
  template <>    \
  OpDef make_op_def<Op::name>();
#include "ir/ops.def"

namespace {

constexpr std::array ops{
#define OP(name) Op::name,
#include "ir/ops.def"
};

template <Op op>
OpDef named(std::string_view name) {
  OpDef def = make_op_def<op>();
  def.op = op;
  def.name = name;
  return def;
}

const std::array<OpDef, ops.size()>& table() {
  static const std::array<OpDef, ops.size()> records{
#define OP(name) named<Op::name>(#name),
#include "ir/ops.def"
  };
  return records;
}

}  // namespace

const OpDef& op_def(Op op) { return table()[static_cast<std::size_t>(op)]; }

std::span<const Op> all_ops() { return ops; }

std::optional<Op> op_from_name(std::string_view name) {
  for (const OpDef& def : table())
    if (def.name == name) return def.op;
  return std::nullopt;
}

Dims BatchContext::with_batch(const Dims& dims) const {
  Dims out{batch};
  out.insert(out.end(), dims.begin(), dims.end());
  return out;
}

Value BatchContext::force(std::size_t i) {
  if (batched[i]) return operands[i];
  const Dims dims = b.type(operands[i]).dims;
  Integers axes;
  for (std::size_t axis = 0; axis < dims.size(); ++axis)
    axes.push_back(static_cast<std::int64_t>(axis) + 1);
  return b.broadcast(operands[i], with_batch(dims), std::move(axes));
}

}  // namespace treadle
