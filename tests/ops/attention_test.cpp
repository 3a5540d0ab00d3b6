// attention and attention_gradient, which passes alone make, against sums
// written out and against differences.
#include <cmath>
#include <functional>
#include <limits>

#include "ir/diagnostic.h"
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// What is done to scores and weights, in graphs and in numbers. `m` is the first
// element of the further operands at that place, 0 where there is none.
struct Variant {
  std::string name;
  std::vector<DType> more;  // further operands, each as large as the domain
  std::function<Value(Builder&, Value s, const std::vector<Value>&more)> scores, weights;
  // The gradients by score and weight from those by scores and weights.
  std::function<Value(Builder&, Value s, Value d, const std::vector<Value>& more)> d_score;
  std::function<Value(Builder&, Value d, const std::vector<Value>& more)> d_weight;
  std::function<double(double s, double m)> score, weight;
};

const std::vector<Variant> variants = {
    {"plain",
     {},
     [](Builder&, Value s, auto&) { return s; },
     [](Builder&, Value p, auto&) { return p; },
     [](Builder&, Value, Value d, auto&) { return d; },
     [](Builder&, Value d, auto&) { return d; },
     [](double s, double) { return s; },
     [](double p, double) { return p; }},
    {"scale, bias and weighted weights",
     {DType::f64},
     [](Builder& b, Value s, auto& more) { return b.add(b.scale(s, 0.7), more[0]); },
     [](Builder& b, Value p, auto& more) { return b.mul(p, more[0]); },
     [](Builder& b, Value, Value d, auto&) { return b.scale(d, 0.7); },
     [](Builder& b, Value d, auto& more) { return b.mul(d, more[0]); },
     [](double s, double m) { return 0.7 * s + m; },
     [](double p, double m) { return p * m; }},
    {"capped",
     {},
     [](Builder& b, Value s, auto&) { return b.scale(b.tanh(s), 2); },
     [](Builder&, Value p, auto&) { return p; },
     [](Builder& b, Value s, Value d, auto&) {
       const Value slope = b.shift(b.neg(b.square(b.tanh(s))), 1);
       return b.mul(b.scale(d, 2), slope);
     },
     [](Builder&, Value d, auto&) { return d; },
     [](double s, double) { return 2 * std::tanh(s); },
     [](double p, double) { return p; }},
    {"masked",
     {DType::b1},
     [](Builder& b, Value s, auto& more) {
       return b.select(more[0], s, b.constant(b.type(s), -infinity));
     },
     [](Builder&, Value p, auto&) { return p; },
     [](Builder& b, Value, Value d, auto& more) {
       return b.select(more[0], d, b.constant(b.type(d), 0));
     },
     [](Builder&, Value d, auto&) { return d; },
     [](double s, double m) { return m != 0 ? s : -infinity; },
     [](double p, double) { return p; }},
};

struct Extents {
  std::int64_t batch, queries, keys, width, value_width;
};
const std::vector<Extents> extents = {
    {2, 3, 4, 2, 3}, {1, 1, 1, 1, 1}, {2, 4, 1, 3, 2}, {1, 3, 0, 2, 2}, {2, 0, 3, 2, 1}};

Type matrix(const Extents& x, std::int64_t rows, std::int64_t columns, DType dtype = DType::f64) {
  return {dtype, {Dim(x.batch), Dim(rows), Dim(columns)}};
}

Region region_of(const Variant& v, const Extents& x, bool gradient) {
  auto graph = std::make_shared<Graph>();
  Builder b(*graph);
  std::vector<Value> own, more;
  for (int i = 0; i < (gradient ? 4 : 2); ++i)
    own.push_back(b.argument(matrix(x, x.queries, x.keys)));
  for (const DType dtype : v.more) more.push_back(b.argument(matrix(x, x.queries, x.keys, dtype)));
  b.output("", v.scores(b, own[0], more));
  b.output("", v.weights(b, own[1], more));
  if (gradient) {
    b.output("", v.d_weight(b, own[2], more));
    b.output("", v.d_score(b, own[0], own[3], more));
  }
  return graph;
}

// The op with inputs x0, x1, ... and outputs y0, y1, ...
Graph graph_of(const Variant& v, const Extents& x, bool gradient) {
  Graph graph;
  Builder b(graph);
  std::vector<Type> types{matrix(x, x.queries, x.width), matrix(x, x.keys, x.width),
                          matrix(x, x.keys, x.value_width)};
  if (gradient) {
    types.resize(5, matrix(x, x.queries, x.value_width));
    types.push_back({DType::f64, {Dim(x.batch), Dim(x.queries)}});
  }
  for (const DType dtype : v.more) types.push_back(matrix(x, x.queries, x.keys, dtype));
  std::vector<Value> operands;
  for (const Type& type : types)
    operands.push_back(b.input("x" + std::to_string(operands.size()), type));
  const Value first = b.add_node(gradient ? Op::attention_gradient : Op::attention, operands, {},
                                 {region_of(v, x, gradient)});
  const std::size_t count = graph.node(first.node).types.size();
  for (std::uint32_t i = 0; i < count; ++i) b.output("y" + std::to_string(i), {first.node, i});
  return graph;
}

std::vector<Tensor> drawn(const Graph& graph, std::uint64_t seed) {
  std::vector<Tensor> out;
  for (const NodeId id : graph.inputs()) {
    const bool mask = graph.node(id).types[0].dtype == DType::b1;
    out.push_back(draw({graph.node(id).types[0], mask ? 0.0 : -1.0, 1.0}, seed * 100 + out.size()));
  }
  return out;
}

