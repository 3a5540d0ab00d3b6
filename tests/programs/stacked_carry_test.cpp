// Carried values that stand in the stack of what goes into the steps, or comes out.
#include <algorithm>

#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "ir/text_parser.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A loop with two carried values h and c, f32[B, 6], over x[T, B, 6]; the step
// returns `returned`, and `behind` reads %4 (h), %5 (c) and the stacks from %6 on.
struct Loop {
  const char* name;
  int stacks;
  const char* returned;
  const char* behind;
};

// %0 U, %1 h, %2 c, %3 x_t, %6 the next c, %8 the next h.
Graph graph_of(const Loop& loop, bool reverse) {
  std::string results = "%4, %5", types = "f32[B, 6], f32[B, 6]";
  for (int i = 0; i < loop.stacks; ++i) {
    results += ", %" + std::to_string(6 + i);
    types += ", f32[T, B, 6]";
  }
  return parse_graph(R"(graph @main stage(batched) {
  %0 = input {dims = <6, 6>, dtype = f32, name = "U"} : f32[6, 6]
  %1 = input {dims = <B, 6>, dtype = f32, name = "h"} : f32[B, 6]
  %2 = input {dims = <B, 6>, dtype = f32, name = "c"} : f32[B, 6]
  %3 = input {dims = <T, B, 6>, dtype = f32, name = "x"} : f32[T, B, 6]
  )" + results + " = scan(%0, %1, %2, %3) {carries = 2, constants = 1, length = <T>, reverse = " +
                     (reverse ? "true" : "false") + "} : " + types + R"( {
    ^(%0: f32[6, 6], %1: f32[B, 6], %2: f32[B, 6], %3: f32[B, 6])
    %4 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 6]
    %5 = add(%4, %3) : f32[B, 6]
    %6 = add(%2, %5) : f32[B, 6]
    %7 = sin(%6) : f32[B, 6]
    %8 = mul(%7, %1) : f32[B, 6]
    return )" + loop.returned +
                     "\n  }\n" + loop.behind + "}\n");
}

const char* const sum_of_one = R"(
  %7 = tanh(%6) : f32[T, B, 6]
  %8 = reduce_sum(%7) {axes = [0]} : f32[B, 6]
  return "h" = %4, "c" = %5, "sum" = %8
)";
const char* const sum_of_two = R"(
  %8 = mul(%6, %7) : f32[T, B, 6]
  %9 = reduce_sum(%8) {axes = [0]} : f32[B, 6]
  return "h" = %4, "c" = %5, "sum" = %9
)";
const char* const sum_of_four = R"(
  %10 = mul(%6, %7) : f32[T, B, 6]
  %11 = mul(%8, %9) : f32[T, B, 6]
  %12 = sub(%10, %11) : f32[T, B, 6]
  %13 = reduce_sum(%12) {axes = [0]} : f32[B, 6]
  return "h" = %4, "c" = %5, "sum" = %13
)";

// Written as what stands in which stack: before (%1, %2) and after the step (%8, %6).
const std::vector<Loop> loops{
    {"before", 1, "%8, %6, %1", sum_of_one},
    {"after", 1, "%8, %6, %8", sum_of_one},
    {"both", 2, "%8, %6, %8, %1", sum_of_two},
    {"one of each", 2, "%8, %6, %2, %8", sum_of_two},
    {"both of both", 4, "%8, %6, %2, %8, %1, %6", sum_of_four},
    {"one value in two stacks, and in a third", 4, "%8, %6, %1, %1, %6, %6", sum_of_four},
    {"what comes out of one goes into the other", 4, "%8, %1, %1, %2, %8, %1", sum_of_four},
    {"they change places", 2, "%2, %1, %1, %2", sum_of_two},
    {"both are the same", 2, "%8, %8, %8, %1", sum_of_two},
    {"one stays what it was", 2, "%8, %2, %2, %1", sum_of_two},
    {"stacks are results", 2, "%8, %6, %1, %8", R"(
  return "h" = %4, "c" = %5, "before" = %6, "after" = %7
)"},
    {"one stack is a result", 4, "%8, %6, %1, %1, %8, %8", R"(
  %10 = mul(%7, %9) : f32[T, B, 6]
  return "h" = %4, "before" = %6, "after" = %8, "both" = %10
)"},
    {"a product reads the stacks", 2, "%8, %6, %1, %8", R"(
  %8 = matmul(%6, %7) {batch_a = [], batch_b = [], contract_a = [0, 1], contract_b = [0, 1]} : f32[6, 6]
  %9 = matmul(%7, %0) {batch_a = [], batch_b = [], contract_a = [2], contract_b = [1]} : f32[T, B, 6]
  return "c" = %5, "a" = %8, "b" = %9
)"},
    {"another loop reads them", 2, "%8, %6, %2, %6", R"(
  %8 = scan(%4, %6, %7) {carries = 1, constants = 0, length = <T>, reverse = true} : f32[B, 6] {
    ^(%0: f32[B, 6], %1: f32[B, 6], %2: f32[B, 6])
    %3 = mul(%1, %0) : f32[B, 6]
    %4 = sub(%3, %2) : f32[B, 6]
    return %4
  }
  return "c" = %5, "other" = %8
)"},
};

void require_same(const Graph& graph) {
  const auto program = compile(graph, {}, {"llvm", {}, {}});
  for (const std::int64_t T : {0, 1, 2, 7})
    for (const std::int64_t B : {1, 3, 40}) {
      INFO("T = " << T << ", B = " << B);
      require_same_for_threads(graph, *program, inputs_for(graph, {{"T", T}, {"B", B}}), 1e-5);
    }
}

}  // namespace

TEST_CASE("a carried value may stand in a stack of its own, in either direction") {
  for (const Loop& loop : loops)
    for (const bool reverse : {false, true}) {
      INFO(loop.name << (reverse ? ", reverse" : ""));
      require_same(graph_of(loop, reverse));
    }
}

TEST_CASE("what goes into the steps is copied once, in front of the loop") {
  // How many copies a run makes at T = 9.
  const auto copies = [](const std::string& name, bool reverse) {
    const auto found = std::find_if(loops.begin(), loops.end(),
                                    [&](const Loop& loop) { return loop.name == name; });
    std::int64_t count = 0;
    for (const KernelRow& row : compiled_kernels(lower(graph_of(*found, reverse)), {}))
      if (row.kind == "copy") count += row.times.evaluate({{"T", 9}, {"B", 2}});
    return count;
  };
  for (const bool reverse : {false, true}) {
    // Of both carried values: in front of the loop, and the results behind it.
    for (const char* name : {"before", "after", "both", "one of each", "both of both",
                             "one value in two stacks, and in a third"})
      CHECK(copies(name, reverse) == 4);
    CHECK(copies("another loop reads them", reverse) == 3 + 2);
    // A result is written in its own place, what goes into the steps in each turn.
    CHECK(copies("stacks are results", reverse) == 4 + 9);
    CHECK(copies("one stack is a result", reverse) == 3 + 9);
  }
}
