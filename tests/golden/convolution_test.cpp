// The library's convolutions and pools against PyTorch's
// (make_convolution_fixtures.py).
#include "frontend/elaborate.h"
#include "ir/eval/evaluate.h"
#include "tests/catch.h"
#include "tests/support/fixtures.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Graph model_of(const std::string& text, DType real) {
  return program(text, real).model("M", Mode::eval);
}

const std::map<std::string, std::string> convolutions = {
    {"plain", "8, 3](x)"},
    {"stride", "8, 3](x, stride: 2, padding: 1)"},
    {"dilation", "8, 2](x, stride: 2, padding: 2, dilation: 3)"},
    {"groups", "8, 3](x, padding: 1, groups: 2)"},
    {"depthwise", "8, 3](x, dilation: 2, groups: 4)"},
    {"pointwise", "8, 1](x)"},
};
const std::map<std::string, std::string> pools = {
    {"halves", "(x)"},
    {"overlap", "(x, size: 3, stride: 2, padding: 1)"},
};

std::string layer(int dims, const std::string& call) {
  const std::string input = dims == 1 ? "x: real[11, 4]" : "x: real[7, 6, 4]";
  return "model M(" + input + ") { return y: " + call + " }";
}

}  // namespace

TEST_CASE("correlations equal PyTorch's convolution layers, with all gradients") {
  const Fixtures fixtures = read_fixtures("convolution.safetensors");
  for (const int dims : {1, 2})
    for (const auto& [name, call] : convolutions)
      for (const DType real : {DType::f32, DType::f64}) {
        const std::string kind = std::to_string(dims) + "d";
        const std::string prefix =
            "correlate" + kind + "_" + name + "." + std::string(to_string(real)) + ".";
        INFO(prefix);
        const Graph graph = model_of(layer(dims, "correlate" + kind + "[" + call), real);
        CHECK(require_fixtures(graph, prefix, fixtures, real == DType::f32 ? 1e-5 : 1e-10).size() ==
              4);
      }
}

TEST_CASE("pools equal PyTorch's, with all gradients") {
  const Fixtures fixtures = read_fixtures("convolution.safetensors");
  for (const int dims : {1, 2})
    for (const std::string kind : {"max", "mean"})
      for (const auto& [name, call] : pools)
        for (const DType real : {DType::f32, DType::f64}) {
          const std::string pool = kind + "_pool" + std::to_string(dims) + "d";
          const std::string prefix = pool + "_" + name + "." + std::string(to_string(real)) + ".";
          INFO(prefix);
          const Graph graph = model_of(layer(dims, pool + call), real);
          CHECK(
              require_fixtures(graph, prefix, fixtures, real == DType::f32 ? 1e-5 : 1e-10).size() ==
              2);
        }
}

TEST_CASE("a convolution flips the kernel, a correlation does not") {
  const auto apply = [](const std::string& call, const Tensor& x, const Tensor& kernel) {
    const std::string inputs = x.shape().size() == 2 ? "x: real[5, 1], kernel: real[3, 1, 1]"
                                                     : "x: real[3, 3, 1], kernel: real[2, 2, 1, 1]";
    const Graph graph = model_of("model M(" + inputs + ") { return y: " + call + " }", DType::f64);
    return evaluate(graph, std::vector<Tensor>{x, kernel})[0];
  };
  const auto filled = [](Shape shape, const std::vector<double>& elements) {
    Tensor out(DType::f64, std::move(shape));
    for (std::size_t i = 0; i < elements.size(); ++i)
      out.set(static_cast<std::int64_t>(i), elements[i]);
    return out;
  };
  const auto elements = [](const Tensor& t) {
    std::vector<double> out;
    for (std::int64_t i = 0; i < t.size(); ++i) out.push_back(t.get(i));
    return out;
  };
  // An impulse answers with the kernel, or with the kernel from behind.
  const Tensor impulse = filled({5, 1}, {0, 0, 1, 0, 0}), line = filled({3, 1, 1}, {1, 2, 3});
  CHECK(elements(apply("convolution1d(x, kernel)", impulse, line)) == std::vector<double>{1, 2, 3});
  CHECK(elements(apply("correlation1d(x, kernel)", impulse, line)) == std::vector<double>{3, 2, 1});
  const Tensor point = filled({3, 3, 1}, {0, 0, 0, 0, 1, 0, 0, 0, 0});
  const Tensor square = filled({2, 2, 1, 1}, {1, 2, 3, 4});
  CHECK(elements(apply("convolution2d(x, kernel)", point, square)) ==
        std::vector<double>{1, 2, 3, 4});
  CHECK(elements(apply("correlation2d(x, kernel)", point, square)) ==
        std::vector<double>{4, 3, 2, 1});
}
