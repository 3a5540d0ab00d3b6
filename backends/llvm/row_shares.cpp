#include "backends/llvm/row_shares.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "ir/op_def.h"

namespace treadle {

namespace {

bool has_rows(const Type& type, const Dim& rows) { return type.rank() > 0 && type.dims[0] == rows; }

// Which arguments of a fused node are read in the row alone that is computed.
// None where the node mixes rows.
class RowReads {
 public:
  RowReads(const Graph& body, const Dim& rows)
      : body_(body), rows_(rows), own_(body.inputs().size(), true) {}

  std::optional<std::vector<bool>> run() {
    for (const Output& output : body_.outputs()) {
      if (!has_rows(body_.type(output.value), rows_)) return std::nullopt;
      visit(output.value, true);
    }
    return own_;
  }

 private:
  // With `own`, v's row that is computed, else any of its elements.
  void visit(Value v, bool own) {
    own = own && has_rows(body_.type(v), rows_);
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
    const auto axis = [&] { return node.attributes.integer("axis"); };
    const auto first = [&](const char* name) {
      const Integers& axes = node.attributes.integers(name);
      return axes.empty() ? std::int64_t{-1} : axes.front();
    };
    switch (node.op) {
      case Op::slice:
      case Op::concat:
      case Op::reverse:
      case Op::pad: return axis() != 0;
      case Op::transpose: return first("permutation") == 0;
      case Op::broadcast: return first("axes") == 0;
      case Op::reduce_sum:
      case Op::reduce_max: {
        const Integers& axes = node.attributes.integers("axes");
        return std::find(axes.begin(), axes.end(), 0) == axes.end();
      }
      case Op::reshape: return has_rows(body_.type(operand), rows_);
      default: return op_def(node.op).pointwise();
    }
  }

  const Graph& body_;
  const Dim& rows_;
  std::vector<bool> own_;
  std::set<std::pair<Value, bool>> seen_;
};

// Which operands a step reads in its own rows alone. None where it does more
// than that with its rows, or has others.
std::optional<std::vector<bool>> own_reads(const Step& step, const Dim& rows) {
  if (step.kind == Step::Kind::copy) {
    if (!has_rows(step.type, rows)) return std::nullopt;
    return std::vector<bool>{true};
  }
  if (step.graph == nullptr) return std::nullopt;
  const Node& node = step.graph->node(step.node);
  if (step.kind == Step::Kind::fused) {
    const Dims& domain = node.attributes.dims("domain");
    if (domain.size() < 2 || domain[0] != rows) return std::nullopt;
    return RowReads(*node.regions[0], rows).run();
  }
  if (step.kind != Step::Kind::matmul || !step.row_loops.empty() || !step.sum_loops.empty() ||
      step.shape.batch != Dim(1) || step.shape.m != rows)
    return std::nullopt;
  const Dims& a = step.graph->type(step.view_a.base).dims;
  const bool own = !a.empty() && a[0] == rows &&
                   step.view_a.free_stride == product(Dims(a.begin() + 1, a.end()));
  return std::vector<bool>{own, false};
}

std::vector<int> buffers_of(const Location& place) {
  std::vector<int> out{place.buffer};
  if (place.alternate >= 0) out.push_back(place.alternate);
  return out;
}

// The rows of the first product, or else of the first kernel.
std::optional<Dim> rows_of(const std::vector<Step>& body) {
  for (const Step& step : body)
    if (step.kind == Step::Kind::matmul) return step.shape.m;
  for (const Step& step : body)
    if (step.kind == Step::Kind::fused) {
      const Dims& domain = step.graph->node(step.node).attributes.dims("domain");
      if (!domain.empty()) return domain[0];
    }
  return std::nullopt;
}

std::optional<Dim> own_rows(const Step& loop) {
  const std::optional<Dim> rows = rows_of(loop.body);
  if (!loop.bounds.empty() || !rows) return std::nullopt;
  std::set<int> written;
  for (const Step& step : loop.body)
    for (const Location& place : step.out)
      for (const int buffer : buffers_of(place)) written.insert(buffer);
  for (const Step& step : loop.body) {
    const auto own = own_reads(step, *rows);
    if (!own || step.apart) return std::nullopt;
    for (std::size_t i = 0; i < step.in.size(); ++i)
      for (const int buffer : buffers_of(step.in[i]))
        if (written.contains(buffer) && !(*own)[i]) return std::nullopt;
  }
  return rows;
}

}  // namespace

void share_rows(std::vector<Step>& steps) {
  for (Step& step : steps) {
    if (step.kind != Step::Kind::scan) continue;
    share_rows(step.before);
    share_rows(step.body);
    step.own_rows = own_rows(step);
  }
}

}  // namespace treadle
