// What kernels store and what they work out again.
#include "passes/fuse_pointwise.h"

#include <string>

#include "ir/builder.h"
#include "passes/expand_composites.h"
#include "passes/row_reciprocals.h"
#include "passes/simplify.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Graph gradient_of(const std::string& layers) {
  return simplify(expand_composites(simplify(batched_gradient(
      mean_square_of("model M(x: real[T, 24]) {\n" + layers + "  return y: y\n}\n")))));
}

// Results of kernels that are as large as `dims`.
int stored(const Graph& graph, const Dims& dims) {
  int out = 0;
  for (const Node& node : graph.nodes())
    if (node.op == Op::fused)
      for (const Type& type : node.types) out += type.dims == dims;
  return out;
}
int count_inside(const Graph& graph, Op op) {
  int out = 0;
  for (const Node& node : graph.nodes())
    if (node.op == Op::fused) out += count_ops(*node.regions[0], op);
  return out;
}
const Dims rows{Dim::symbol("B"), Dim::symbol("T"), 24};

}  // namespace

TEST_CASE("of a norm nothing is stored but its result") {
  // x is an input: its rows less their mean, and those over their deviation, follow from it.
  const Graph graph = gradient_of("  y = dense[24, 24](layer_norm[24](x))\n");
  const Graph fused = fuse_pointwise(graph);
  require_same_results(graph, fused);
  // The rows that the product reads, and the gradient of the loss by what it gives.
  CHECK(stored(fused, rows) == 2);
}

TEST_CASE("a kernel stores nothing for a gradient that follows from what is stored") {
  // Kernels that add to x and h read what the gradients of the norms' squares follow from.
  const Graph graph = gradient_of(
      "  a = dense[24, 24](x)\n"
      "  h = a + dense[24, 24](layer_norm[24](a))\n"
      "  y = h + dense[24, 24](layer_norm[24](h))\n");
  const Graph fused = fuse_pointwise(graph);
  require_same_results(graph, fused);
  CHECK(stored(fused, rows) == 13);
}

TEST_CASE("a value of two large ones is stored, and so is one that takes a function") {
  const auto results = [](const std::string& value) {
    Graph graph;
    Builder b(graph);
    const Type type{DType::f64, rows};
    const Value x = b.input("x", type), z = b.input("z", type);
    const Value s = b.input("s", {DType::f64, {rows[0], rows[1]}});
    Value v = value == "mul"       ? b.mul(x, z)
              : value == "exp"     ? b.exp(x)
              : value == "scale"   ? b.scale(x, 2.0)
              : value == "by rows" ? b.sub(x, b.broadcast(s, rows, {0, 1}))
                                   : b.scale(b.scale(b.scale(x, 2.0), 3.0), 5.0);
    // Two kernels, since one sum waits for the other.
    const Value sum = b.reduce_sum(v, {2});
    b.output("y", b.reduce_sum(b.mul(b.tanh(v), b.broadcast(sum, rows, {0, 1})), {0, 1}));
    const Graph fused = fuse_pointwise(graph);
    require_same_results(graph, fused);
    return stored(fused, rows);
  };
  CHECK(results("mul") == 1);
  CHECK(results("exp") == 1);
  CHECK(results("scale") == 0);
  CHECK(results("by rows") == 0);
  CHECK(results("three") == 1);  // more than two instructions
}

TEST_CASE("rows that are looked up are not looked up again") {
  const Graph graph = simplify(expand_composites(token_loss()));
  CHECK(count_inside(fuse_pointwise(graph), Op::gather) <= count_ops(graph, Op::gather));
}

TEST_CASE("rows are multiplied by the reciprocal of what a kernel divides them by") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", {DType::f64, rows});
  const Value s = b.input("s", {DType::f64, {rows[0], rows[1]}});
  const Value root = b.sqrt(b.mul(s, s));
  const auto by = [&](Value divisor) { return b.div(x, b.broadcast(divisor, rows, {0, 1})); };
  b.output("by a kernel's", by(root));
  b.output("by it again", b.exp(by(root)));
  b.output("by an input", by(s));
  b.output("by a sum", by(b.reduce_sum(x, {2})));
  b.output("by one number", b.div(x, b.broadcast_scalar(b.sqrt(b.reduce_max(x, {0, 1, 2})), rows)));
  const Graph changed = with_row_reciprocals(graph);
  require_same_results(graph, changed);
  int divisions = 0, reciprocals = 0;
  for (const Node& node : changed.nodes()) {
    if (node.op != Op::div) continue;
    ++(node.types[0].rank() == 3 ? divisions : reciprocals);
  }
  CHECK(divisions == 3);
  CHECK(reciprocals == 1);
}
