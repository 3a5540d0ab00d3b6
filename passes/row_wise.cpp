#include "passes/row_wise.h"

#include <algorithm>

#include "ir/op_def.h"

namespace treadle {
namespace {

bool has(const Integers& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

bool product_by_row(const Node& node, bool rows_a, bool rows_b) {
  const Integers &contract_a = node.attributes.integers("contract_a"),
                 &batch_a = node.attributes.integers("batch_a"),
                 &batch_b = node.attributes.integers("batch_b");
  if (rows_a && rows_b) return !batch_a.empty() && batch_a[0] == 0 && batch_b[0] == 0;
  return rows_a && batch_a.empty() && !has(contract_a, 0);
}

}  // namespace

bool works_row_by_row(const Graph& graph, const Node& node, const RowTest& is_rows) {
  if (!is_rows(node.types[0])) return false;
  const auto rows = [&](std::size_t i) { return is_rows(graph.type(node.operands[i])); };
  const auto axis = [&] { return node.attributes.integer("axis"); };
  if (op_def(node.op).pointwise()) return true;
  switch (node.op) {
    case Op::one_hot: return true;
    case Op::constant: return node.attributes.tensor("value").size() == 1;
    case Op::iota: return axis() != 0;
    case Op::matmul: return product_by_row(node, rows(0), rows(1));
    case Op::transpose: return node.attributes.integers("permutation")[0] == 0;
    case Op::reshape:
      return rows(0) && graph.type(node.operands[0]).dims[0] == node.types[0].dims[0];
    case Op::broadcast: return !rows(0) || node.attributes.integers("axes")[0] == 0;
    case Op::slice:
    case Op::pad:
    case Op::concat:
    case Op::reverse:
    case Op::softmax:
    case Op::log_softmax:
    case Op::logsumexp:
    case Op::argmax: return axis() != 0;
    case Op::reduce_sum:
    case Op::reduce_max:
    case Op::mean: return !has(node.attributes.integers("axes"), 0);
    case Op::gather: return node.attributes.integer("batch") > 0 ? rows(0) : !rows(0) && rows(1);
    case Op::scatter_add: return node.attributes.integer("batch") > 0;
    default: return false;
  }
}

}  // namespace treadle
