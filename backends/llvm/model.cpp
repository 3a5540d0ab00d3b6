#include <cmath>

#include "backends/llvm/compile.h"
#include "ir/strided_view.h"

namespace treadle {
namespace {

class LlvmModel final : public BackendModel {
 public:
  std::string_view name() const override { return "llvm"; }
  bool claims(const Graph&, NodeId) const override { return true; }

  // Measured with bench/gemm_bench.cpp on AVX-512: panels of three vectors at
  // 116 GFLOP/s, a transposed A at 109; the vectors of a last, narrower panel
  // take 1.15 times as long.
  double seconds(const Graph& graph, NodeId id, const DimEnv& env) const override {
    const Node& node = graph.node(id);
    const MatmulShape shape = matmul_shape(graph, node);
    const auto of = [&](const Dim& dim) { return static_cast<double>(dim.evaluate(env)); };
    const auto a = matrix_view(graph, node, 0);
    const double rate = a && a->contract_stride == Dim(1) ? 116e9 : 109e9;
    const double vectors = std::ceil(of(shape.n) / 16);
    const double edge = std::fmod(vectors, 3);
    const double columns = 16 * (vectors - edge + 1.15 * edge);
    return 2 * of(shape.batch) * of(shape.m) * columns * of(shape.k) / rate;
  }
};

}  // namespace

const BackendModel& llvm_model() {
  static const LlvmModel model;
  return model;
}

}  // namespace treadle
