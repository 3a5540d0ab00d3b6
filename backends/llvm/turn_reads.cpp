#include "backends/llvm/turn_reads.h"

#include <algorithm>

#include "backends/llvm/row_reads.h"
#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {

namespace {

using Axis = std::optional<std::size_t>;

class TurnReads {
 public:
  explicit TurnReads(const Graph& body) : body_(body), axes_(body.size()) {}

  bool run(const std::vector<Axis>& arguments) {
    for (std::size_t i = 0; i < arguments.size(); ++i)
      axes_[body_.input_value(i).node] = arguments[i];
    for (NodeId id = 0; id < body_.size(); ++id)
      if (body_.node(id).op != Op::argument && !visit(id)) return false;
    return true;
  }
  Axis axis(Value v) const { return axes_[v.node]; }

 private:
  // Is it known where the node's turns are, if it has some?
  bool visit(NodeId id) {
    const Node& node = body_.node(id);
    Axis all;
    for (const Value v : node.operands) {
      if (!axes_[v.node]) continue;
      const Axis here = moved(node, v, *axes_[v.node]);
      if (!here || (all && *all != *here)) return false;
      all = here;
    }
    axes_[id] = all;
    return true;
  }

  // Where dimension `axis` of the operand is in the node's result.
  Axis moved(const Node& node, Value operand, std::size_t axis) const {
    const auto signed_axis = static_cast<std::int64_t>(axis);
    switch (node.op) {
      case Op::slice:
      case Op::concat:
      case Op::reverse:
      case Op::pad: return node.attributes.integer("axis") == signed_axis ? Axis() : Axis(axis);
      case Op::transpose: {
        const Integers& from = node.attributes.integers("permutation");
        return static_cast<std::size_t>(std::find(from.begin(), from.end(), signed_axis) -
                                        from.begin());
      }
      case Op::broadcast: return static_cast<std::size_t>(node.attributes.integers("axes")[axis]);
      case Op::reduce_sum:
      case Op::reduce_max: {
        const Integers& axes = node.attributes.integers("axes");
        const bool behind = std::all_of(axes.begin(), axes.end(),
                                        [&](std::int64_t one) { return one > signed_axis; });
        return behind ? Axis(axis) : Axis();
      }
      case Op::reshape: return reshaped(body_.type(operand).dims, node.types[0].dims, axis);
      default: return op_def(node.op).pointwise() ? Axis(axis) : Axis();
    }
  }

  static Axis reshaped(const Dims& from, const Dims& to, std::size_t axis) {
    const Dim before =
        product(Dims(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(axis)));
    Dim here(1);
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (here == before && to[i] == from[axis]) return i;
      here = here * to[i];
    }
    return std::nullopt;
  }

  const Graph& body_;
  std::vector<Axis> axes_;
};

}  // namespace

std::optional<std::size_t> turn_axis(const Node& fused, const std::vector<Axis>& axes) {
  const Graph& body = *fused.regions[0];
  const Dims& domain = fused.attributes.dims("domain");
  TurnReads reads(body);
  if (!reads.run(axes)) return std::nullopt;
  Axis out;
  for (const Output& output : body.outputs()) {
    const Axis here = reads.axis(output.value);
    // What follows from no turn is worked out with the others at its place.
    if (!here && body.type(output.value).dims == domain) continue;
    if (!here || (out && *out != *here)) return std::nullopt;
    out = here;
  }
  if (!out || *out >= domain.size()) return std::nullopt;
  const Dims rows(domain.begin(), domain.begin() + static_cast<std::ptrdiff_t>(*out) + 1);
  if (!has_units_of_rows(body, domain, product(rows))) return std::nullopt;
  return out;
}

}  // namespace treadle
