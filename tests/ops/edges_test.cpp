// Values and gradients at the points where rules go wrong.
#include <cmath>
#include <limits>
#include <utility>

#include "ir/diagnostic.h"
#include "passes/differentiate.h"
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

Tensor vector_of(std::vector<double> values, DType dtype = DType::f64) {
  Tensor out(dtype, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) out.set(static_cast<std::int64_t>(i), values[i]);
  return out;
}

std::vector<double> elements(const Tensor& t) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < t.size(); ++i) out.push_back(t.get(i));
  return out;
}

// Value and gradients of sum(op(x...)).
struct Derived {
  std::vector<double> value;
  std::vector<std::vector<double>> gradients;
};
Derived derive(Op op, const std::vector<Tensor>& inputs, Attributes attributes = {}) {
  Graph graph;
  Builder b(graph);
  std::vector<Value> operands;
  std::vector<std::string> wrt;
  for (const Tensor& t : inputs) {
    const std::string name = "x" + std::to_string(operands.size());
    operands.push_back(b.input(name, {t.dtype(), Dims(t.shape().begin(), t.shape().end())}));
    if (is_float(t.dtype())) wrt.push_back(name);
  }
  const Value y = b.add_node(op, operands, std::move(attributes));
  Integers axes;
  for (std::size_t i = 0; i < b.type(y).rank(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  b.output("y", y);
  b.output("loss", b.reduce_sum(y, axes));
  const std::vector<Tensor> results = evaluate(differentiate(graph, {"loss", wrt, "g:"}), inputs);
  Derived out{elements(results[0]), {}};
  for (std::size_t i = 2; i < results.size(); ++i) out.gradients.push_back(elements(results[i]));
  return out;
}

std::vector<double> values_of(Op op, const std::vector<Tensor>& inputs) {
  Graph graph;
  Builder b(graph);
  std::vector<Value> operands;
  for (const Tensor& t : inputs)
    operands.push_back(b.input("x" + std::to_string(operands.size()),
                               {t.dtype(), Dims(t.shape().begin(), t.shape().end())}));
  b.output("y", b.add_node(op, operands));
  return elements(evaluate(graph, inputs)[0]);
}

using Numbers = std::vector<double>;

}  // namespace

TEST_CASE("activations and their slopes far out and at zero") {
  struct Row {
    Op op;
    Numbers at;
    Numbers value;
    Numbers slope;
  };
  const Numbers far{-800, -20, 0, 20, 800};
  const double e20 = std::exp(-20.0);
  const double s20 = e20 / (1 + e20);  // sigmoid(-20)
  const double d0 = 1 / std::sqrt(2 * std::acos(-1.0)), d20 = d0 * std::exp(-200.0);
  const double n20 = 2.7536241186062337e-89;  // the normal distribution at -20
  const std::vector<Row> rows{
      {Op::tanh, far, {-1, std::tanh(-20.0), 0, std::tanh(20.0), 1}, {0, 0, 1, 0, 0}},
      {Op::sigmoid, far, {0, s20, 0.5, 1 - s20, 1}, {0, s20 * (1 - s20), 0.25, s20, 0}},
      {Op::relu, far, {0, 0, 0, 20, 800}, {0, 0, 0, 1, 1}},
      {Op::softplus,
       far,
       {0, std::log1p(e20), std::log(2.0), 20 + std::log1p(e20), 800},
       {0, s20, 0.5, 1 - s20, 1}},
      {Op::silu,
       far,
       {0, -20 * s20, 0, 20 * (1 - s20), 800},
       {0, s20 * (1 - 20 * (1 - s20)), 0.5, (1 - s20) * (1 + 20 * s20), 1}},
      {Op::gelu, far, {0, -20 * n20, 0, 20, 800}, {0, n20 - 20 * d20, 0.5, 1, 1}},
      {Op::normal_cdf, far, {0, n20, 0.5, 1, 1}, {0, d20, d0, d20, 0}},
      {Op::normal_pdf, far, {0, d20, d0, d20, 0}, {0, 20 * d20, 0, -20 * d20, 0}},
      {Op::erf, far, {-1, -1, 0, 1, 1}, {0, 0, 2 / std::sqrt(std::acos(-1.0)), 0, 0}},
      {Op::expm1, {-800, 0}, {-1, 0}, {0, 1}},
      {Op::abs, far, {800, 20, 0, 20, 800}, {-1, -1, 0, 1, 1}},
      {Op::exp, {-800, 0, 800}, {0, 1, inf}, {0, 1, inf}},
  };
  for (const Row& row : rows) {
    INFO(to_string(row.op));
    const Derived found = derive(row.op, {vector_of(row.at)});
    for (std::size_t i = 0; i < row.at.size(); ++i) {
      INFO("at " << row.at[i]);
      // The slopes 1 - y^2 and y (1 - y) lose digits next to 1: 1e-15 absolute.
      if (std::isinf(row.value[i])) {
        CHECK(found.value[i] == row.value[i]);
        CHECK(found.gradients[0][i] == row.slope[i]);
        continue;
      }
      CHECK(found.value[i] == Approx(row.value[i]).epsilon(1e-13).margin(1e-300));
      CHECK(found.gradients[0][i] == Approx(row.slope[i]).epsilon(1e-7).margin(1e-15));
    }
  }
}

TEST_CASE("gelu, silu and softplus are 0 at -infinity, and keep infinity and NaN") {
  for (const Op op : {Op::gelu, Op::silu, Op::softplus}) {
    const Numbers values = values_of(op, {vector_of({-inf, inf, not_a_number})});
    CHECK(values[0] == 0);
    CHECK(values[1] == inf);
    CHECK(std::isnan(values[2]));
  }
}

TEST_CASE("NaN is kept by relu, minimum, maximum, sign and reduce_max") {
  const Tensor odd = vector_of({not_a_number, 1, not_a_number}),
               other = vector_of({2, not_a_number, not_a_number});
  for (const Op op : {Op::minimum, Op::maximum})
    for (const double value : values_of(op, {odd, other})) CHECK(std::isnan(value));
  CHECK(std::isnan(values_of(Op::relu, {odd})[0]));
  CHECK(std::isnan(values_of(Op::sign, {odd})[0]));
  const Derived top =
      derive(Op::reduce_max, {vector_of({1, not_a_number, 3})}, {{"axes", Integers{0}}});
  CHECK(std::isnan(top.value[0]));
}

TEST_CASE("comparisons with NaN are false, except ne") {
  const Tensor x = vector_of({not_a_number, 1, not_a_number}),
               y = vector_of({1, not_a_number, not_a_number});
  for (const Op op : {Op::lt, Op::le, Op::gt, Op::ge, Op::eq})
    CHECK(values_of(op, {x, y}) == Numbers{0, 0, 0});
  CHECK(values_of(Op::ne, {x, y}) == Numbers{1, 1, 1});
  CHECK(values_of(Op::is_finite, {vector_of({not_a_number, inf, -inf, 0, -1e308})}) ==
        Numbers{0, 0, 0, 1, 1});
}

TEST_CASE("of equals, minimum and maximum give the gradient to the first") {
  for (const Op op : {Op::minimum, Op::maximum}) {
    const Derived found = derive(op, {vector_of({2, 0}), vector_of({2, 0})});
    CHECK(found.gradients[0] == Numbers{1, 1});
    CHECK(found.gradients[1] == Numbers{0, 0});
  }
}

TEST_CASE("equals share the gradient of reduce_max") {
  const Derived found = derive(Op::reduce_max, {vector_of({3, 1, 3, 2})}, {{"axes", Integers{0}}});
  CHECK(found.value == Numbers{3});
  CHECK(found.gradients[0] == Numbers{0.5, 0, 0.5, 0});
}

TEST_CASE("powers at zero") {
  const Derived found =
      derive(Op::pow, {vector_of({0, 0, 0, -2, 0}), vector_of({0, 1, 2, 3, 0.5})});
  CHECK(found.value == Numbers{1, 0, 0, -8, 0});
  CHECK(found.gradients[0] == Numbers{0, 1, 0, 12, inf});
  CHECK(found.gradients[1][0] == 0);
  CHECK(found.gradients[1][1] == 0);
  CHECK(found.gradients[1][2] == 0);
}

TEST_CASE("softmax and its relatives of nothing and of very large numbers") {
  const Attributes axis{{"axis", std::int64_t{0}}};
  const Tensor none = vector_of({-inf, -inf}), large = vector_of({800, 800, -800});
  CHECK(derive(Op::softmax, {none}, axis).value == Numbers{0, 0});
  CHECK(derive(Op::softmax, {none}, axis).gradients[0] == Numbers{0, 0});
  CHECK(derive(Op::softmax, {large}, axis).value == Numbers{0.5, 0.5, 0});
  CHECK(derive(Op::log_softmax, {none}, axis).value == Numbers{-inf, -inf});
  CHECK(derive(Op::logsumexp, {none}, axis).value == Numbers{-inf});
  CHECK(derive(Op::logsumexp, {none}, axis).gradients[0] == Numbers{0, 0});
  CHECK(derive(Op::logsumexp, {vector_of({})}, axis).value == Numbers{-inf});
  const Derived sum = derive(Op::logsumexp, {large}, axis);
  CHECK(sum.value[0] == Approx(800 + std::log(2.0)).epsilon(1e-15));
  CHECK(sum.gradients[0][0] == Approx(0.5).epsilon(1e-12));
  CHECK(sum.gradients[0][2] == 0);
  // A masked entry in a row with others.
  const Derived masked = derive(Op::softmax, {vector_of({0, -inf, 0})}, axis);
  CHECK(masked.value == Numbers{0.5, 0, 0.5});
  CHECK(masked.gradients[0] == Numbers{0, 0, 0});
}

TEST_CASE("the decomposed forms agree on rows of -inf") {
  for (const Op op : {Op::softmax, Op::log_softmax, Op::logsumexp}) {
    INFO(to_string(op));
    Graph graph;
    Builder b(graph);
    const Value x = b.input("x", parse_type("f64[3, 2]"));
    const Value y = b.add_node(op, {x}, {{"axis", std::int64_t{1}}});
    const Node node = graph.node(y.node);
    b.output("y", y);
    b.output("decomposed", op_def(op).decompose(b, node, node.operands)[0]);
    const Tensor rows = vector_of({-inf, -inf, -inf, 3, 800, 799}).reshaped({3, 2});
    const std::vector<Tensor> results = evaluate(graph, std::vector<Tensor>{rows});
    for (std::int64_t i = 0; i < results[0].size(); ++i) {
      if (results[0].get(i) == results[1].get(i)) continue;
      CHECK(results[1].get(i) == Approx(results[0].get(i)).epsilon(1e-14));
    }
  }
}

TEST_CASE("reductions over nothing") {
  const Attributes all{{"axes", Integers{0}}};
  const Tensor nothing = vector_of({});
  CHECK(derive(Op::mean, {nothing}, all).value == Numbers{0});
  CHECK(derive(Op::reduce_sum, {nothing}, all).value == Numbers{0});
  CHECK(derive(Op::reduce_max, {nothing}, all).value == Numbers{-inf});
}

TEST_CASE("argmax takes the first of equals") {
  Graph graph;
  Builder b(graph);
  b.output("y", b.argmax(b.input("x", parse_type("f64[2, 4]")), 1));
  const Tensor x = vector_of({1, 5, 5, 2, 0, -1, not_a_number, not_a_number}).reshaped({2, 4});
  CHECK(elements(evaluate(graph, std::vector<Tensor>{x})[0]) == Numbers{1, 2});
}

TEST_CASE("integer arithmetic wraps, and division by zero gives zero") {
  const double low = -2147483648.0;
  const Tensor x = vector_of({7, -7, 5, low, low}, DType::i32);
  const Tensor y = vector_of({2, 2, 0, -1, 1}, DType::i32);
  CHECK(values_of(Op::div, {x, y}) == Numbers{3, -3, 0, low, low});
  CHECK(values_of(Op::sub, {x, y}) == Numbers{5, -9, 5, low + 1, 2147483647.0});
  CHECK(values_of(Op::abs, {x}) == Numbers{7, 7, 5, low, low});
  CHECK(values_of(Op::sign, {x}) == Numbers{1, -1, 1, -1, -1});
}

TEST_CASE("casts truncate and saturate") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", parse_type("f64[7]"));
  b.output("i32", b.cast(x, DType::i32));
  b.output("i64", b.cast(x, DType::i64));
  b.output("bool", b.cast(x, DType::b1));
  const std::vector<Tensor> out = evaluate(
      graph, std::vector<Tensor>{vector_of({2.9, -2.9, 1e10, -1e30, 1e30, not_a_number, 0})});
  CHECK(elements(out[0]) == Numbers{2, -2, 2147483647.0, -2147483648.0, 2147483647.0, 0, 0});
  CHECK(out[1].get_integer(2) == 10000000000);
  CHECK(out[1].get_integer(3) == std::numeric_limits<std::int64_t>::min());
  CHECK(out[1].get_integer(4) == std::numeric_limits<std::int64_t>::max());
  CHECK(elements(out[2]) == Numbers{1, 1, 1, 1, 1, 1, 0});
}

