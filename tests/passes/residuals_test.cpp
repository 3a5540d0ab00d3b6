// What a step keeps for its gradient.
#include "passes/fuse_pointwise.h"
#include "passes/hoist_scan.h"
#include "passes/simplify.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// The gradient of a cell over x, its state 3 wide: `step` gives the next h from x, h and
// the weights U [3, 6] and V [3, 3].
Graph gradient_of(const std::string& step) {
  return batched_gradient(
      mean_square_of("cell c[I, H](x: real[I], h: real[H]) {\n"
                     "  param U: real[H, 6] ~ orthogonal\n"
                     "  param V: real[H, H] ~ orthogonal\n" +
                     step +
                     "  yield h, h\n"
                     "}\n"
                     "model M(x: real[T, 3]) {\n"
                     "  y, _ = scan c[3, 3] over x\n"
                     "  return y: y\n"
                     "}\n"));
}

// Values of a step that the first loop keeps, besides y.
std::size_t kept(const std::string& step) {
  const Graph graph = simplify(hoist_scan(simplify(gradient_of(step))));
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan) return ScanView(node).outputs - 1;
  return 0;
}

}  // namespace

TEST_CASE("what a few instructions give from what is kept is not kept") {
  // h, z and n; 1 - z follows.
  CHECK(kept("  z = sigmoid(x + h @ V)\n"
             "  n = tanh(x - z)\n"
             "  h = (1 - z) * n + z * h\n") == 3);
  // Not what takes a function: cos(z) is kept beside z and h.
  CHECK(kept("  z = sigmoid(x + h @ V)\n"
             "  h = cos(z) * z\n") == 3);
  // Nor what a product behind the loop reads: z * h, beside z and h.
  CHECK(kept("  z = sigmoid(x + h)\n"
             "  h = tanh((z * h) @ V)\n") == 4);
}

TEST_CASE("values computed again for a gradient change none") {
  const Graph loss = gradient_of(
      "  z = sigmoid(x + h @ V)\n"
      "  a = max(z, 0.4) - 2 * z\n"
      "  h = (1 - z) * a * a + z * h * a\n");
  require_same_results(loss, simplify(hoist_scan(simplify(loss))));
}

TEST_CASE("a slice that is kept leaves its sum in the kernel that reads the others") {
  const Graph graph = fuse_pointwise(simplify(hoist_scan(
      simplify(gradient_of("  a, b = split(h @ U + 1, 2)\n  h = tanh(x + sigmoid(a) * b)\n")))));
  CHECK(count_ops(scan_body(graph, 0), Op::fused) == 1);
}
