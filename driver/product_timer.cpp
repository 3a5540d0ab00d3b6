#include "driver/product_timer.h"

#include <chrono>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "ir/builder.h"
#include "passes/place.h"

namespace treadle {
namespace {

// c[r] = a[r] b for r < R, either of them turned.
Graph products(bool a_turned, bool b_turned) {
  const Dim r = Dim::symbol("R"), m = Dim::symbol("M"), n = Dim::symbol("N"), k = Dim::symbol("K");
  const auto matrix = [](const Dim& rows, const Dim& columns, bool turned) {
    return Type{DType::f32, turned ? Dims{columns, rows} : Dims{rows, columns}};
  };
  Graph graph;
  Builder b(graph);
  const Type row = matrix(m, k, a_turned);
  Type rows = row;
  rows.dims.insert(rows.dims.begin(), r);
  const Value a = b.input("a", rows);
  const Value weights = b.input("b", matrix(k, n, b_turned));
  Graph body;
  Builder s(body);
  const Value inner = s.argument(b.type(weights)), step = s.argument(row);
  body.add_output("", s.matmul(step, inner, {a_turned ? 0 : 1}, {b_turned ? 1 : 0}));
  b.output("c", b.scan({{weights}, {}, {a}, r, false, std::make_shared<const Graph>(body), {}})[0]);
  return graph;
}

}  // namespace

Program& ProductTimer::program(bool a_turned, bool b_turned) {
  std::unique_ptr<Program>& program = programs_[{a_turned, b_turned}];
  if (program == nullptr) {
    Graph graph = products(a_turned, b_turned);
    if (backend_ == onednn_model().name()) graph = place_all(graph, onednn_model());
    program = compile_llvm(graph, {}, {{}, {}, make_onednn_runner, {}, {}});
  }
  return *program;
}

double ProductTimer::seconds(const ProductSize& x, std::int64_t runs) {
  Program& timed = program(x.a_turned, x.b_turned);
  const auto matrix = [](std::int64_t rows, std::int64_t columns, bool turned) {
    return turned ? Shape{columns, rows} : Shape{rows, columns};
  };
  Shape many = matrix(x.m, x.k, x.a_turned);
  many.insert(many.begin(), runs);
  Tensor a(DType::f32, std::move(many)), b(DType::f32, matrix(x.k, x.n, x.b_turned)),
      c(DType::f32, {runs, x.m, x.n});
  for (float& element : a.as<float>()) element = 0.5F;
  for (float& element : b.as<float>()) element = 0.25F;
  const DimEnv env{{"R", runs}, {"M", x.m}, {"N", x.n}, {"K", x.k}};
  const std::array<const std::byte*, 2> inputs{a.data(), b.data()};
  const std::array<std::byte*, 1> outputs{c.data()};
  double best = 0;
  // The first run binds the extents and brings memory into the caches.
  for (int i = 0; i < 4; ++i) {
    const auto start = std::chrono::steady_clock::now();
    timed.run(env, inputs, outputs, team_);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (i == 1 || (i > 1 && took.count() < best)) best = took.count();
  }
  return best;
}

}  // namespace treadle
