// Attention in tiles and its gradient, of every size of queries, keys and
// vectors, against its definition in plain loops.
#include <fmt/format.h>

#include <functional>

#include "driver/compile.h"
#include "passes/differentiate.h"
#include "runtime/team.h"
#include "tests/sizes/support.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr std::int64_t heads = 2;

struct Mask {
  const char* name;
  const char* argument;
  bool (*seen)(std::int64_t query, std::int64_t key);
};
const std::array<Mask, 3> masks = {
    {{"no mask", "", [](std::int64_t, std::int64_t) { return true; }},
     {"causal", ", mask: causal_mask[T, S]()",
      [](std::int64_t query, std::int64_t key) { return key <= query; }},
     {"window", ", mask: window_mask[3, T, S]()",
      [](std::int64_t query, std::int64_t key) { return std::abs(query - key) < 3; }}}};

Graph attention_graph(const Mask& mask, DType dtype) {
  const std::string text = fmt::format(
      "model M(q: real[{0}, T, D], k: real[{0}, S, D], v: real[{0}, S, E], dy: real[{0}, T, E]) "
      "{{\n"
      "  y = attention(q, k, v{1})\n"
      "  return y: y, loss: sum(y * dy)\n"
      "}}\n",
      heads, mask.argument);
  DifferentiateOptions options;
  options.wrt = {"q", "k", "v"};
  return differentiate(program(text, dtype).model("M", Mode::eval), options);
}

// Softmax of q kᵀ / sqrt(D) times v, a row that sees nothing giving zeros, and
// the gradients by way of the logarithm of each row's sum, as in
// FlashAttention-2 [Dao 2023].
template <typename T>
class Reference {
 public:
  Reference(const Mask& mask, const std::vector<Tensor>& inputs)
      : mask_(mask),
        q_(inputs[0]),
        k_(inputs[1]),
        v_(inputs[2]),
        dy_(inputs[3]),
        queries_(q_.shape()[1]),
        keys_(k_.shape()[1]),
        width_(q_.shape()[2]),
        value_width_(v_.shape()[2]),
        scale_(Number(1) / sqrt(Number(static_cast<double>(width_)))),
        p_({queries_, keys_}),
        d_scores_({queries_, keys_}),
        y_(dy_.shape()),
        loss_(Shape{}),
        dq_(q_.shape()),
        dk_(k_.shape()),
        dv_(v_.shape()) {
    for (std::int64_t n = 0; n < heads; ++n) {
      for (std::int64_t t = 0; t < queries_; ++t) row(n, t);
      gradients(n);
    }
    loss_() = total_.result();
  }

  // In the order of the graph's outputs.
  std::array<const Grid<T>*, 5> results() const { return {&y_, &loss_, &dq_, &dk_, &dv_}; }

 private:
  using Number = Bounded<T>;

  template <typename Term>
  static Number sum(std::int64_t count, const Term& term) {
    Sum<T> sum;
    for (std::int64_t i = 0; i < count; ++i) term(sum, i);
    return sum.result();
  }

  // Tiles are at least 64 keys wide: at most two tiles. Behind each, what was
  // summed is scaled by exp of the difference of two scores.
  static Number rescaled(const Number& weight, double range) {
    return weight.rounded(2 * (function_error<T> + (1 + range) * unit_roundoff<T>));
  }

  void row(std::int64_t n, std::int64_t t) {
    std::vector<Number> scores, weights;
    std::vector<std::int64_t> seen;
    double top = -INFINITY, bottom = INFINITY;
    for (std::int64_t s = 0; s < keys_; ++s) {
      if (!mask_.seen(t, s)) continue;
      seen.push_back(s);
      scores.push_back(
          sum(width_, [&](auto& x, std::int64_t d) { x.add(q_(n, t, d), k_(n, s, d)); }) * scale_);
      top = std::max(top, scores.back().value);
      bottom = std::min(bottom, scores.back().value);
    }
    if (seen.empty()) return;
    const auto count = static_cast<std::int64_t>(seen.size());
    // Which number is taken off the scores does not matter: it is the same above
    // and below the line.
    for (const Number& score : scores)
      weights.push_back(rescaled(exp(score - Number(top)), top - bottom));
    const auto key = [&](std::int64_t i) { return seen[static_cast<std::size_t>(i)]; };
    const auto weight = [&](std::int64_t i) { return weights[static_cast<std::size_t>(i)]; };
    const Number total = sum(count, [&](auto& x, std::int64_t i) { x.add(weight(i)); });
    for (std::int64_t e = 0; e < value_width_; ++e) {
      const Number above =
          sum(count, [&](auto& x, std::int64_t i) { x.add(weight(i), v_(n, key(i), e)); });
      y_(n, t, e) = (above / total).rounded();
      total_.add(y_(n, t, e) * dy_(n, t, e));
    }
    const Number lse = Number(top) + log(total);
    const Number inner =
        sum(value_width_, [&](auto& x, std::int64_t e) { x.add(y_(n, t, e), dy_(n, t, e)); });
    for (std::int64_t i = 0; i < count; ++i) {
      const Number p = exp(scores[static_cast<std::size_t>(i)] - lse);
      const Number d_weight = sum(
          value_width_, [&](auto& x, std::int64_t e) { x.add(dy_(n, t, e), v_(n, key(i), e)); });
      p_(t, key(i)) = p;
      d_scores_(t, key(i)) = p * (d_weight - inner) * scale_;
    }
  }

