#include "ir/product_cost.h"

#include <span>

#include "ir/diagnostic.h"
#include "ir/strided_view.h"

namespace treadle {
namespace {

double total(std::span<const CostTerm> terms, const StepSeconds& seconds) {
  double out = 0;
  for (const CostTerm& term : terms) {
    const auto found = seconds.find(term.step);
    ensure(found != seconds.end(), "product_cost", "no seconds for a step");
    out += term.count * found->second;
  }
  return out;
}

}  // namespace

ProductSize product_size(const Graph& graph, const Node& matmul, const DimEnv& env) {
  const MatmulShape shape = matmul_shape(graph, matmul);
  const auto turned = [&](std::size_t operand, Dim MatrixView::*along_rows) {
    const auto view = matrix_view(graph, matmul, operand);
    return view && (*view).*along_rows != Dim(1);
  };
  return {shape.batch.evaluate(env),
          shape.m.evaluate(env),
          shape.n.evaluate(env),
          shape.k.evaluate(env),
          turned(0, &MatrixView::contract_stride),
          turned(1, &MatrixView::free_stride),
          graph.node(strided_view(graph, matmul.operands[1]).base.node).op == Op::argument};
}

double ProductModel::seconds(const Graph& graph, NodeId node, const DimEnv& env) const {
  const ProductSize size = product_size(graph, graph.node(node), env);
  const ProductSeconds out = seconds(size);
  return size.b_kept ? out.run : out.run + out.prepare;
}

ProductSeconds ProductModel::seconds(const ProductSize& size) const {
  const ProductTerms of = terms(size);
  return {total(of.prepare, seconds_), total(of.run, seconds_)};
}

}  // namespace treadle
