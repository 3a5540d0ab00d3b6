#include "backends/llvm/compile.h"
#include "ir/strided_view.h"

namespace treadle {
namespace {

class LlvmModel final : public BackendModel {
 public:
  std::string_view name() const override { return "llvm"; }
  bool claims(const Graph&, NodeId) const override { return true; }

  // Measured with bench/gemm_bench.cpp. A transposed A of few columns is read
  // against the grain of memory, and narrow panels leave lanes empty.
  double seconds(const Graph& graph, NodeId id, const DimEnv& env) const override {
    const Node& node = graph.node(id);
    const MatmulShape shape = matmul_shape(graph, node);
    const auto of = [&](const Dim& dim) { return static_cast<double>(dim.evaluate(env)); };
    const double flops = 2 * of(shape.batch) * of(shape.m) * of(shape.n) * of(shape.k);
    constexpr double rate = 110e9;
    return flops / rate;
  }
};

}  // namespace

const BackendModel& llvm_model() {
  static const LlvmModel model;
  return model;
}

}  // namespace treadle
