// Stacks written over stacks that nobody reads later.
#include "backends/llvm/scan_stacks.h"
#include "driver/compile.h"
#include "ir/text_parser.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A loop with the states h, f32[B, 6], that keeps what `kept` says of its step, and one
// the other way that reads it as `read` says and returns `written`; then `behind`.
struct Loops {
  const char *name, *kept, *kept_types, *arguments, *read, *written, *behind;
  bool over;  // is the last stack written over one that the first loop kept?
};

Graph graph_of(const Loops& loops) {
  return parse_graph(std::string(R"(graph @main stage(batched) {
  %0 = input {dims = <6, 6>, dtype = f32, name = "U"} : f32[6, 6]
  %1 = input {dims = <B, 6>, dtype = f32, name = "h"} : f32[B, 6]
  %2 = input {dims = <T, B, 6>, dtype = f32, name = "x"} : f32[T, B, 6]
  %3, )") + loops.kept_types +
                     R"( {
    ^(%0: f32[6, 6], %1: f32[B, 6], %2: f32[B, 6])
    %3 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 6]
    %4 = add(%3, %2) : f32[B, 6]
    %5 = sigmoid(%4) : f32[B, 6]
    %6 = sin(%4) : f32[B, 6]
    %7 = mul(%5, %6) : f32[B, 6]
    %8 = concat(%5, %6) {axis = 1} : f32[B, 12]
    return %7, )" + loops.kept +
                     "\n  }\n  " + loops.arguments + R"( {
    ^(%0: f32[6, 6], %1: f32[B, 6], )" +
                     loops.read + loops.written + "\n  }\n" + loops.behind + "\n}\n");
}

#define KEPT_ONE                                                                         \
  "%4 = scan(%0, %1, %2) {carries = 1, constants = 1, length = <T>, reverse = false} : " \
  "f32[B, 6], f32[T, B, 6]"
#define KEPT_JOINT                                                                       \
  "%4 = scan(%0, %1, %2) {carries = 1, constants = 1, length = <T>, reverse = false} : " \
  "f32[B, 6], f32[T, B, 12]"
#define READ_ONE                                                                            \
  "%5, %6 = scan(%0, %1, %4) {carries = 1, constants = 1, length = <T>, reverse = true} : " \
  "f32[B, 6], f32[T, B, 6]"
#define READ_JOINT                                                                          \
  "%5, %6 = scan(%0, %1, %4) {carries = 1, constants = 1, length = <T>, reverse = true} : " \
  "f32[B, 6], f32[T, B, 12]"
#define NEXT \
  "= matmul(%3, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[B, 6]"
#define RESULT "  %7 = reduce_sum(%6) {axes = [2]} : f32[T, B]\n  return \"h\" = %5, \"sum\" = %7"
#define JOINT_RESULT \
  "  %7 = reduce_sum(%6) {axes = [2]} : f32[T, B]\n  return \"h\" = %5, \"sum\" = %7"
#define SLICES(first, second)                                              \
  "%2: f32[B, 12])\n"                                                      \
  "    %3 = slice(%2) {axis = 1, extent = <6>, start = <0>} : f32[B, 6]\n" \
  "    %4 = slice(%2) {axis = 1, extent = <6>, start = <6>} : f32[B, 6]\n" \
  "    %5 = mul(%3, %1) : f32[B, 6]\n"                                     \
  "    %6 = sub(%4, %5) : f32[B, 6]\n"                                     \
  "    %7 = concat(" first ", " second                                     \
  ") {axis = 1} : f32[B, 12]\n"                                            \
  "    %8 = mul(%6, %3) : f32[B, 6]\n"

const std::vector<Loops> cases{
    {"one", "%5", KEPT_ONE, READ_ONE,
     "%2: f32[B, 6])\n    %3 = mul(%1, %2) : f32[B, 6]\n    %4 " NEXT, "\n    return %4, %3",
     RESULT, true},
    {"parts, in either order", "%8", KEPT_JOINT, READ_JOINT, SLICES("%6", "%5"),
     "    return %8, %7", JOINT_RESULT, true},
    {"read twice in the step", "%5", KEPT_ONE, READ_ONE,
     "%2: f32[B, 6])\n    %3 = mul(%1, %2) : f32[B, 6]\n    %4 " NEXT
     "\n    %5 = add(%4, %2) : f32[B, 6]",
     "\n    return %5, %3", RESULT, false},
    {"read later", "%5", KEPT_ONE, READ_ONE,
     "%2: f32[B, 6])\n    %3 = mul(%1, %2) : f32[B, 6]\n    %4 " NEXT, "\n    return %4, %3",
     "  %7 = mul(%6, %4) : f32[T, B, 6]\n  %8 = reduce_sum(%7) {axes = [0]} : f32[B, 6]\n"
     "  return \"h\" = %5, \"sum\" = %8",
     false},
    {"a result", "%5", KEPT_ONE, READ_ONE,
     "%2: f32[B, 6])\n    %3 = mul(%1, %2) : f32[B, 6]\n    %4 " NEXT, "\n    return %4, %3",
     "  %7 = reduce_sum(%6) {axes = [2]} : f32[T, B]\n"
     "  return \"h\" = %5, \"sum\" = %7, \"kept\" = %4",
     false},
    {"read at other elements", "%5", KEPT_ONE, READ_ONE,
     "%2: f32[B, 6])\n    %3 = reverse(%2) {axis = 1} : f32[B, 6]\n    %4 = mul(%1, %3) : f32[B, "
     "6]\n"
     "    %5 = sin(%4) : f32[B, 6]",
     "\n    return %5, %4", RESULT, false},
};

NodeId last_scan(const Graph& graph) {
  NodeId out = 0;
  for (NodeId id = 0; id < graph.size(); ++id)
    if (graph.node(id).op == Op::scan) out = id;
  return out;
}

}  // namespace

TEST_CASE("a loop's stack is written over one that its steps read alone, element by element") {
  for (const Loops& loops : cases) {
    INFO(loops.name);
    const Graph graph = graph_of(loops);
    const Graph lowered = lower(graph);
    CHECK(overwritten_stack(lowered, last_scan(lowered), 0).has_value() == loops.over);
  }
}

TEST_CASE("what is written over a stack is what would be written elsewhere") {
  for (const Loops& loops : cases) {
    const Graph graph = graph_of(loops);
    const auto program = compile(graph, {}, {"llvm", {}, {}});
    for (const std::int64_t T : {0, 1, 2, 9})
      for (const std::int64_t B : {1, 3, 40}) {
        INFO(loops.name << ", T = " << T << ", B = " << B);
        require_same_for_threads(graph, *program, inputs_for(graph, {{"T", T}, {"B", B}}), 1e-5);
      }
  }
}

TEST_CASE("a stack that is written over another one takes no memory of its own") {
  const auto bytes = [](const std::string& name) {
    for (const Loops& loops : cases)
      if (loops.name == name)
        return compile(graph_of(loops), {}, {"llvm", {}, {}})
            ->workspace_bytes({{"T", 1000}, {"B", 32}}, 1);
    FAIL("no such case");
    return std::size_t{0};
  };
  const std::size_t stack = std::size_t{1000} * 32 * 6 * 4;
  CHECK(bytes("one") < stack + stack / 4);
  CHECK(bytes("read later") > 2 * stack);
  CHECK(bytes("parts, in either order") < 2 * stack + stack / 4);
}
