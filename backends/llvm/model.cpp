#include <algorithm>
#include <cmath>

#include "backends/llvm/compile.h"
#include "backends/llvm/matmul_kernel.h"

namespace treadle {
namespace {

// The vector multiply-adds that fit in the time of one step along K of a tile:
// each core starts two a cycle and has the result of one four cycles later, so
// that fewer than eight sums wait; and it starts two loads a cycle.
double slots(std::int64_t rows, std::int64_t vectors) {
  return static_cast<double>(std::max({rows * vectors, rows + vectors, std::int64_t{8}}));
}

class LlvmModel final : public ProductModel {
 public:
  LlvmModel(const MatmulTile& tile, StepSeconds seconds)
      : ProductModel(std::move(seconds)), tile_(tile) {}
  std::string_view name() const override { return "llvm"; }
  bool claims(const Graph&, NodeId) const override { return true; }

  ProductTerms terms(const ProductSize& x) const override {
    const auto batch = static_cast<double>(x.batch), k = static_cast<double>(x.k);
    const std::int64_t whole = x.n / tile_.columns, rest = x.n % tile_.columns;
    const std::int64_t vectors = (rest + tile_.lanes - 1) / tile_.lanes;
    ProductTerms out;
    const auto packed = batch * k * static_cast<double>(whole * tile_.columns);
    const auto rest_packed = batch * k * static_cast<double>(rest);
    out.prepare = {{"pack", x.b_turned ? 0 : packed},
                   {"pack_element", rest_packed + (x.b_turned ? packed : 0)}};
    if (x.m == 1 && x.batch == 1) {
      out.run.push_back({"row", k * static_cast<double>((x.n + tile_.lanes - 1) / tile_.lanes)});
      return out;
    }
    double tiles = 0, wide = 0, narrow = 0, loads = 0;
    for (std::int64_t left = x.m; left > 0;) {
      const std::int64_t rows = tallest(left);
      const std::int64_t count = left / rows;
      left -= rows * count;
      const auto many = batch * static_cast<double>(count);
      tiles += many * static_cast<double>(whole + (rest > 0 ? 1 : 0));
      wide += many * static_cast<double>(whole) * slots(rows, tile_.vectors);
      if (rest > 0) narrow += many * slots(rows, vectors);
      loads += many * static_cast<double>(rows * (whole + (rest > 0 ? 1 : 0)));
    }
    const double blocks = std::max(1.0, std::ceil(k / 256));
    out.run.push_back({"multiply_add", k * wide});
    out.run.push_back({"narrow_multiply_add", k * narrow});
    out.run.push_back({"tile", blocks * tiles});
    if (x.a_turned) out.run.push_back({"turned_load", k * loads});
    const bool edge = rest % tile_.lanes != 0;
    if (edge) out.run.push_back({"edge_element", blocks * batch * static_cast<double>(x.m * rest)});
    return out;
  }

 private:
  std::int64_t tallest(std::int64_t left) const {
    for (const std::int64_t rows :
         {static_cast<std::int64_t>(tile_.rows), std::int64_t{4}, std::int64_t{2}})
      if (rows <= left && rows <= tile_.rows) return rows;
    return 1;
  }
  MatmulTile tile_;
};

}  // namespace

// Measured with bench/gemm_bench.cpp on AVX-512 (Zen 4): panels of three vectors
// at 116 GFLOP/s, a turned A at 109, the vectors of a last, narrower panel 1.15
// times as long. Measured with `treadle calibrate` on AVX2 (Zen 3), which stands
// for all others.
StepSeconds llvm_step_seconds(int vector_bytes) {
  if (vector_bytes >= 64)
    return {{"edge_element", 0}, {"multiply_add", 2.76e-10}, {"narrow_multiply_add", 3.17e-10},
            {"pack", 0},         {"pack_element", 0},        {"row", 2.76e-10},
            {"tile", 0},         {"turned_load", 5.3e-11}};
  return {{"edge_element", 9.6e-9}, {"multiply_add", 1.56e-10}, {"narrow_multiply_add", 1.73e-10},
          {"pack", 7.7e-11},        {"pack_element", 1.3e-10},  {"row", 4.5e-10},
          {"tile", 3.2e-9},         {"turned_load", 4.6e-11}};
}

std::shared_ptr<const ProductModel> make_llvm_model(const MatmulTile& tile, StepSeconds seconds) {
  return std::make_shared<LlvmModel>(tile, std::move(seconds));
}

}  // namespace treadle
