#include "backends/llvm/column_shares.h"

#include <algorithm>
#include <map>

#include "backends/llvm/fused_units.h"
#include "ir/op_def.h"

namespace treadle {

namespace {

// Is every part of `dims`, one behind the other along the last axis?
bool is_row_of_parts(const Graph& body, Value v, const Dims& dims) {
  if (body.type(v).dims == dims) return true;
  const Node& node = body.node(v.node);
  if (node.op != Op::concat ||
      node.attributes.integer("axis") != static_cast<std::int64_t>(dims.size()) - 1)
    return false;
  return std::all_of(node.operands.begin(), node.operands.end(),
                     [&](Value part) { return is_row_of_parts(body, part, dims); });
}

// Where the arguments of a fused node are read, in the columns that are computed
// or in others.
class Reads {
 public:
  Reads(const Graph& body, const Dims& domain)
      : body_(body), domain_(domain), own_(body.inputs().size(), true) {}

  std::vector<bool> run() {
    for (const Output& output : body_.outputs()) visit(output.value, true);
    return own_;
  }

 private:
  void visit(Value v, bool own) {
    if (!seen_.emplace(v, own).second) return;
    const Node& node = body_.node(v.node);
    if (node.op == Op::argument) {
      for (std::size_t i = 0; i < own_.size(); ++i)
        if (body_.input_value(i) == v && !own) own_[i] = false;
      return;
    }
    const bool stays = own && (op_def(node.op).pointwise() || keeps_columns(node));
    for (const Value operand : node.operands) visit(operand, stays);
  }

  bool is_whole_widths(const Dim& start) const {
    return start == Dim(0) || start.exact_div(domain_.back()).has_value();
  }
  bool keeps_columns(const Node& node) const {
    const auto last = static_cast<std::int64_t>(domain_.size()) - 1;
    if (node.op == Op::concat)
      return node.attributes.integer("axis") == last &&
             is_row_of_parts(body_, {id(node), 0}, domain_);
    if (node.op == Op::slice)
      return node.attributes.integer("axis") == last &&
             node.attributes.dim("extent") == domain_.back() &&
             is_whole_widths(node.attributes.dim("start"));
    if (node.op != Op::broadcast) return false;
    const Integers& axes = node.attributes.integers("axes");
    return !axes.empty() && axes.back() + 1 == static_cast<std::int64_t>(node.types[0].rank()) &&
           body_.type(node.operands[0]).dims.back() == node.types[0].dims.back();
  }
  NodeId id(const Node& node) const { return static_cast<NodeId>(&node - body_.nodes().data()); }

  const Graph& body_;
  const Dims& domain_;
  std::vector<bool> own_;
  std::set<std::pair<Value, bool>> seen_;
};

ColumnShare share_of(const Dims& dims, std::int64_t block) {
  return {product(Dims(dims.begin(), dims.end() - 1)), dims.back(), block};
}

}  // namespace

std::optional<ColumnUse> column_use(const Step& step, const MatmulTile& tile_f32) {
  const std::int64_t vector_bytes = std::int64_t{tile_f32.lanes} * 4;
  ColumnUse out;
  if (step.kind == Step::Kind::copy) {
    if (step.type.rank() == 0) return std::nullopt;
    out.share = share_of(step.type.dims, fused_block(vector_bytes, size_of(step.type.dtype)));
    out.reads = {true};
    return out;
  }
  if (step.kind != Step::Kind::fused) return std::nullopt;
  const Node& node = step.graph->node(step.node);
  const Graph& body = *node.regions[0];
  const Dims& domain = node.attributes.dims("domain");
  if (domain.empty()) return std::nullopt;
  for (const Output& output : body.outputs())
    if (!is_row_of_parts(body, output.value, domain)) return std::nullopt;
  for (const Node& inner : body.nodes())
    if (inner.op == Op::reduce_sum || inner.op == Op::reduce_max) return std::nullopt;
  out.share = share_of(domain, fused_block(vector_bytes, widest_element(body)));
  out.reads = Reads(body, domain).run();
  return out;
}

namespace {

bool is_one_product(const Step& step) {
  return step.kind == Step::Kind::matmul && step.row_loops.empty() && step.sum_loops.empty() &&
         step.shape.batch == Dim(1);
}

// The share of a step that reads what the product writes, at its own columns; the
// product's vectors must not straddle its runs.
std::optional<ColumnShare> share_of_reader(const Step& product, const std::vector<Step>& steps,
                                           const MatmulTile& tile_f32) {
  const Location& out = product.out[0];
  for (const Step& step : steps) {
    if (std::none_of(step.in.begin(), step.in.end(),
                     [&](const Location& place) { return place.buffer == out.buffer; }))
      continue;
    const auto use = column_use(step, tile_f32);
    if (!use || use->share.rows != product.shape.m) continue;
    const bool reads = [&] {
      for (std::size_t i = 0; i < step.in.size(); ++i)
        if (step.in[i].buffer == out.buffer && step.in[i].alternate == out.alternate &&
            use->reads[i])
          return true;
      return false;
    }();
    if (!reads || use->share.block % tile_f32.lanes != 0) continue;
    const Dim& width = use->share.width;
    if (width == product.shape.n) return use->share;
    const auto constant = width.constant();
    if (constant && *constant % tile_f32.lanes == 0 && product.shape.n.exact_div(width))
      return use->share;
  }
  return std::nullopt;
}

}  // namespace

void share_columns(std::vector<Step>& steps, const MatmulTile& tile_f32) {
  for (Step& step : steps) {
    share_columns(step.before, tile_f32);
    share_columns(step.body, tile_f32);
    if (!is_one_product(step)) continue;
    const std::int64_t vector_bytes = std::int64_t{tile_f32.lanes} * 4;
    const DType dtype = step.graph->node(step.node).types[0].dtype;
    step.share = share_of_reader(step, steps, tile_f32)
                     .value_or(ColumnShare{step.shape.m, step.shape.n,
                                           fused_block(vector_bytes, size_of(dtype))});
  }
}

}  // namespace treadle
