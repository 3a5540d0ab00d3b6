#include <algorithm>
#include <cmath>

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

bool readable(const MatrixView& view, const Graph& graph) {
  if (view.contract_stride != Dim(1) && view.free_stride != Dim(1)) return false;
  return positive(view.contract_stride, graph) && positive(view.free_stride, graph);
}

class OneDnnModel final : public BackendModel {
 public:
  std::string_view name() const override { return "onednn"; }

  bool claims(const Graph& graph, NodeId id) const override {
    const Node& node = graph.node(id);
    if (node.op != Op::matmul || node.types[0].dtype != DType::f32) return false;
    const auto view = product_view(graph, node);
    return view && !view->has_loops() && readable(view->a, graph) && readable(view->b, graph);
  }

  // Measured with bench/gemm_bench.cpp on AVX-512: 16 columns at a time at 114
  // GFLOP/s, a transposed A at 91, and so much for each of the pieces.
  double seconds(const Graph& graph, NodeId id, const DimEnv& env) const override {
    const Node& node = graph.node(id);
    const MatmulShape shape = matmul_shape(graph, node);
    const auto of = [&](const Dim& dim) { return static_cast<double>(dim.evaluate(env)); };
    const auto a = matrix_view(graph, node, 0);
    const double rate = a && a->contract_stride == Dim(1) ? 114e9 : 91e9;
    const double columns = 16 * std::ceil(of(shape.n) / 16);
    const double pieces = std::max(4.0, std::ceil(of(shape.m) / 128));
    constexpr double call = 0.5e-6;
    return of(shape.batch) * (2 * of(shape.m) * columns * of(shape.k) / rate + call * pieces);
  }
};

}  // namespace

const BackendModel& onednn_model() {
  static const OneDnnModel model;
  return model;
}

}  // namespace treadle
