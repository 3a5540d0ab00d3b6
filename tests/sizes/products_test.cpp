// Products of every size that an edge tile can have, against their definition.
#include <fmt/format.h>

#include <array>
#include <random>

#include "driver/compile.h"
#include "ir/builder.h"
#include "ir/eval/random_inputs.h"
#include "runtime/team.h"
#include "tests/sizes/support.h"
#include "tests/support/bfloat16.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

struct Form {
  const char* name;
  bool a_transposed = false, b_transposed = false, batched = false, tail = false;
};
const std::array<Form, 6> forms = {{{"a b"},
                                    {"a' b", true},
                                    {"a b'", false, true},
                                    {"a' b'", true, true},
                                    {"a batch of three", false, false, true},
                                    {"tanh(a b + bias)", false, false, false, true}}};

// c [M, N], or [3, M, N].
Graph product_graph(const Form& form, DType dtype) {
  Graph graph;
  Builder b(graph);
  const Dim m = Dim::symbol("M"), n = Dim::symbol("N"), k = Dim::symbol("K");
  const auto operand = [&](const char* name, Dim rows, Dim columns, bool transposed) {
    Dims dims = transposed ? Dims{columns, rows} : Dims{rows, columns};
    if (form.batched) dims.insert(dims.begin(), Dim(3));
    return b.input(name, {dtype, std::move(dims)});
  };
  const Value x = operand("a", m, k, form.a_transposed), y = operand("b", k, n, form.b_transposed);
  const Integers batch = form.batched ? Integers{0} : Integers{};
  const std::int64_t first = form.batched ? 1 : 0;
  Value c = b.matmul(x, y, {first + (form.a_transposed ? 0 : 1)},
                     {first + (form.b_transposed ? 1 : 0)}, batch, batch);
  if (form.tail) {
    const Value bias = b.input("bias", {dtype, {n}});
    c = b.tanh(b.add(c, b.broadcast(bias, {m, n}, {1})));
  }
  b.output("c", c);
  return graph;
}

struct Size {
  std::int64_t m, n, k;
};

// One dimension takes every size, the two others each of `others`.
std::vector<Size> swept_sizes(std::initializer_list<std::int64_t> others) {
  std::vector<Size> out;
  for (std::int64_t i = 1; i <= largest_size; ++i)
    for (const std::int64_t p : others)
      for (const std::int64_t q : others) out.insert(out.end(), {{i, p, q}, {p, i, q}, {p, q, i}});
  return out;
}

std::vector<Size> sampled_sizes(int rounds) {
  std::vector<Size> out;
  for (const auto& size : size_sample(3, rounds, 11)) out.push_back({size[0], size[1], size[2]});
  return out;
}

// The corner [m, k] of one matrix A and the corner [k, n] of one B are the
// operands of every size, so that the sums of all sizes are those of the
// largest, so far: of a(i, l) b(l, j) over l < k, and of the magnitudes.
template <typename T>
class Problem {
 public:
  using Rounding = double (*)(double);
  // Each element is drawn and rounded.
  explicit Problem(Rounding rounding = [](double x) { return x; })
      : a_(drawn(1, rounding)),
        b_(drawn(2, rounding)),
        bias_(drawn(3, rounding)),
        sums_(cube),
        magnitudes_(cube) {
    for (std::size_t l = 0; l < extent; ++l)
      for (std::size_t i = 0; i < extent; ++i)
        for (std::size_t j = 0; j < extent; ++j) {
          const double x =
              static_cast<double>(a_[i * extent + l]) * static_cast<double>(b_[l * extent + j]);
          const std::size_t to = at(l + 1, i, j), from = at(l, i, j);
          sums_[to] = sums_[from] + x;
          magnitudes_[to] = magnitudes_[from] + std::abs(x);
        }
  }

  std::vector<Tensor> inputs(const Form& form, const Size& s) const {
    const Scales ones{1};
    std::vector<Tensor> out{
        corner(a_, s.m, s.k, form.a_transposed, form.batched ? a_scales : ones),
        corner(b_, s.k, s.n, form.b_transposed, form.batched ? b_scales : ones)};
    if (!form.batched)
      for (Tensor& x : out) x = x.reshaped({x.shape()[1], x.shape()[2]});
    if (form.tail) out.push_back(corner(bias_, 1, s.n, false, ones).reshaped({s.n}));
    return out;
  }

