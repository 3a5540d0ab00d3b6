#include "passes/join_stacks.h"

#include "ir/text_parser.h"
#include "passes/fuse_gates.h"
#include "passes/fuse_pointwise.h"
#include "passes/hoist_scan.h"
#include "passes/simplify.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Graph graph_of(const std::string& body) {
  return parse_graph("graph @main stage(batched) {\n" + body + "}\n");
}

// A loop from the last step to the first that returns a [T, B, 2], b [T, B, 3] and, as
// `joined` says, has a concatenation of them for its carry; then `behind`, which
// begins with %8.
Graph loop_of_two(const std::string& joined, const std::string& behind) {
  return graph_of(R"(
  %0 = input {dims = <T, B, 2>, dtype = f64, name = "x"} : f64[T, B, 2]
  %1 = input {dims = <T, B, 3>, dtype = f64, name = "y"} : f64[T, B, 3]
  %2 = input {dims = <B, 5>, dtype = f64, name = "h"} : f64[B, 5]
  %3 = input {dims = <5, 4>, dtype = f64, name = "w"} : f64[5, 4]
  %4 = input {dims = <T, B, 6>, dtype = f64, name = "z"} : f64[T, B, 6]
  %5, %6, %7 = scan(%2, %0, %1) {carries = 1, constants = 0, length = <T>, reverse = true} : f64[B, 5], f64[T, B, 2], f64[T, B, 3] {
    ^(%0: f64[B, 5], %1: f64[B, 2], %2: f64[B, 3])
    %3 = slice(%0) {axis = 1, extent = <2>, start = <1>} : f64[B, 2]
    %4 = slice(%0) {axis = 1, extent = <3>, start = <0>} : f64[B, 3]
    %5 = mul(%1, %3) : f64[B, 2]
    %6 = sub(%2, %4) : f64[B, 3]
)" + joined + R"(
    %8 = tanh(%7) : f64[B, 5]
    return %8, %5, %6
  }
)" + behind);
}

const std::string in_order = "%7 = concat(%5, %6) {axis = 1} : f64[B, 5]";
const std::string other_order = "%7 = concat(%6, %5) {axis = 1} : f64[B, 5]";

// How many values the first loop stacks.
std::size_t stacks(const Graph& graph) {
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan) return node.types.size() - ScanView(node).carries;
  return 0;
}

std::size_t sequences(const Graph& graph) {
  for (const Node& node : graph.nodes())
    if (node.op == Op::scan) return ScanView(node).sequences;
  return 0;
}

}  // namespace

TEST_CASE("join-stacks changes no value and no gradient") {
  for (const Graph& loss : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph before = simplify(fuse_gates(hoist_scan(batched_gradient(loss))));
    require_same_results(before, join_stacks(before));
    require_same_results(before, simplify(join_stacks(before)));
  }
}

TEST_CASE("nothing is copied between the loops and the products of a cell's own gates") {
  const Graph before = simplify(fuse_gates(hoist_scan(batched_gradient(separate_gates_loss()))));
  const auto large = [](const Graph& graph, Op op) {
    int count = 0;
    for (const Node& node : graph.nodes())
      if (node.op == op && node.types[0].rank() == 3) ++count;
    return count;
  };
  REQUIRE(large(before, Op::slice) == 3);
  REQUIRE(large(before, Op::concat) == 1);
  const Graph after = simplify(join_stacks(before));
  CHECK(large(after, Op::slice) == 0);
  CHECK(large(after, Op::concat) == 0);
  CHECK(sequences(after) == 1);
  CHECK(count_ops(scan_body(after, 1), Op::concat) == 1);  // that of its product
  CHECK(count_ops(fuse_pointwise(after), Op::fused) < count_ops(fuse_pointwise(before), Op::fused));
}

TEST_CASE("stacks that are joined behind a loop leave it as one") {
  const std::string behind = R"(
  %8 = concat(%6, %7) {axis = 2} : f64[T, B, 5]
  %9 = matmul(%8, %3) {batch_a = [], batch_b = [], contract_a = [2], contract_b = [0]} : f64[T, B, 4]
  %10 = square(%7) : f64[T, B, 3]
  return "last" = %5, "product" = %9, "other" = %10
)";
  for (const std::string& joined : {in_order, other_order}) {
    const Graph before = loop_of_two(joined, behind);
    const Graph after = join_stacks(before);
    CHECK(stacks(after) == 1);
    CHECK(count_ops(scan_body(after, 0), Op::concat) == 1);
    require_same_results(before, after);
  }
}

