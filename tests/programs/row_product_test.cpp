// Products of few rows, and loops whose threads each keep to their own columns.
#include <functional>
#include <random>

#include "driver/compile.h"
#include "ir/builder.h"
#include "ir/eval/evaluate.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// h' = a * h + tanh(x + h U), with `gates` slices of one product, so that the
// loop has a step that reads columns of every slice.
Graph gated(DType dtype, std::int64_t width, std::int64_t gates) {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T"), B = Dim::symbol("B");
  const Type state{dtype, {B, width}};
  const Value x = b.input("x", {dtype, {T, B, gates * width}});
  const Value u = b.input("U", {dtype, {width, gates * width}});
  const Value start = b.input("h", state);
  Graph body;
  Builder s(body);
  const Value inner_u = s.argument(b.type(u)), h = s.argument(state);
  const Value row = s.argument({dtype, {B, gates * width}});
  const Value z = s.add(row, s.matmul(h, inner_u, {1}, {0}));
  Value next = h;
  for (std::int64_t i = 0; i < gates; ++i)
    next = s.mul(s.sigmoid(s.slice(z, 1, i * width, width)), s.tanh(next));
  for (int i = 0; i < 2; ++i) body.add_output("", next);
  const std::vector<Value> out =
      b.scan({{u}, {start}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  b.output("last", out[0]);
  b.output("rows", out[1]);
  return graph;
}

// h' = next(h, x_t, U), on any rows.
using Step = std::function<Value(Builder&, Value h, Value x, Value u)>;
Graph loop_of(DType dtype, const Dims& state_dims, const Step& next) {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Type state{dtype, state_dims};
  Dims stacked{T};
  stacked.insert(stacked.end(), state_dims.begin(), state_dims.end());
  const Value x = b.input("x", {dtype, stacked});
  const Value u = b.input("U", {dtype, {state_dims.back(), state_dims.back()}});
  const Value start = b.input("h", state);
  Graph body;
  Builder s(body);
  const Value inner_u = s.argument(b.type(u)), h = s.argument(state), row = s.argument(state);
  const Value out = next(s, h, row, inner_u);
  for (int i = 0; i < 2; ++i) body.add_output("", out);
  const std::vector<Value> results =
      b.scan({{u}, {start}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  b.output("last", results[0]);
  b.output("rows", results[1]);
  return graph;
}

Graph product_of(DType dtype, std::int64_t k, std::int64_t n) {
  Graph graph;
  Builder b(graph);
  const Value a = b.input("a", {dtype, {Dim::symbol("M"), k}});
  b.output("c", b.matmul(a, b.input("b", {dtype, {k, n}}), {1}, {0}));
  return graph;
}

void require_everywhere(const Graph& graph, const DimEnv& env, double tolerance) {
  const std::vector<Tensor> inputs = inputs_for(graph, env);
  const std::vector<Tensor> expected = evaluate(graph, inputs);
  for (const char* features : {"", "avx2", "sse"}) {
    INFO(features);
    const auto program = compile(graph, {}, {"llvm", features, {}});
    Team one(1);
    const std::vector<Tensor> alone = run_with(*program, inputs, one);
    require_close(graph, alone, expected, tolerance);
    for (const int threads : {2, 3}) {
      Team team(threads);
      for (int turn = 0; turn < 5; ++turn) {
        const std::vector<Tensor> together = run_with(*program, inputs, team);
        for (std::size_t i = 0; i < alone.size(); ++i)
          CHECK(
              std::equal(alone[i].data(), alone[i].data() + alone[i].bytes(), together[i].data()));
      }
    }
  }
}

}  // namespace

TEST_CASE("products of one to four rows, of sizes 1 to 70") {
  std::mt19937 engine(5);
  std::uniform_int_distribution<std::int64_t> size(1, 70);
  for (const DType dtype : {DType::f32, DType::f64})
    for (int i = 0; i < 6; ++i) {
      const std::int64_t k = size(engine), n = size(engine), m = 1 + i % 4;
      INFO("[" << m << ", " << k << "] @ [" << k << ", " << n << "]");
      require_everywhere(product_of(dtype, k, n), {{"M", m}}, dtype == DType::f32 ? 1e-5 : 1e-12);
    }
}

TEST_CASE("a loop over one row gives the same bits for any number of threads") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const std::int64_t width : {16, 50, 192})
      for (const std::int64_t gates : {1, 3}) {
        INFO(width << " wide, " << gates << " gates");
        require_everywhere(gated(dtype, width, gates), {{"B", 1}, {"T", 9}},
                           dtype == DType::f32 ? 1e-4 : 1e-11);
      }
}

TEST_CASE("a loop over many rows, of which each thread does its own, gives the same bits") {
  for (const std::int64_t rows : {32, 47, 101})
    for (const std::int64_t gates : {1, 3}) {
      INFO(rows << " rows, " << gates << " gates");
      require_everywhere(gated(DType::f32, 34, gates), {{"B", rows}, {"T", 9}}, 1e-4);
    }
  require_everywhere(gated(DType::f64, 34, 3), {{"B", 50}, {"T", 9}}, 1e-11);
}

TEST_CASE("a loop over rows without products, with sums along them") {
  const Dim B = Dim::symbol("B");
  const Graph normalised =
      loop_of(DType::f32, {B, 3, 10}, [&](Builder& b, Value h, Value x, Value) {
        const Value z = b.add(h, x);
        const Value norm = b.reduce_sum(b.mul(z, z), {2});
        return b.div(z, b.broadcast(b.shift(norm, 1), {B, 3, 10}, {0, 1}));
      });
  require_everywhere(normalised, {{"B", 70}, {"T", 20}}, 1e-5);
}

// Where a row depends on others, the threads wait for one another.
TEST_CASE("a loop that mixes rows") {
  const Dim B = Dim::symbol("B");
  const std::int64_t W = 24;
  const std::vector<std::pair<const char*, Step>> steps{
      {"the mean of all rows",
       [&](Builder& b, Value h, Value x, Value) {
         return b.tanh(b.add(x, b.broadcast(b.mean(h, {0}), {B, W}, {1})));
       }},
      {"rows backwards",
       [&](Builder& b, Value h, Value x, Value u) {
         return b.tanh(b.add(x, b.matmul(b.reverse(h, 0), u, {1}, {0})));
       }},
      {"the row before",
       [&](Builder& b, Value h, Value x, Value) {
         return b.tanh(b.add(x, b.slice(b.pad(h, 0, 1, 0), 0, 0, B)));
       }},
      {"the transpose of a product with itself",
       [&](Builder& b, Value h, Value x, Value) {
         const Value all = b.matmul(h, h, {1}, {1});
         return b.tanh(b.add(x, b.matmul(all, h, {1}, {0})));
       }},
  };
  for (const auto& [what, step] : steps) {
    INFO(what);
    require_everywhere(loop_of(DType::f64, {B, W}, step), {{"B", 49}, {"T", 25}}, 1e-9);
  }
}
