#include "backends/llvm/row_reads.h"

#include <algorithm>
#include <set>
#include <utility>

#include "backends/llvm/fused_units.h"
#include "ir/op_def.h"

namespace treadle {

std::optional<std::size_t> leading_dims(const Dims& dims, const Dim& rows) {
  const auto constant = [](const Dim& dim) { return dim.is_constant(); };
  if (!rows.is_constant() && std::all_of(dims.begin(), dims.end(), constant)) return std::nullopt;
  Dim all(1);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    all = i == 0 ? dims[0] : all * dims[i];
    if (all == rows) return i + 1;
  }
  return std::nullopt;
}

namespace {

// Which arguments of a fused node are read in the row alone that is computed.
// None where the node mixes rows.
class RowReads {
 public:
  RowReads(const Graph& body, const Dim& rows)
      : body_(body), rows_(rows), own_(body.inputs().size(), true) {}

  std::optional<std::vector<bool>> run() {
    for (const Output& output : body_.outputs()) {
      if (!has_rows(output.value)) return std::nullopt;
      visit(output.value, true);
    }
    return own_;
  }

 private:
  bool has_rows(Value v) const { return leading_dims(body_.type(v).dims, rows_).has_value(); }

  // With `own`, v's row that is computed, else any of its elements.
  void visit(Value v, bool own) {
    own = own && has_rows(v);
    if (!seen_.emplace(v, own).second) return;
    const Node& node = body_.node(v.node);
    if (node.op == Op::argument) {
      for (std::size_t i = 0; i < own_.size(); ++i)
        if (body_.input_value(i) == v && !own) own_[i] = false;
      return;
    }
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      visit(node.operands[i], own && keeps_rows(node, node.operands[i]));
  }

  bool keeps_rows(const Node& node, Value operand) const {
    const auto leading = leading_dims(body_.type(operand).dims, rows_);
    if (!leading) return false;
    const auto axis_behind = [&] {
      return node.attributes.integer("axis") >= static_cast<std::int64_t>(*leading);
    };
    // The first dimensions stay the first ones.
    const auto first_stay = [&](const char* name) {
      const Integers& axes = node.attributes.integers(name);
      for (std::size_t i = 0; i < *leading; ++i)
        if (axes[i] != static_cast<std::int64_t>(i)) return false;
      return true;
    };
    switch (node.op) {
      case Op::slice:
      case Op::concat:
      case Op::reverse:
      case Op::pad: return axis_behind();
      case Op::transpose: return first_stay("permutation");
      case Op::broadcast: return first_stay("axes");
      case Op::reduce_sum:
      case Op::reduce_max: {
        const Integers& axes = node.attributes.integers("axes");
        return std::all_of(axes.begin(), axes.end(), [&](std::int64_t axis) {
          return axis >= static_cast<std::int64_t>(*leading);
        });
      }
      case Op::reshape: return true;
      default: return op_def(node.op).pointwise();
    }
  }

  const Graph& body_;
  const Dim& rows_;
  std::vector<bool> own_;
  std::set<std::pair<Value, bool>> seen_;
};

}  // namespace

bool has_units_of_rows(const Graph& body, const Dims& domain, const Dim& rows) {
  const Node& first = body.node(body.outputs()[0].value.node);
  const auto leading = leading_dims(domain, rows);
  if (!leading) return false;
  if (!is_reduction(first.op)) return *leading < domain.size() || is_flat(body, domain);
  // Where the last axis stays, so many of its columns are one unit.
  const Integers& axes = first.attributes.integers("axes");
  const auto last = static_cast<std::int64_t>(domain.size()) - 1;
  return std::find(axes.begin(), axes.end(), last) != axes.end() ||
         *leading < first.types[0].dims.size();
}

std::optional<std::vector<bool>> own_reads(const Step& step, const Dim& rows) {
  // How much a row has is found by division, which a sum, as (T + 1) B, does not allow.
  if (!(rows * Dim(2)).exact_div(rows)) return std::nullopt;
  if (step.kind == Step::Kind::copy) {
    if (!leading_dims(step.type.dims, rows)) return std::nullopt;
    return std::vector<bool>{true};
  }
  if (step.turn) return std::vector<bool>{true, false};
  if (step.graph == nullptr) return std::nullopt;
  const Node& node = step.graph->node(step.node);
  if (step.kind == Step::Kind::fused) {
    const Graph& body = *node.regions[0];
    if (!has_units_of_rows(body, node.attributes.dims("domain"), rows)) return std::nullopt;
    return RowReads(body, rows).run();
  }
  if (step.kind != Step::Kind::matmul || !step.row_loops.empty() || !step.sum_loops.empty() ||
      step.shape.batch != Dim(1) || step.shape.m != rows)
    return std::nullopt;
  const Dims& a = step.graph->type(step.view_a.base).dims;
  const auto leading = leading_dims(a, rows);
  const bool own =
      leading && step.view_a.free_stride ==
                     product(Dims(a.begin() + static_cast<std::ptrdiff_t>(*leading), a.end()));
  std::vector<bool> out{own, false};
  if (node.op == Op::matmul_add) out.push_back(true);
  return out;
}

}  // namespace treadle