  // What a form gives for a size; with a smaller `k`, what it would give without
  // the last terms.
  Grid<T> expected(const Form& form, const Size& s, std::int64_t k) const {
    const std::int64_t batch = form.batched ? 3 : 1;
    Grid<T> out(form.batched ? Shape{3, s.m, s.n} : Shape{s.m, s.n});
    Bounded<T>* to = out.begin();
    const double bound = gamma<T>(k);
    for (std::int64_t g = 0; g < batch; ++g) {
      const double scale = form.batched ? a_scales[static_cast<std::size_t>(g)] *
                                              b_scales[static_cast<std::size_t>(g)]
                                        : 1;
      for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t j = 0; j < s.n; ++j) {
          Bounded<T> sum = sum_of(i, j, k, bound);
          sum = {scale * sum.value, std::abs(scale) * sum.error};
          const Bounded<T> bias = static_cast<double>(bias_[static_cast<std::size_t>(j)]);
          *to++ = form.tail ? tanh(sum + bias) : sum;
        }
    }
    return out;
  }

 private:
  using Scales = std::vector<double>;
  static constexpr std::size_t extent = largest_size;
  static constexpr std::size_t cube = extent * extent * (extent + 1);

  static std::size_t at(std::size_t k, std::size_t i, std::size_t j) {
    return (k * extent + i) * extent + j;
  }
  static std::vector<T> drawn(std::uint64_t seed, Rounding rounding) {
    std::mt19937_64 engine(seed);
    std::vector<T> out(extent * extent);
    for (T& x : out) x = static_cast<T>(rounding(symmetric_uniform(engine)));
    return out;
  }
  Bounded<T> sum_of(std::int64_t i, std::int64_t j, std::int64_t k, double bound) const {
    const std::size_t here =
        at(static_cast<std::size_t>(k), static_cast<std::size_t>(i), static_cast<std::size_t>(j));
    return {sums_[here], bound * magnitudes_[here]};
  }
  // The corner of `matrix` times each of `scales`.
  static Tensor corner(const std::vector<T>& matrix, std::int64_t rows, std::int64_t columns,
                       bool transposed, const Scales& scales) {
    const auto count = static_cast<std::int64_t>(scales.size());
    Tensor out(dtype_of<T>, transposed ? Shape{count, columns, rows} : Shape{count, rows, columns});
    T* to = out.as<T>().data();
    for (const double scale : scales)
      for (std::int64_t i = 0; i < (transposed ? columns : rows); ++i)
        for (std::int64_t j = 0; j < (transposed ? rows : columns); ++j) {
          const std::int64_t from = transposed ? j * largest_size + i : i * largest_size + j;
          *to++ = static_cast<T>(scale) * matrix[static_cast<std::size_t>(from)];
        }
    return out;
  }

  // The three of a batch: exact multiples, no two of them alike.
  const Scales a_scales{1, -1, 1}, b_scales{1, 1, 2};
  std::vector<T> a_, b_, bias_;
  std::vector<double> sums_, magnitudes_;
};

std::string described(const Form& form, const Size& s) {
  return fmt::format("{}, [{}, {}] by [{}, {}]", form.name, s.m, s.k, s.k, s.n);
}

template <typename T>
void check_products(const Problem<T>& problem, const std::vector<Size>& sizes,
                    const std::vector<CompileOptions>& ways) {
  Team team(1);
  for (const Form& form : forms) {
    std::vector<std::unique_ptr<Program>> programs;
    for (const CompileOptions& way : ways)
      programs.push_back(compile(product_graph(form, dtype_of<T>), {}, way));
    for (const Size& s : sizes) {
      const std::vector<Tensor> inputs = problem.inputs(form, s);
      const Grid<T> expected = problem.expected(form, s, s.k);
      for (std::size_t i = 0; i < ways.size(); ++i) {
        const double share = worst_share(run_with(*programs[i], inputs, team)[0], expected);
        if (share <= 1) continue;
        FAIL(described(form, s) << ", " << ways[i].backend << ", features '" << ways[i].features
                                << "': " << share << " times the bound");
      }
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("products of every size are within their bound", "", float, double) {
  const Problem<TestType> problem;
  std::vector<CompileOptions> ways;
  for (const std::string& mask : feature_masks()) ways.push_back({"llvm", mask, {}});
  // A single row or column, parts of a vector, whole vectors, whole tiles, one
  // more, the most. The widest vectors meet them all, shorter ones a sample.
  const auto swept = dtype_of<TestType> == DType::f32 ? swept_sizes({1, 7, 8, 16, 33, 64, 70})
                                                      : swept_sizes({1, 7, 33, 64});
  check_products(problem, swept, {ways[0]});
  check_products(problem, sampled_sizes(4), ways);
}

// Of operands that are bfloat16, so that the sums alone round.
TEST_CASE("products of pairs of bfloat16 of every size are within the bound of f32") {
  const Problem<float> problem(nearest_bfloat16);
  std::vector<CompileOptions> ways;
  for (const std::string& mask : feature_masks()) {
    ways.push_back({"llvm", mask, {}});
    ways.back().bf16_products = ways.back().bf16_pairs = true;
  }
  check_products(problem, swept_sizes({1, 7, 16, 33}), {ways[0]});
  check_products(problem, sampled_sizes(2), ways);
  Team one(1);
  for (const Form& form : forms) {
    const auto program = compile(product_graph(form, DType::f32), {}, ways[0]);
    for (const Size& s : sampled_sizes(1)) {
      INFO(described(form, s));
      const std::vector<Tensor> inputs = problem.inputs(form, s);
      require_same_for_threads(*program, inputs, run_with(*program, inputs, one));
      CHECK(worst_share(run_with(*program, inputs, one)[0], problem.expected(form, s, s.k - 1)) >
            1);
    }
  }
}

TEST_CASE("oneDNN's products are within the same bound") {
  check_products(Problem<float>(), sampled_sizes(1), {{"onednn", {}, {}}});
}

TEMPLATE_TEST_CASE("products of any size have the same bits for 1, 2 and 3 threads", "", float,
                   double) {
  const Problem<TestType> problem;
  Team one(1);
  for (const Form& form : forms) {
    const auto program = compile(product_graph(form, dtype_of<TestType>), {}, {"llvm", {}, {}});
    for (const Size& s : sampled_sizes(1)) {
      INFO(described(form, s));
      const std::vector<Tensor> inputs = problem.inputs(form, s);
      require_same_for_threads(*program, inputs, run_with(*program, inputs, one));
    }
  }
}

TEMPLATE_TEST_CASE("a product without its last term is outside of the bound", "", float, double) {
  const Problem<TestType> problem;
  Team team(1);
  for (const Form& form : forms) {
    const auto program = compile(product_graph(form, dtype_of<TestType>), {}, {"llvm", {}, {}});
    for (const Size& s : sampled_sizes(1)) {
      INFO(described(form, s));
      const Tensor c = run_with(*program, problem.inputs(form, s), team)[0];
      CHECK(worst_share(c, problem.expected(form, s, s.k - 1)) > 1);
    }
  }
}
