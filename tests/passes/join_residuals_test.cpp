#include "passes/join_residuals.h"

#include "ir/text_parser.h"
#include "passes/fuse_gates.h"
#include "passes/hoist_scan.h"
#include "passes/join_stacks.h"
#include "passes/simplify.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A cell with two gates, %5 and %6 of its step, of which `kept` is kept, and a loop the
// other way that reads it and returns a concatenation of `parts`.
Graph two_loops(const std::string& second_gate, const std::string& kept, const std::string& parts,
                const std::string& behind) {
  return parse_graph(R"(graph @main stage(batched) {
  %0 = input {dims = <3, 3>, dtype = f64, name = "u"} : f64[3, 3]
  %1 = input {dims = <B, 3>, dtype = f64, name = "h"} : f64[B, 3]
  %2 = input {dims = <T, B, 3>, dtype = f64, name = "x"} : f64[T, B, 3]
  %3, %4, %5 = scan(%0, %1, %2) {carries = 1, constants = 1, length = <T>, reverse = false} : f64[B, 3], f64[T, B, 3], f64[T, B, 3] {
    ^(%0: f64[3, 3], %1: f64[B, 3], %2: f64[B, 3])
    %3 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f64[B, 3]
    %4 = add(%3, %2) : f64[B, 3]
    %5 = sigmoid(%4) : f64[B, 3]
    )" + second_gate +
                     R"(
    %8 = mul(%5, %6) : f64[B, 3]
    return %8, )" + kept +
                     R"(
  }
  %6, %7 = scan(%1, %4, %5) {carries = 1, constants = 0, length = <T>, reverse = true} : f64[B, 3], f64[T, B, 6] {
    ^(%0: f64[B, 3], %1: f64[B, 3], %2: f64[B, 3])
    %3 = mul(%0, %1) : f64[B, 3]
    %4 = sub(%3, %2) : f64[B, 3]
    %5 = concat()" + parts +
                     R"() {axis = 1} : f64[B, 6]
    return %4, %5
  }
)" + behind + "}\n");
}

const std::string gate = "%6 = tanh(%4) : f64[B, 3]\n    %7 = sin(%6) : f64[B, 3]";
const std::string gate_behind_product =
    "%6 = matmul(%5, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
    "f64[B, 3]\n    %7 = sin(%6) : f64[B, 3]";
const std::string result = "  return \"h\" = %6, \"gates\" = %7\n";

// Stacks that the first loop returns, and sequences that the second one reads.
std::pair<std::size_t, std::size_t> between(const Graph& graph) {
  std::vector<ScanView> scans;
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan) scans.emplace_back(node);
  return {scans[0].outputs, scans[1].sequences};
}

}  // namespace

TEST_CASE("what a gradient reads of the gates is one stack, of the shape of what it writes") {
  for (const char* parts : {"%3, %4", "%4, %3", "%4, %4"}) {
    const Graph before = two_loops(gate, "%5, %6", parts, result);
    const Graph after = join_residuals(before);
    require_same_results(before, after);
    CHECK(count_ops(scan_body(after, 0), Op::concat) == 1);
    CHECK(count_ops(scan_body(after, 1), Op::slice) == 2);
    const Graph joined = simplify(join_stacks(before));  // which calls it
    CHECK(between(joined).first == 1);
    CHECK(between(joined).second == 1);
    require_same_results(before, joined);
  }
}

TEST_CASE("stacks that others read, or that no one kernel writes, stay apart") {
  const auto stays = [](const Graph& before) {
    const Graph after = join_residuals(before);
    require_same_results(before, after);
    return between(after).first == 2 && between(after).second == 2;
  };
  const std::string reader = "  %8 = mul(%4, %2) : f64[T, B, 3]\n";
  CHECK(stays(two_loops(gate, "%5, %6", "%3, %4",
                        reader + "  return \"h\" = %6, \"gates\" = %7, \"more\" = %8\n")));
  CHECK(stays(
      two_loops(gate, "%5, %6", "%3, %4", "  return \"h\" = %6, \"gates\" = %7, \"kept\" = %5\n")));
  CHECK(stays(two_loops(gate_behind_product, "%5, %6", "%3, %4", result)));
  // What goes into the step, and what the step carries on, have stacks that cost nothing.
  CHECK(stays(two_loops(gate, "%5, %1", "%3, %4", result)));
  CHECK(stays(two_loops(gate, "%5, %8", "%3, %4", result)));
}

TEST_CASE("an LSTM keeps its gates in one stack") {
  const Graph before = simplify(fuse_gates(hoist_scan(batched_gradient(lstm_loss()))));
  const Graph after = simplify(join_stacks(before));
  require_same_results(before, after);
  CHECK(between(after).first + 3 == between(before).first);
  CHECK(between(after).second + 3 == between(before).second);
}
