#include <algorithm>

#include "backends/onednn/matmul.h"
#include "ir/graph.h"

namespace treadle {
namespace {

// A stride that is one, or surely not negative: all symbols are taken as 2.
bool positive(const Dim& stride, const Graph& graph) {
  DimEnv env;
  for (const std::string& symbol : graph.symbols()) env[symbol] = 2;
  return stride.evaluate(env) > 0;
}

bool readable(const std::optional<MatrixView>& view, const Graph& graph) {
  if (!view) return false;
  if (view->contract_stride != Dim(1) && view->free_stride != Dim(1)) return false;
  return positive(view->contract_stride, graph) && positive(view->free_stride, graph);
}

class OneDnnModel final : public BackendModel {
 public:
  std::string_view name() const override { return "onednn"; }

  bool claims(const Graph& graph, NodeId id) const override {
    const Node& node = graph.node(id);
    return node.op == Op::matmul && node.types[0].dtype == DType::f32 &&
           readable(matrix_view(graph, node, 0), graph) &&
           readable(matrix_view(graph, node, 1), graph);
  }

  // Measured with bench/gemm_bench.cpp: the rate of a large product as a share of
  // the peak, and what one call costs.
  double seconds(const Graph& graph, NodeId id, const DimEnv& env) const override {
    const Node& node = graph.node(id);
    const MatmulShape shape = matmul_shape(graph, node);
    const auto of = [&](const Dim& dim) { return static_cast<double>(dim.evaluate(env)); };
    const double flops = 2 * of(shape.batch) * of(shape.m) * of(shape.n) * of(shape.k);
    constexpr double rate = 100e9, call = 3e-6;
    return flops / rate + call * of(shape.batch);
  }
};

}  // namespace

const BackendModel& onednn_model() {
  static const OneDnnModel model;
  return model;
}

}  // namespace treadle