TEST_CASE("gather and scatter_add refuse an index outside the table") {
  Graph graph;
  Builder b(graph);
  const Value table = b.input("table", parse_type("f64[3]"));
  b.output("y", b.gather(table, b.input("i", parse_type("i32[2]"))));
  for (const double bad : {3.0, -1.0}) {
    const std::vector<Tensor> inputs{vector_of({1, 2, 3}), vector_of({0, bad}, DType::i32)};
    CHECK_THROWS_AS(evaluate(graph, inputs), UserError);
  }
}

TEST_CASE("repeated tokens add up in the gradient of a lookup") {
  Graph graph;
  Builder b(graph);
  const Value table = b.input("table", parse_type("f64[3]"));
  const Value y = b.gather(table, b.input("tokens", parse_type("i32[4]")));
  b.output("loss", b.reduce_sum(b.mul(y, b.literal(vector_of({1, 10, 100, 1000}))), {0}));
  const std::vector<Tensor> out =
      evaluate(differentiate(graph, {"loss", {"table"}, "g:"}),
               std::vector<Tensor>{vector_of({5, 6, 7}), vector_of({2, 0, 2, 2}, DType::i32)});
  CHECK(elements(out[1]) == Numbers{10, 0, 1101});
}

TEST_CASE("no gradient passes stop_gradient, sign or floor") {
  for (const Op op : {Op::stop_gradient, Op::sign, Op::floor})
    CHECK(derive(op, {vector_of({-1.5, 0, 2.5})}).gradients[0] == Numbers{0, 0, 0});
}

TEST_CASE("sums of f32 are rounded once") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", parse_type("f32[3]"));
  b.output("sum", b.reduce_sum(x, {0}));
  b.output("dot", b.matmul(x, b.constant(parse_type("f32[3]"), 1), {0}, {0}));
  const std::vector<Tensor> out =
      evaluate(graph, std::vector<Tensor>{vector_of({16777216, 1, 1}, DType::f32)});
  CHECK(out[0].get(0) == 16777218);
  CHECK(out[1].get(0) == 16777218);
}
