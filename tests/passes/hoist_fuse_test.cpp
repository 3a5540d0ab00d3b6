#include <algorithm>

#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/fuse_gates.h"
#include "passes/hoist_scan.h"
#include "passes/simplify.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("hoist-scan and fuse-gates change no value and no gradient") {
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph before = batched_gradient(loss);
    const Graph hoisted = hoist_scan(before);
    require_same_results(before, hoisted);
    require_same_results(before, fuse_gates(hoisted));
    require_same_results(before, fuse_gates(before));
  }
}

TEST_CASE("hoist-scan leaves one product a step, whichever way the loop runs") {
  const Graph hoisted = hoist_scan(batched_gradient(lstm_loss()));
  REQUIRE(count_ops(hoisted, Op::scan) == 2);
  // forward: h @ U; backward: dz @ U^T. The input projection stands in front,
  // dW and dU behind.
  CHECK(count_ops(scan_body(hoisted, 0), Op::matmul) == 1);
  CHECK(count_ops(scan_body(hoisted, 1), Op::matmul) == 1);
  CHECK(count_ops(hoisted, Op::matmul) == 3);
}

TEST_CASE("fuse-gates joins the gates of a cell that declares each weight on its own") {
  const Graph hoisted = hoist_scan(batched_gradient(separate_gates_loss()));
  CHECK(count_ops(scan_body(hoisted, 0), Op::matmul) == 3);
  const Graph fused = fuse_gates(hoisted);
  CHECK(count_ops(scan_body(fused, 0), Op::matmul) == 1);
  CHECK(count_ops(scan_body(fused, 1), Op::matmul) == 1);
  CHECK(count_ops(scan_body(fused, 0), Op::concat) == 0);  // the weights are joined in front
  // One projection in front, one product each for all dW and all dU.
  CHECK(count_ops(fused, Op::matmul) == 3);
  // Both halves read U's gates in one order: W and U are joined once each.
  const Graph simplified = simplify(fused);
  const auto& nodes = simplified.nodes();
  CHECK(std::count_if(nodes.begin(), nodes.end(), [](const Node& node) {
          return node.op == Op::concat && node.types[0].rank() == 2;
        }) == 2);
}

TEST_CASE("a running sum that a step also returns half-made stays in the loop") {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Type scalar{DType::f64, {}};
  const Value x = b.input("x", {DType::f64, {T, 3}});
  Graph body;
  Builder s(body);
  const Value sum = s.argument(scalar), row = s.argument({DType::f64, {3}});
  const Value half = s.add(sum, s.reduce_sum(row, {0}));
  body.add_output("", s.add(half, s.reduce_sum(s.square(row), {0})));
  body.add_output("", half);
  const std::vector<Value> out =
      b.scan({{}, {b.constant(scalar, 0)}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  graph.add_output("total", out[0]);
  graph.add_output("halves", out[1]);
  require_same_results(graph, hoist_scan(graph));
}
