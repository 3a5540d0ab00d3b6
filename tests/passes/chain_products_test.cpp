#include "passes/chain_products.h"

#include "ir/text_parser.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A loop over the product of x, of so many numbers a row, by a matrix. Its step has the state
// %1, a row %2 of the product, and %3, the product of the state by another matrix; it makes `next`,
// the next state, and stacks %6. `more` are outputs besides.
Graph loop(const std::string& step, int inputs = 5, const std::string& more = "",
           const std::string& next = "%8") {
  const std::string k = std::to_string(inputs);
  return parse_graph(R"(graph @main stage(batched) {
  %0 = input {dims = <)" +
                     k + R"(, 4>, dtype = f64, name = "w"} : f64[)" + k + R"(, 4]
  %1 = input {dims = <2, 4>, dtype = f64, name = "u"} : f64[2, 4]
  %2 = input {dims = <B, 2>, dtype = f64, name = "h"} : f64[B, 2]
  %3 = input {dims = <T, B, )" +
                     k + R"(>, dtype = f64, name = "x"} : f64[T, B, )" + k + R"(]
  %4 = matmul(%3, %0) {batch_a = [], batch_b = [], contract_a = [2], contract_b = [0]} : f64[T, B, 4]
  %5, %6 = scan(%1, %2, %4) {carries = 1, constants = 1, length = <T>, reverse = false} : f64[B, 2], f64[T, B, 4] {
    ^(%0: f64[2, 4], %1: f64[B, 2], %2: f64[B, 4])
    %3 = matmul(%1, %0) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f64[B, 4]
)" + step + R"(
    return )" + next +
                     R"(, %6
  }
  return "h" = %5, "stack" = %6)" +
                     more + "\n}\n");
}

const std::string whole = R"(
    %4 = add(%2, %3) : f64[B, 4]
    %5 = neg(%4) : f64[B, 4]
    %6 = tanh(%5) : f64[B, 4]
    %7 = slice(%6) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %8 = sin(%7) : f64[B, 2])";

int chained(const Graph& graph) { return count_ops(scan_body(graph, 0), Op::matmul_add); }

void check_unchanged(const Graph& before) {
  const Graph after = chain_products(before);
  require_same_results(before, after);
  CHECK(chained(after) == 0);
}

}  // namespace

TEST_CASE("a loop's product starts its sums from that of its inputs") {
  const Graph before = loop(whole);
  const Graph after = chain_products(before);
  require_same_results(before, after);
  CHECK(chained(after) == 1);
  CHECK(count_ops(scan_body(after, 0), Op::matmul) == 0);
  CHECK(count_ops(scan_body(after, 0), Op::add) == 0);
  CHECK(count_ops(after, Op::matmul) == 1);
  CHECK(chained(chain_products(loop(whole, 255))) == 1);
}

TEST_CASE("parts to which the same parts are added are parts of the sum") {
  const auto parts = [](const std::string& second) {
    return R"(
    %4 = slice(%2) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %5 = slice(%2) {axis = 1, extent = <2>, start = <)" +
           second +
           R"(>} : f64[B, 2]
    %6 = tanh(%2) : f64[B, 4]
    %7 = slice(%3) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %8 = slice(%3) {axis = 1, extent = <2>, start = <2>} : f64[B, 2]
    %9 = add(%7, %4) : f64[B, 2]
    %10 = add(%5, %8) : f64[B, 2]
    %11 = mul(%9, %10) : f64[B, 2])";
  };
  const Graph before = loop(parts("2"), 5, "", "%11");
  const Graph after = chain_products(before);
  require_same_results(before, after);
  CHECK(chained(after) == 1);
  CHECK(count_ops(scan_body(after, 0), Op::add) == 0);
  check_unchanged(loop(parts("1"), 5, "", "%11"));
}

TEST_CASE("sums that stay sums") {
  INFO("of many inputs");
  check_unchanged(loop(whole, 256));
  INFO("which are read once more, in front of the loop and in its step");
  check_unchanged(loop(whole, 5, ", \"product\" = %4"));
  check_unchanged(loop(R"(
    %4 = add(%2, %3) : f64[B, 4]
    %5 = neg(%3) : f64[B, 4]
    %6 = mul(%4, %5) : f64[B, 4]
    %7 = slice(%6) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %8 = sin(%7) : f64[B, 2])"));
  INFO("of what is no product of inputs");
  check_unchanged(loop(R"(
    %4 = tanh(%2) : f64[B, 4]
    %5 = add(%4, %3) : f64[B, 4]
    %6 = sin(%5) : f64[B, 4]
    %7 = slice(%6) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %8 = sin(%7) : f64[B, 2])"));
  INFO("of a product and itself");
  check_unchanged(loop(R"(
    %4 = add(%3, %3) : f64[B, 4]
    %5 = add(%4, %2) : f64[B, 4]
    %6 = sin(%5) : f64[B, 4]
    %7 = slice(%6) {axis = 1, extent = <2>, start = <0>} : f64[B, 2]
    %8 = sin(%7) : f64[B, 2])"));
}
