// What type inference refuses, and how it says so.
#include <functional>

#include "ir/diagnostic.h"
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

struct Refusal {
  std::string code;
  std::string message;
};

Refusal refusal(const std::function<void(Builder&)>& build) {
  Graph graph;
  Builder b(graph);
  try {
    build(b);
  } catch (const UserError& error) {
    return {error.diagnostics()[0].code, error.diagnostics()[0].message};
  }
  return {"nothing", "was refused"};
}

Value x(Builder& b, std::string_view type) {
  return b.input("x" + std::to_string(b.graph().size()), parse_type(type));
}

}  // namespace

TEST_CASE("refused operands") {
  struct Row {
    std::string code, message;
    std::function<void(Builder&)> build;
  };
  const std::vector<Row> rows{
      {"T0312", "[matmul] inner dimensions differ: a is f32[T, 8], b is f32[4, H]",
       [](Builder& b) { b.matmul(x(b, "f32[T, 8]"), x(b, "f32[4, H]"), {1}, {0}); }},
      {"T0312", "[matmul] inner dimensions differ: a is f32[T, H], b is f32[2*H, H]",
       [](Builder& b) { b.matmul(x(b, "f32[T, H]"), x(b, "f32[2*H, H]"), {1}, {0}); }},
      {"T0310", "[matmul] batch dimensions differ: a is f32[2, 8], b is f32[3, 8]",
       [](Builder& b) { b.matmul(x(b, "f32[2, 8]"), x(b, "f32[3, 8]"), {1}, {1}, {0}, {0}); }},
      {"T0311", "[matmul] element types differ: a is f32[8], b is f64[8]",
       [](Builder& b) { b.matmul(x(b, "f32[8]"), x(b, "f64[8]"), {0}, {0}); }},
      {"T0311", "[matmul] floating-point elements expected: a is i32[8], b is i32[8]",
       [](Builder& b) { b.matmul(x(b, "i32[8]"), x(b, "i32[8]"), {0}, {0}); }},
      {"T0314", "[matmul] axis 2 does not exist: x is f32[3, 8] with 2 axes",
       [](Builder& b) { b.matmul(x(b, "f32[3, 8]"), x(b, "f32[8]"), {2}, {0}); }},
      {"T0314", "[matmul] axis 1 is given twice: x is f32[3, 8]",
       [](Builder& b) {
         b.matmul(x(b, "f32[3, 8]"), x(b, "f32[8, 8]"), {1, 1}, {0, 1});
       }},
      {"T0310", "[select] shapes differ: x is bool[3], y is f32[4], z is f32[4]",
       [](Builder& b) { b.select(x(b, "bool[3]"), x(b, "f32[4]"), x(b, "f32[4]")); }},
      {"T0311", "[select] the condition must be bool: x is f32[4], y is f32[4], z is f32[4]",
       [](Builder& b) { b.select(x(b, "f32[4]"), x(b, "f32[4]"), x(b, "f32[4]")); }},
      {"T0313", "[transpose] a permutation of 1 axes does not fit: x is f32[3, 5]",
       [](Builder& b) { b.transpose(x(b, "f32[3, 5]"), {0}); }},
      {"T0315",
       "[reshape] the number of elements changes from 8*T to 9*T: x is f32[T, 8], the result "
       "would be f32[9, T]",
       [](Builder& b) {
         b.reshape(x(b, "f32[T, 8]"), {9, Dim::symbol("T")});
       }},
      {"T0310", "[broadcast] shapes differ: x is f32[1], the result would be f32[3, 5]",
       [](Builder& b) {
         b.broadcast(x(b, "f32[1]"), {3, 5}, {1});
       }},
      {"T0313", "[broadcast] 1 axes are given for 2 dimensions: x is f32[3, 5]",
       [](Builder& b) {
         b.broadcast(x(b, "f32[3, 5]"), {3, 5}, {1});
       }},
      {"T0314", "[broadcast] axes must ascend: x is f32[5, 5], the result is f32[5, 5]",
       [](Builder& b) {
         b.broadcast(x(b, "f32[5, 5]"), {5, 5}, {1, 0});
       }},
      {"T0327", "[slice] elements 3 to 7 are outside dimension 5: x is f32[5]",
       [](Builder& b) { b.slice(x(b, "f32[5]"), 0, 3, 4); }},
      {"T0316", "[slice] the start is negative (-1): x is f32[5]",
       [](Builder& b) { b.slice(x(b, "f32[5]"), 0, -1, 2); }},
      {"T0316", "[pad] the padding in front is negative (-1): x is f32[5]",
       [](Builder& b) { b.pad(x(b, "f32[5]"), 0, -1, 2); }},
      {"T0310", "[concat] shapes differ outside axis 1: x is f32[3, 5], y is f32[4, 5]",
       [](Builder& b) {
         b.concat({x(b, "f32[3, 5]"), x(b, "f32[4, 5]")}, 1);
       }},
      {"T0313", "[concat] ranks differ: x is f32[3, 5], y is f32[3]",
       [](Builder& b) {
         b.concat({x(b, "f32[3, 5]"), x(b, "f32[3]")}, 0);
       }},
      {"T0313", "[concat] at least one operand is needed", [](Builder& b) { b.concat({}, 0); }},
      {"T0314", "[reduce_sum] axis 1 does not exist: x is f32[T] with 1 axes",
       [](Builder& b) { b.reduce_sum(x(b, "f32[T]"), {1}); }},
      {"T0311", "[mean] floating-point elements expected: x is i32[T]",
       [](Builder& b) { b.mean(x(b, "i32[T]"), {0}); }},
      {"T0314", "[softmax] axis -1 does not exist: x is f32[T] with 1 axes",
       [](Builder& b) { b.softmax(x(b, "f32[T]"), -1); }},
      {"T0311", "[gather] indices must be i32 or i64, not f32[T]",
       [](Builder& b) { b.gather(x(b, "f32[V, 8]"), x(b, "f32[T]")); }},
      {"T0310", "[gather] shared dimensions differ: the table is f32[2, V], the indices are i32[3]",
       [](Builder& b) { b.gather(x(b, "f32[2, V]"), x(b, "i32[3]"), 1); }},
      {"T0313",
       "[gather] 0 shared dimensions and one to look up in: the table is f32[], the indices are "
       "i32[3]",
       [](Builder& b) { b.gather(x(b, "f32[]"), x(b, "i32[3]")); }},
      {"T0310",
       "[scatter_add] the updates are f32[3], expected f32[3, 8]: the table is f32[V, 8], the "
       "indices are i32[3]",
       [](Builder& b) { b.scatter_add(x(b, "f32[V, 8]"), x(b, "i32[3]"), x(b, "f32[3]")); }},
      {"T0314", "[iota] axis 1 does not exist: the result is i32[3]",
       [](Builder& b) { b.iota({3}, 1, DType::i32); }},
      {"T0311", "[philox] i64 elements expected: x is i32[3], y is i32[3], z is i32[3]",
       [](Builder& b) { b.philox(x(b, "i32[3]"), x(b, "i32[3]"), x(b, "i32[3]")); }},
  };
  for (const Row& row : rows) {
    INFO(row.message);
    const Refusal found = refusal(row.build);
    CHECK(found.message == row.message);
    CHECK(found.code == row.code);
  }
}

TEST_CASE("pointwise ops refuse operands of different shapes or element types") {
  for (const Case& c : all_cases()) {
    const OpDef& def = op_def(c.op);
    if (def.family != Family::pointwise || def.operands != 2 || c.number != 0) continue;
    INFO(def.name);
    const Type type = c.probe.operands[0].type;
    const auto refused = [&](const Type& second) {
      return refusal([&](Builder& b) {
               b.add_node(c.op, {b.input("a", type), b.input("b", second)});
             })
          .code;
    };
    CHECK(refused({type.dtype, {5, 3}}) == "T0310");
    CHECK(refused({DType::i32, type.dims}) == "T0311");
  }
}

TEST_CASE("functions of floating-point numbers refuse integers") {
  for (const Op op : {Op::exp, Op::tanh, Op::sigmoid, Op::sqrt, Op::floor, Op::is_finite}) {
    INFO(to_string(op));
    CHECK(refusal([&](Builder& b) { b.add_node(op, {x(b, "i32[3]")}); }).code == "T0311");
  }
  CHECK(refusal([](Builder& b) { b.neg(x(b, "bool[3]")); }).code == "T0311");
  CHECK(refusal([](Builder& b) { b.logical_not(x(b, "f32[3]")); }).code == "T0311");
}
