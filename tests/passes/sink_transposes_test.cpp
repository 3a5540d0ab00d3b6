#include "passes/sink_transposes.h"

#include "ir/text_parser.h"
#include "passes/expand_composites.h"
#include "passes/fuse_pointwise.h"
#include "passes/hoist_scan.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Graph graph_of(const std::string& body) {
  return parse_graph("graph @main stage(batched) {\n" + body + "}\n");
}

}  // namespace

TEST_CASE("sink-transposes changes no value and no gradient") {
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph before = expand_composites(hoist_scan(batched_gradient(loss)));
    require_same_results(before, sink_transposes(before));
  }
}

TEST_CASE("three axes in a cycle come back as they were") {
  // Not its own inverse, so that an order taken the wrong way round shows.
  const Graph before = graph_of(R"(
  %0 = input {dims = <T, B, 4>, dtype = f64, name = "x"} : f64[T, B, 4]
  %1 = input {dims = <4>, dtype = f64, name = "w"} : f64[4]
  %2 = transpose(%0) {permutation = [1, 2, 0]} : f64[B, 4, T]
  %3 = broadcast(%1) {axes = [1], dims = <B, 4, T>} : f64[B, 4, T]
  %4 = mul(%2, %3) : f64[B, 4, T]
  %5 = reduce_sum(%4) {axes = [1]} : f64[B, T]
  %6 = transpose(%4) {permutation = [2, 0, 1]} : f64[T, B, 4]
  %7 = reduce_max(%6) {axes = [2]} : f64[T, B]
  return "sums" = %5, "same" = %6, "most" = %7
)");
  const Graph after = sink_transposes(before);
  CHECK(count_ops(after, Op::transpose) == 1);  // of the sums, which are small
  require_same_results(before, after);
}

// As of a loop's result that the next layer reads turned.
TEST_CASE("what stands behind two transposes and a map between them moves through both") {
  const std::string map = R"(
  %0 = input {dims = <T, B, 4>, dtype = f64, name = "x"} : f64[T, B, 4]
  %1 = transpose(%0) {permutation = [1, 2, 0]} : f64[B, 4, T]
  %2 = tanh(%1) : f64[B, 4, T]
)";
  for (const char* rest : {R"(
  %3 = transpose(%2) {permutation = [1, 2, 0]} : f64[4, T, B]
  %4 = exp(%3) : f64[4, T, B]
  %5 = reduce_sum(%4) {axes = [0]} : f64[T, B]
  return "sums" = %5
)",
                           R"(
  %3 = transpose(%2) {permutation = [2, 0, 1]} : f64[T, B, 4]
  %4 = exp(%3) : f64[T, B, 4]
  %5 = add(%4, %0) : f64[T, B, 4]
  return "sums" = %5, "exp" = %4
)",
                           R"(
  %3 = transpose(%2) {permutation = [2, 1, 0]} : f64[T, 4, B]
  %4 = exp(%3) : f64[T, 4, B]
  %5 = transpose(%4) {permutation = [0, 2, 1]} : f64[T, B, 4]
  %6 = mul(%5, %0) : f64[T, B, 4]
  %7 = reduce_max(%6) {axes = [1]} : f64[T, 4]
  return "most" = %7
)"}) {
    INFO(rest);
    const Graph before = graph_of(map + rest);
    const Graph after = sink_transposes(before);
    CHECK(count_ops(after, Op::transpose) < count_ops(before, Op::transpose));
    require_same_results(before, after);
  }
}

TEST_CASE("a transpose stays where one reader needs the axes as they are") {
  // The product reads what was squared, and so it is squared as it was written.
  const Graph before = graph_of(R"(
  %0 = input {dims = <T, B, 4>, dtype = f64, name = "x"} : f64[T, B, 4]
  %1 = input {dims = <B, T, 4>, dtype = f64, name = "y"} : f64[B, T, 4]
  %2 = transpose(%0) {permutation = [1, 0, 2]} : f64[B, T, 4]
  %3 = square(%2) : f64[B, T, 4]
  %4 = add(%3, %1) : f64[B, T, 4]
  %5 = reduce_sum(%3) {axes = [0, 1, 2]} : f64[]
  return "sum" = %5, "rows" = %4
)");
  const Graph after = sink_transposes(before);
  CHECK(same_graph(before, after));
}

TEST_CASE("fuse-pointwise makes one kernel of two that only one reads") {
  const auto kernels = [](const std::string& body) {
    return count_ops(fuse_pointwise(graph_of(body)), Op::fused);
  };
  const std::string inputs = R"(
  %0 = input {dims = <B, 4>, dtype = f64, name = "x"} : f64[B, 4]
  %1 = input {dims = <B, 4>, dtype = f64, name = "y"} : f64[B, 4]
  %2 = exp(%0) : f64[B, 4]
  %3 = tanh(%1) : f64[B, 4]
)";
  CHECK(kernels(inputs + R"(
  %4 = mul(%2, %3) : f64[B, 4]
  return "z" = %4
)") == 1);
  // Both are wanted in memory too: one kernel writes all three.
  CHECK(kernels(inputs + R"(
  %4 = mul(%2, %3) : f64[B, 4]
  return "x" = %2, "y" = %3, "z" = %4
)") == 1);
  // Read in another order: exp must be finished before.
  CHECK(kernels(inputs + R"(
  %4 = reverse(%2) {axis = 0} : f64[B, 4]
  %5 = mul(%4, %3) : f64[B, 4]
  return "z" = %5
)") == 2);
  // A sum of exp stands between exp and the kernel that reads both.
  CHECK(kernels(inputs + R"(
  %4 = reduce_sum(%2) {axes = [1]} : f64[B]
  %5 = broadcast(%4) {axes = [0], dims = <B, 4>} : f64[B, 4]
  %6 = mul(%2, %5) : f64[B, 4]
  %7 = mul(%6, %3) : f64[B, 4]
  return "x" = %2, "z" = %7
)") == 3);
}