// result and lse by the definition, number by number.
std::pair<Tensor, Tensor> by_sums(const Variant& v, const Extents& x,
                                  const std::vector<Tensor>& in) {
  Tensor result(DType::f64, {x.batch, x.queries, x.value_width});
  Tensor lse(DType::f64, {x.batch, x.queries});
  for (std::int64_t row = 0; row < x.batch * x.queries; ++row) {
    const std::int64_t keys = row / x.queries * x.keys;
    std::vector<double> scores;
    double total = 0;
    for (std::int64_t j = 0; j < x.keys; ++j) {
      double s = 0;
      for (std::int64_t d = 0; d < x.width; ++d)
        s += in[0].get(row * x.width + d) * in[1].get((keys + j) * x.width + d);
      const double m = v.more.empty() ? 0 : in[3].get(row * x.keys + j);
      scores.push_back(v.score(s, m));
      total += std::exp(scores.back());
    }
    lse.set(row, total == 0 ? -infinity : std::log(total));
    for (std::int64_t j = 0; total != 0 && j < x.keys; ++j) {
      const double m = v.more.empty() ? 0 : in[3].get(row * x.keys + j);
      const double p = v.weight(std::exp(scores[static_cast<std::size_t>(j)]) / total, m);
      for (std::int64_t e = 0; e < x.value_width; ++e) {
        const std::int64_t at = row * x.value_width + e;
        result.set(at, result.get(at) + p * in[2].get((keys + j) * x.value_width + e));
      }
    }
  }
  return {std::move(result), std::move(lse)};
}

// The last row of each example of a masked variant sees nothing.
void blind_last_row(const Variant& v, const Extents& x, std::vector<Tensor>& in, std::size_t more) {
  if (v.more.empty() || v.more[0] != DType::b1) return;
  for (std::int64_t n = 0; n < x.batch; ++n)
    for (std::int64_t j = 0; x.queries > 0 && j < x.keys; ++j)
      in[more].set_integer(((n + 1) * x.queries - 1) * x.keys + j, 0);
}

template <typename Check>
void for_each_case(const Check& check) {
  for (const Variant& v : variants)
    for (const Extents& x : extents) {
      INFO(v.name << ": " << x.batch << " " << x.queries << " " << x.keys << " " << x.width << " "
                  << x.value_width);
      check(v, x);
    }
}

}  // namespace

TEST_CASE("attention is its sums; rows that see nothing are 0") {
  for_each_case([](const Variant& v, const Extents& x) {
    const Graph graph = graph_of(v, x, false);
    std::vector<Tensor> inputs = drawn(graph, 5);
    blind_last_row(v, x, inputs, 3);
    const std::vector<Tensor> found = evaluate(graph, inputs);
    const auto [result, lse] = by_sums(v, x, inputs);
    REQUIRE(found[0].shape() == result.shape());
    REQUIRE(found[1].shape() == lse.shape());
    CHECK(relative_error(found[0], result) < 1e-14);
    for (std::int64_t i = 0; i < lse.size(); ++i)
      CHECK((found[1].get(i) == lse.get(i) || std::abs(found[1].get(i) - lse.get(i)) < 1e-14));
  });
}

TEST_CASE("attention_gradient agrees with differences of attention, and would notice 1 %") {
  for_each_case([](const Variant& v, const Extents& x) {
    const Graph forward = graph_of(v, x, false), backward = graph_of(v, x, true);
    std::vector<Tensor> inputs = drawn(forward, 6);
    blind_last_row(v, x, inputs, 3);
    const std::vector<Tensor> outputs = evaluate(forward, inputs);
    const Tensor dy = weights(outputs[0].shape(), 6);
    std::vector<Tensor> all(inputs.begin(), inputs.begin() + 3);
    all.insert(all.end(), {dy, outputs[0], outputs[1]});
    all.insert(all.end(), inputs.begin() + 3, inputs.end());
    const std::vector<Tensor> gradients = evaluate(backward, all);
    REQUIRE(gradients.size() == 3);
    for (std::size_t operand = 0; operand < 3; ++operand) {
      INFO("by operand " << operand);
      const Tensor expected = differences(inputs[operand], [&](const Tensor& moved) {
        std::vector<Tensor> at = inputs;
        at[operand] = moved;
        return dot(evaluate(forward, at)[0], dy);
      });
      CHECK(relative_error(gradients[operand], expected) < 1e-8);
      Tensor off = gradients[operand];
      for (std::int64_t i = 0; i < off.size(); ++i) off.set(i, off.get(i) * 1.01);
      if (largest(expected) > 1e-3) CHECK_FALSE(relative_error(off, expected) < 1e-8);
    }
  });
}

TEST_CASE("attention of shapes that do not fit is refused") {
  const Extents x{2, 3, 4, 2, 3};
  const Region good = region_of(variants[0], x, false);
  const auto code = [&](const Type& q, const Type& k, const Type& v, const Region& region) {
    Graph graph;
    Builder b(graph);
    try {
      b.add_node(Op::attention, {b.input("q", q), b.input("k", k), b.input("v", v)}, {}, {region});
    } catch (const UserError& error) {
      return error.diagnostics().at(0).code;
    }
    return std::string("none");
  };
  const Type q = matrix(x, 3, 2), k = matrix(x, 4, 2), v = matrix(x, 4, 3);
  CHECK(code(q, k, v, good) == "none");
  CHECK(code(matrix(x, 3, 3), k, v, good) == "T0331");
  CHECK(code(q, k, matrix(x, 5, 3), good) == "T0331");
  CHECK(code(q, matrix(x, 4, 2, DType::f32), v, good) == "T0331");
  CHECK(code(matrix(x, 2, 2), k, v, good) == "T0331");  // the region's domain has 3 queries
  CHECK(code(q, k, v, region_of(variants[0], x, true)) == "T0331");
  CHECK(code(q, k, v, region_of(variants[3], x, false)) == "T0331");  // and one operand more
}