TEST_CASE("a product takes the parts in the order in which the step has them") {
  // Left and right, its rows, its columns, and what it adds up over.
  const std::string behind = R"(
  %8 = concat(%6, %7) {axis = 2} : f64[T, B, 5]
  %9 = matmul(%8, %3) {batch_a = [], batch_b = [], contract_a = [2], contract_b = [0]} : f64[T, B, 4]
  %10 = matmul(%4, %8) {batch_a = [], batch_b = [], contract_a = [0, 1], contract_b = [0, 1]} : f64[6, 5]
  %11 = matmul(%8, %4) {batch_a = [0], batch_b = [0], contract_a = [1], contract_b = [1]} : f64[T, 5, 6]
  %12 = matmul(%3, %8) {batch_a = [], batch_b = [], contract_a = [0], contract_b = [2]} : f64[4, T, B]
  %13 = matmul(%4, %8) {batch_a = [1], batch_b = [1], contract_a = [], contract_b = []} : f64[B, T, 6, T, 5]
  return "last" = %5, "a" = %9, "b" = %10, "c" = %11, "d" = %12, "e" = %13
)";
  const Graph before = loop_of_two(other_order, behind);
  const Graph after = join_stacks(before);
  CHECK(stacks(after) == 1);
  CHECK(count_ops(scan_body(after, 0), Op::concat) == 1);
  require_same_results(before, after);
  require_same_results(before, simplify(after));
}

TEST_CASE("who is not a product gets the order that was written") {
  const std::string behind = R"(
  %8 = concat(%6, %7) {axis = 2} : f64[T, B, 5]
  %9 = tanh(%8) : f64[T, B, 5]
  return "last" = %5, "rows" = %9
)";
  const Graph before = loop_of_two(other_order, behind);
  const Graph after = join_stacks(before);
  CHECK(stacks(after) == 1);
  CHECK(count_ops(scan_body(after, 0), Op::concat) == 2);
  require_same_results(before, after);
  // Both orders are wanted outside: two stacks.
  const Graph both = loop_of_two(other_order, R"(
  %8 = concat(%6, %7) {axis = 2} : f64[T, B, 5]
  %9 = concat(%7, %6) {axis = 2} : f64[T, B, 5]
  return "last" = %5, "a" = %8, "b" = %9, "parts" = %7
)");
  CHECK(stacks(join_stacks(both)) == 3);
  require_same_results(both, join_stacks(both));
}

TEST_CASE("what is joined along time, or goes through the step alone, is left as it is") {
  for (const char* text : {R"(
  %0 = input {dims = <T, B, 3>, dtype = f64, name = "x"} : f64[T, B, 3]
  %1 = input {dims = <B, 3>, dtype = f64, name = "h"} : f64[B, 3]
  %2, %3, %4 = scan(%1, %0) {carries = 1, constants = 0, length = <T>, reverse = false} : f64[B, 3], f64[T, B, 3], f64[T, B, 3] {
    ^(%0: f64[B, 3], %1: f64[B, 3])
    %2 = mul(%0, %1) : f64[B, 3]
    return %2, %2, %1
  }
  %5 = concat(%3, %4) {axis = 0} : f64[2*T, B, 3]
  return "last" = %2, "rows" = %5
)",
                           R"(
  %0 = input {dims = <T, B, 3>, dtype = f64, name = "x"} : f64[T, B, 3]
  %1 = input {dims = <B, 3>, dtype = f64, name = "h"} : f64[B, 3]
  %2, %3, %4 = scan(%1, %0) {carries = 1, constants = 0, length = <T>, reverse = false} : f64[B, 3], f64[T, B, 3], f64[T, B, 3] {
    ^(%0: f64[B, 3], %1: f64[B, 3])
    %2 = mul(%0, %1) : f64[B, 3]
    return %2, %0, %2
  }
  %5 = concat(%3, %4) {axis = 2} : f64[T, B, 6]
  return "last" = %2, "rows" = %5
)",
                           R"(
  %0 = input {dims = <2*T, B, 3>, dtype = f64, name = "x"} : f64[2*T, B, 3]
  %1 = input {dims = <B, 3>, dtype = f64, name = "h"} : f64[B, 3]
  %2 = slice(%0) {axis = 0, extent = <T>, start = <0>} : f64[T, B, 3]
  %3 = slice(%0) {axis = 0, extent = <T>, start = <T>} : f64[T, B, 3]
  %4 = scan(%1, %2, %3) {carries = 1, constants = 0, length = <T>, reverse = false} : f64[B, 3] {
    ^(%0: f64[B, 3], %1: f64[B, 3], %2: f64[B, 3])
    %3 = mul(%0, %1) : f64[B, 3]
    %4 = add(%3, %2) : f64[B, 3]
    return %4
  }
  return "last" = %4
)"}) {
    const Graph before = graph_of(text);
    CHECK(same_graph(before, join_stacks(before)));
  }
}