  void gradients(std::int64_t n) {
    for (std::int64_t t = 0; t < queries_; ++t)
      for (std::int64_t d = 0; d < width_; ++d)
        dq_(n, t, d) =
            sum(keys_, [&](auto& x, std::int64_t s) { x.add(d_scores_(t, s), k_(n, s, d)); });
    for (std::int64_t s = 0; s < keys_; ++s) {
      for (std::int64_t d = 0; d < width_; ++d)
        dk_(n, s, d) =
            sum(queries_, [&](auto& x, std::int64_t t) { x.add(d_scores_(t, s), q_(n, t, d)); });
      for (std::int64_t e = 0; e < value_width_; ++e)
        dv_(n, s, e) =
            sum(queries_, [&](auto& x, std::int64_t t) { x.add(p_(t, s), dy_(n, t, e)); });
    }
  }

  const Mask& mask_;
  Grid<T> q_, k_, v_, dy_;
  std::int64_t queries_, keys_, width_, value_width_;
  Number scale_;
  Grid<T> p_, d_scores_;  // of one head; 0 where nothing is seen
  Grid<T> y_, loss_, dq_, dk_, dv_;
  Sum<T> total_;
};

template <typename T>
double share_of_bounds(const std::vector<Tensor>& found, const Reference<T>& reference) {
  double worst = 0;
  std::size_t i = 0;
  for (const Grid<T>* grid : reference.results())
    worst = std::max(worst, worst_share(found.at(i++), *grid));
  REQUIRE(i == found.size());
  return worst;
}

std::vector<DimEnv> attention_sizes(std::uint64_t seed) {
  std::vector<DimEnv> out;
  for (const auto& s : size_sample(4, 1, seed))
    out.push_back({{"T", s[0]}, {"S", s[1]}, {"D", s[2]}, {"E", s[3]}});
  return out;
}

std::string described(const DimEnv& env) {
  return fmt::format("T = {}, S = {}, D = {}, E = {}", env.at("T"), env.at("S"), env.at("D"),
                     env.at("E"));
}

}  // namespace

TEMPLATE_TEST_CASE("attention of every size and its gradient are within their bounds", "", float,
                   double) {
  Team team(1);
  for (const Mask& mask : masks) {
    const Graph graph = attention_graph(mask, dtype_of<TestType>);
    REQUIRE(count_ops(lower(graph), Op::attention_gradient) == 1);
    const auto programs = programs_for_features(graph);
    for (const DimEnv& env : attention_sizes(1)) {
      const std::vector<Tensor> inputs = inputs_for(graph, env);
      const Reference<TestType> reference(mask, inputs);
      for (const auto& [features, program] : programs) {
        INFO(mask.name << ", " << described(env) << ", features '" << features << "'");
        REQUIRE(share_of_bounds(run_with(*program, inputs, team), reference) <= 1);
      }
    }
  }
}

TEMPLATE_TEST_CASE("attention of any size has the same bits for 1, 2 and 3 threads", "", float,
                   double) {
  Team one(1);
  for (const Mask& mask : masks) {
    const Graph graph = attention_graph(mask, dtype_of<TestType>);
    const auto program = compile(graph, {}, {"llvm", {}, {}});
    std::size_t turn = 0;
    for (const DimEnv& env : attention_sizes(9)) {
      if (turn++ % 2 != 0) continue;
      INFO(mask.name << ", " << described(env));
      const std::vector<Tensor> inputs = inputs_for(graph, env);
      require_same_for_threads(*program, inputs, run_with(*program, inputs, one));
    }
  }
}

TEMPLATE_TEST_CASE("attention without a number of its operands is outside of the bounds", "", float,
                   double) {
  Team team(1);
  const Mask& mask = masks[0];
  const Graph graph = attention_graph(mask, dtype_of<TestType>);
  const auto program = compile(graph, {}, {"llvm", {}, {}});
  std::size_t turn = 0;
  for (const DimEnv& env : attention_sizes(5)) {
    if (turn++ % 5 != 0) continue;
    INFO(described(env));
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const std::vector<Tensor> found = run_with(*program, inputs, team);
    for (std::size_t operand = 0; operand < inputs.size(); ++operand) {
      // One key's weight is 1, whatever its score.
      if (operand < 2 && env.at("S") == 1) continue;
      std::vector<Tensor> changed = inputs;
      changed[operand].set(changed[operand].size() - 1, 0);
      CHECK(share_of_bounds(found, Reference<TestType>(mask, changed)) > 1);
    }
  }
}
