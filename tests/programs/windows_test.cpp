// Convolutions as compiled programs: windows that products read in place.
#include "driver/compile.h"
#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/strided_view.h"
#include "passes/batch.h"
#include "passes/expand_composites.h"
#include "passes/fuse_pointwise.h"
#include "passes/simplify.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// Runs of every kind: overlapping, apart, dilated, padded, in one and two
// dimensions, sums over a whole image.
const char* const convolutions[] = {
    "model M(x: real[T, 6, 2]) {\n"
    "  y = relu(correlate2d[5, 3](x, padding: 1))\n"
    "  return y: conv2d[3, 2](y, stride: 2, dilation: 2)\n}\n",
    "model M(x: real[T, 3]) {\n"
    "  y = tanh(conv1d[4, 3](x, dilation: 2, padding: 2))\n"
    "  return y: correlate1d[2, 2](y, stride: 3, groups: 2)\n}\n",
    "model M(x: real[T, 5, 1]) {\n"
    "  return y: max_pool2d(correlate2d[3, 2](x), size: 2, stride: 1)\n}\n",
    // Others read the same windows, from memory of their own.
    "model M(x: real[T, 5, 2]) {\n"
    "  param k: real[2, 3, 2, 4] ~ xavier\n"
    "  w = windows(windows(x, 2), 3, axis: 2)\n"
    "  return y: contract(transpose(w, 0, 2, 1, 3, 4), k, axes: 3), w: w * w\n}\n",
};

Graph gradient_of(const std::string& text) {
  return batched_gradient(asymmetric_loss(program(text).model("M", Mode::train)));
}

}  // namespace

TEST_CASE("convolutions and their gradients give what the reference gives, at any extents") {
  Team team(2);
  for (const std::string text : convolutions) {
    INFO(text);
    const Graph graph = gradient_of(text);
    const auto compiled = compile(graph, {});
    for (const std::int64_t batch : {1, 3})
      for (const std::int64_t length : {0, 1, 2, 4, 19}) {
        INFO("B = " << batch << ", T = " << length);
        const std::vector<Tensor> inputs = inputs_for(graph, {{"B", batch}, {"T", length}});
        require_close(graph, run_with(*compiled, inputs, team), evaluate(graph, inputs), 1e-10);
      }
  }
}

TEST_CASE("convolutions give the same bits on 1, 2 and 3 threads") {
  const Graph graph = gradient_of(convolutions[0]);
  const auto compiled = compile(graph, {});
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 3}, {"T", 11}});
  Team one(1), two(2), three(3);
  const std::vector<Tensor> expected = run_with(*compiled, inputs, one);
  for (Team* team : {&two, &three}) {
    const std::vector<Tensor> found = run_with(*compiled, inputs, *team);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], expected[i]));
  }
}

TEST_CASE("a product reads windows in place, as loops over runs of rows and of sums") {
  const auto fused = [](const std::string& text) {
    return fuse_pointwise(expand_composites(simplify(batch(program(text).model("M", Mode::eval)))));
  };
  const auto view_of = [](const Graph& graph) {
    for (const Node& node : graph.nodes())
      if (node.op == Op::matmul) return product_view(graph, node).value();
    FAIL("no product");
    return ProductView{};
  };
  const Graph line = fused("model M(x: real[T, 4]) { return y: correlate1d[6, 3](x) }");
  const ProductView one = view_of(line);
  CHECK(line.node(one.a.base.node).op == Op::input);
  CHECK(one.rows.size() == 1);  // examples
  CHECK(one.sums.empty());
  CHECK(one.shape.k == Dim(12));
  CHECK(one.a.free_stride == Dim(4));
  const Graph plane =
      fused("model M(x: real[9, 8, 4]) { return y: correlate2d[6, 3](x, stride: 2) }");
  const ProductView two = view_of(plane);
  CHECK(plane.node(two.a.base.node).op == Op::input);
  CHECK(two.rows.size() == 2);  // examples and rows of the image
  CHECK(two.sums.size() == 1);  // rows of the kernel
  CHECK(two.shape.k == Dim(12));
  CHECK(two.shape.m == Dim(3));
  CHECK(two.a.free_stride == Dim(8));
}
