// Which nodes a pass added, changed, removed; what nodes cost.
#include "driver/inspect/changes.h"

#include "driver/inspect/costs.h"
#include "ir/text_parser.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

// The graphs of a test are texts of one length, so that a node keeps its place.
std::vector<Change> changes_after(const std::string& before, const std::string& after) {
  return compare_graphs(parse_graph(before), parse_graph(after)).after;
}

const std::string first = R"(graph @main stage(one-example) {
  %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
  %1 = tanh(%0) : f32[4]
  %2 = exp(%1) : f32[4]
  %3 = add(%1, %2) : f32[4]
  return "y" = %3
})";

}  // namespace

TEST_CASE("a graph compared with itself has no changes, and neither has a reordered one") {
  const GraphChanges same = compare_graphs(parse_graph(first), parse_graph(first));
  CHECK(same.after == std::vector<Change>(4, Change::same));
  CHECK(same.before == std::vector<Change>(4, Change::same));
  const std::string two = R"(graph @main stage(one-example) {
    %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
    %1 = sin(%0) : f32[4]
    %2 = cos(%0) : f32[4]
    return "y" = %1, "z" = %2
  })";
  const std::string swapped = R"(graph @main stage(one-example) {
    %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
    %1 = cos(%0) : f32[4]
    %2 = sin(%0) : f32[4]
    return "y" = %2, "z" = %1
  })";
  CHECK(changes_after(two, swapped) == std::vector<Change>(3, Change::same));
}

TEST_CASE("a replaced node is gone and new; who reads it is changed") {
  const std::string second = R"(graph @main stage(one-example) {
  %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
  %1 = tanh(%0) : f32[4]
  %2 = sin(%1) : f32[4]
  %3 = add(%1, %2) : f32[4]
  return "y" = %3
})";
  const GraphChanges found = compare_graphs(parse_graph(first), parse_graph(second));
  const std::vector<Change> expected{Change::same, Change::same, Change::gone, Change::changed};
  CHECK(found.before == expected);
  CHECK(found.after == expected);
  const ChangeCounts counts = count_changes(found);
  CHECK(counts.added == 1);
  CHECK(counts.changed == 1);
  CHECK(counts.removed == 1);
}

TEST_CASE("of equal nodes as many remain as there were") {
  const std::string twice = R"(graph @main stage(one-example) {
    %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
    %1 = tanh(%0) : f32[4]
    %2 = tanh(%0) : f32[4]
    %3 = add(%1, %2) : f32[4]
    return "y" = %3
  })";
  const std::string once = R"(graph @main stage(one-example) {
    %0 = input {dims = <4>, dtype = f32, name = "x"} : f32[4]
    %1 = tanh(%0) : f32[4]
                          
    %2 = add(%1, %1) : f32[4]
    return "y" = %2
  })";
  const ChangeCounts counts = count_changes(compare_graphs(parse_graph(twice), parse_graph(once)));
  CHECK(counts.added == 0);
  CHECK(counts.changed == 1);
  CHECK(counts.removed == 1);
}

namespace {

std::string loop(const std::string& step) {
  return R"(graph @main stage(one-example) {
    %0 = input {dims = <T, 4>, dtype = f32, name = "x"} : f32[T, 4]
    %1 = input {dims = <4>, dtype = f32, name = "s"} : f32[4]
    %2 = parameter {dims = <4, 4>, dtype = f32, initialiser = "xavier", name = "W"} : f32[4, 4]
    %3, %4 = scan(%2, %1, %0) {carries = 1, constants = 1, length = <T>, reverse = false} : f32[4], f32[T, 4] {
      ^(%0: f32[4, 4], %1: f32[4], %2: f32[4])
      %3 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [0], contract_b = [0]} : f32[4]
      )" +
         step +
         R"(
      return %4, %4
    }
    return "y" = %4
  })";
}

}  // namespace

TEST_CASE("what changes in a body is counted there, and the scan is changed") {
  const Graph before = parse_graph(loop("%4 = add(%3, %2) : f32[4]"));
  const Graph after = parse_graph(loop("%4 = mul(%3, %2) : f32[4]"));
  const GraphChanges found = compare_graphs(before, after);
  CHECK(found.after[3] == Change::changed);
  REQUIRE(found.bodies[3] != nullptr);
  CHECK(found.bodies[3]->after ==
        std::vector<Change>{Change::same, Change::same, Change::same, Change::same, Change::gone});
}

TEST_CASE("a scan costs its body as often as it turns") {
  const Graph graph = parse_graph(loop("%4 = add(%3, %2) : f32[4]"));
  const Graph& body = *graph.node(3).regions[0];
  CHECK(node_flops(body, 3) == Dim(2 * 4 * 4));
  CHECK(node_bytes(body, 3) == Dim(4 * (16 + 4 + 4)));
  CHECK(node_flops(body, 4) == Dim(4));
  const Dim T = Dim::symbol("T");
  CHECK(node_flops(graph, 3) == T * Dim(36));
  CHECK(node_bytes(graph, 3) == T * Dim(4 * (16 + 4 + 4) + 4 * 3 * 4));
  CHECK(node_bytes(graph, 0) == Dim());
}

TEST_CASE("a kernel reads the slices of an operand, not all of it") {
  const auto bytes = [](const std::string& dims) {
    const Graph graph = parse_graph(R"(graph @main stage(optimised) {
      %0 = input {dims = <8, 4>, dtype = f32, name = "x"} : f32[8, 4]
      %1 = fused(%0) {domain = <8, 1>} : f32[8, 1] {
        ^(%0: f32[8, 4])
        %1 = slice(%0) {axis = 1, extent = <1>, start = <0>} : f32[8, 1]
        %2 = slice(%0) {axis = 1, extent = <1>, start = <)" +
                                    dims + R"(>} : f32[8, 1]
        %3 = add(%1, %2) : f32[8, 1]
        return %3
      }
      return "y" = %1
    })");
    return node_bytes(graph, 1);
  };
  CHECK(bytes("2") == Dim(4 * (8 + 8 + 8)));
}
