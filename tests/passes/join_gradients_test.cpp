// Products with the parts of one value.
#include "passes/join_gradients.h"

#include <vector>

#include "ir/builder.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// x^T times each half of a value; the products of the halves in `rounded` are of bfloat16
// operands.
Graph halves(const std::vector<bool>& rounded) {
  Graph out;
  Builder b(out);
  const Dim rows = Dim::symbol("B");
  const Value x = b.input("x", {DType::f32, {rows, 6}});
  const Value whole = b.input("whole", {DType::f32, {rows, 8}});
  for (int i = 0; i < 2; ++i) {
    Attributes attributes{{"contract_a", Integers{0}},
                          {"contract_b", Integers{0}},
                          {"batch_a", Integers{}},
                          {"batch_b", Integers{}}};
    if (rounded[static_cast<std::size_t>(i)]) attributes.set("operands", DType::bf16);
    const Value part = b.slice(whole, 1, 4 * i, 4);
    b.output(i == 0 ? "low" : "high", b.add_node(Op::matmul, {x, part}, std::move(attributes)));
  }
  return out;
}

}  // namespace

TEST_CASE("products of parts are one product of the same operands, rounded or not") {
  for (const bool rounded : {false, true}) {
    const Graph before = halves({rounded, rounded}), after = join_gradients(before);
    require_same_results(before, after);
    REQUIRE(count_ops(after, Op::matmul) == 1);
    for (const Node& node : after.nodes())
      if (node.op == Op::matmul) CHECK(node.attributes.has("operands") == rounded);
  }
}

TEST_CASE("a product of rounded operands and one of others stay two") {
  CHECK(count_ops(join_gradients(halves({false, true})), Op::matmul) == 2);
}
