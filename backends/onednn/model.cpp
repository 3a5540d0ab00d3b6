#include <algorithm>
#include <memory>

#include "backends/onednn/matmul.h"
#include "ir/graph.h"
#include "ir/op_def.h"

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

class OneDnnModel final : public ProductModel {
 public:
  OneDnnModel(int vector_bytes, StepSeconds seconds)
      : ProductModel(std::move(seconds)), lanes_(vector_bytes / 4) {}
  std::string_view name() const override { return "onednn"; }

  bool claims(const Graph& graph, NodeId id) const override {
    const Node& node = graph.node(id);
    if (!is_product(node.op) || node.types[0].dtype != DType::f32) return false;
    if (node.attributes.has("operands")) return false;  // it would not round them
    const auto view = product_view(graph, node);
    return view && !view->has_loops() && readable(view->a, graph) && readable(view->b, graph);
  }

  ProductTerms terms(const ProductSize& x) const override {
    const auto of = [](std::int64_t n) { return static_cast<double>(n); };
    const std::int64_t height = std::max<std::int64_t>(1, onednn_piece_rows(x.batch, x.m));
    const double pieces = of(x.batch * ((x.m + height - 1) / height));
    const double a = of(x.batch * x.m * x.k), b = of(x.batch * x.k * x.n);
    ProductTerms out;
    out.prepare = {{"call", of(x.batch)}, {x.b_turned ? "pack_turned" : "pack", b}};
    out.run = {{"call", pieces}};
    if (x.m == 1) {
      out.run.push_back({"row", b});
      return out;
    }
    const double work = of(x.batch * x.m * ((x.n + lanes_ - 1) / lanes_ * lanes_) * x.k);
    out.run.push_back({"multiply_add", work});
    if (x.a_turned) out.run.push_back({"turned_multiply_add", work});
    out.run.push_back({x.a_turned ? "a_turned" : "a", a});
    out.run.push_back({"b", pieces * of(x.k * x.n)});
    out.run.push_back({"c", of(x.batch * x.m * x.n)});
    // Rows that lie a multiple of 2 KiB apart share sets of the caches.
    if (x.n % 512 == 0 || (x.a_turned && x.m % 512 == 0)) out.run.push_back({"apart", work});
    return out;
  }

 private:
  std::int64_t lanes_;
};

}  // namespace

// Measured with bench/gemm_bench.cpp on AVX-512 (Zen 4): 114 GFLOP/s, a turned A at
// 91, and so much for each of the pieces. Measured with `treadle calibrate` on
// AVX2 (Zen 3), which stands for all others.
StepSeconds onednn_step_seconds(int vector_bytes) {
  if (vector_bytes >= 64)
    return {{"a", 0},
            {"a_turned", 0},
            {"apart", 0},
            {"b", 0},
            {"c", 0},
            {"call", 5e-7},
            {"multiply_add", 1.754e-11},
            {"pack", 0},
            {"pack_turned", 0},
            {"row", 1.754e-11},
            {"turned_multiply_add", 4.4e-12}};
  return {
      {"a", 6.6e-11},           {"a_turned", 2.1e-10}, {"apart", 2.1e-11},         {"b", 3e-11},
      {"c", 6.3e-11},           {"call", 9.3e-7},      {"multiply_add", 1.94e-11}, {"pack", 2e-10},
      {"pack_turned", 2.8e-10}, {"row", 5.5e-11},      {"turned_multiply_add", 0}};
}

std::shared_ptr<const ProductModel> make_onednn_model(int vector_bytes, StepSeconds seconds) {
  return std::make_shared<OneDnnModel>(vector_bytes, std::move(seconds));
}

const BackendModel& onednn_model() {
  static const OneDnnModel model(16, onednn_step_seconds(16));
  return model;
}

}  // namespace treadle