TEST_CASE("slices that a loop reads are read as the value, unless they are a small part of it") {
  // `base` of 8 numbers a row, and two ranges of it.
  const auto loop = [](const std::string& base, int first, int second, int extent) {
    const std::string size = std::to_string(extent);
    const auto slice = [&](int start) {
      return "slice(%2) {axis = 2, extent = <" + size + ">, start = <" + std::to_string(start) +
             ">} : f64[T, B, " + size + "]\n";
    };
    const std::string row = "f64[B, " + size + "]";
    return graph_of(R"(
  %0 = input {dims = <T, B, 8>, dtype = f64, name = "x"} : f64[T, B, 8]
  %1 = input {dims = <B, )" +
                    size + R"(>, dtype = f64, name = "h"} : )" + row + "\n  %2 = " + base +
                    "\n  %3 = " + slice(first) + "  %4 = " + slice(second) +
                    "  %5 = scan(%1, %3, %4) {carries = 1, constants = 0, length = <T>, "
                    "reverse = true} : " +
                    row + " {\n    ^(%0: " + row + ", %1: " + row + ", %2: " + row +
                    ")\n    %3 = mul(%0, %1) : " + row + "\n    %4 = add(%3, %2) : " + row +
                    "\n    return %4\n  }\n  return \"last\" = %5\n");
  };
  const std::string generated = "tanh(%0) : f64[T, B, 8]";
  const auto joined = [](const Graph& before) {
    const Graph after = join_stacks(before);
    require_same_results(before, after);
    return sequences(after) == 1;
  };
  CHECK(joined(loop(generated, 0, 4, 4)));   // all of it
  CHECK(joined(loop(generated, 4, 0, 4)));   // in any order
  CHECK(!joined(loop(generated, 0, 5, 3)));  // the rest would be computed for nothing
}

TEST_CASE("half of an input is read in place, less is copied") {
  const auto joined = [](const std::string& extent) {
    const std::string row = "f64[B, " + extent + "]";
    const Graph before = graph_of(
        "  %0 = input {dims = <T, B, 8>, dtype = f64, name = \"x\"} : f64[T, B, 8]\n"
        "  %1 = input {dims = <B, " +
        extent + ">, dtype = f64, name = \"h\"} : " + row +
        "\n  %2 = slice(%0) {axis = 2, extent = <" + extent + ">, start = <2>} : f64[T, B, " +
        extent +
        "]\n  %3 = scan(%1, %2) {carries = 1, constants = 0, length = <T>, reverse = false} : " +
        row + " {\n    ^(%0: " + row + ", %1: " + row + ")\n    %2 = sub(%1, %0) : " + row +
        "\n    return %2\n  }\n  return \"last\" = %3\n");
    const Graph after = join_stacks(before);
    require_same_results(before, after);
    return count_ops(after, Op::slice) == 0;
  };
  CHECK(joined("4"));
  CHECK(!joined("3"));
}

TEST_CASE("sums of slices that are all of a value are slices of one sum") {
  const auto sums = [](const std::string& second, const std::string& axes) {
    const Graph before = graph_of(R"(
  %0 = input {dims = <T, B, 5>, dtype = f64, name = "x"} : f64[T, B, 5]
  %1 = slice(%0) {axis = 2, extent = <2>, start = <0>} : f64[T, B, 2]
  %2 = slice(%0) {axis = 2, extent = <3>, start = <)" +
                                  second + R"(>} : f64[T, B, 3]
  %3 = reduce_sum(%1) {axes = [0, 1]} : f64[2]
  %4 = reduce_sum(%2) )" + axes + R"(
  return "a" = %3, "b" = %4
)");
    const Graph after = join_stacks(before);
    require_same_results(before, after);
    return count_ops(after, Op::reduce_sum);
  };
  CHECK(sums("2", "{axes = [0, 1]} : f64[3]") == 1);
  CHECK(sums("1", "{axes = [0, 1]} : f64[3]") == 2);
  CHECK(sums("2", "{axes = [0]} : f64[B, 3]") == 2);
  CHECK(sums("2", "{axes = [0, 2]} : f64[B]") == 2);
}
