#include "runtime/random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/initialise.h"
#include "runtime/shuffle.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("philox4x32-10: the known answers of Random123") {
  using Counter = std::array<std::uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
        Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
        Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("hashes: the published values of FNV-1a and splitmix64") {
  CHECK(hash_text("") == 0xcbf29ce484222325);
  CHECK(hash_text("a") == 0xaf63dc4c8601ec8c);
  CHECK(hash_text("foobar") == 0x85944171f73967e8);
  CHECK(mix(0, 0) == 0xe220a8397b1dcdaf);
  CHECK(mix(1, 2) != mix(2, 1));
}

TEST_CASE("uniform and normal draws have their moments") {
  const RandomStream random(7, "moments");
  const int n = 200'000;
  double sum = 0, square = 0, normal_sum = 0, normal_square = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform_at(static_cast<std::uint64_t>(i));
    REQUIRE((u >= 0 && u < 1));
    sum += u;
    square += u * u;
    const double z = random.normal_at(static_cast<std::uint64_t>(i));
    normal_sum += z;
    normal_square += z * z;
    fourth += z * z * z * z;
  }
  // Five standard errors each.
  CHECK(std::abs(sum / n - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(square / n - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  CHECK(std::abs(normal_sum / n) < 5 / std::sqrt(n));
  CHECK(std::abs(normal_square / n - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(fourth / n - 3) < 5 * std::sqrt(96.0 / n));
}

TEST_CASE("next_below is uniform and reaches every value") {
  RandomStream random(1, "below");
  std::array<int, 6> seen{};
  for (int i = 0; i < 60'000; ++i) ++seen[random.next_below(6)];
  for (const int count : seen) CHECK(std::abs(count - 10'000) < 5 * 92);
  CHECK(random.next_below(1) == 0);
}

TEST_CASE("a shuffle is a permutation, a function of seed and epoch") {
  std::vector<std::int64_t> order = permutation(1000, 3, 5);
  CHECK(order == permutation(1000, 3, 5));
  CHECK(order != permutation(1000, 3, 6));
  CHECK(order != permutation(1000, 4, 5));
  std::sort(order.begin(), order.end());
  std::vector<std::int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  CHECK(order == all);
  CHECK(permutation(0, 1, 1).empty());
  std::array<int, 6> seen{};  // of the six orders of three
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) {
    const auto p = permutation(3, 11, epoch);
    ++seen[static_cast<std::size_t>(p[0] * 2 + (p[1] > p[2] ? 1 : 0))];
  }
  for (const int count : seen) CHECK(std::abs(count - 1000) < 5 * 29);
}

namespace {

Tensor draw(Initialiser kind, Shape shape, double a = 0, double b = 0) {
  return initialise({kind, a, b}, std::move(shape), DType::f64, 42, "layer.W");
}

double deviation(const Tensor& x) {
  double square = 0;
  for (const double v : x.as<double>()) square += v * v;
  return std::sqrt(square / static_cast<double>(x.size()));
}

}  // namespace

TEST_CASE("initialisers: constants") {
  CHECK(same_bits(draw(Initialiser::zeros, {2}), tensor_of(DType::f64, {2}, {0, 0})));
  CHECK(same_bits(draw(Initialiser::ones, {2}), tensor_of(DType::f64, {2}, {1, 1})));
  CHECK(same_bits(draw(Initialiser::constant, {2}, 2.5), tensor_of(DType::f64, {2}, {2.5, 2.5})));
}

TEST_CASE("initialisers: ranges and deviations") {
  const Tensor uniform = draw(Initialiser::uniform, {1000}, -3, -1);
  for (const double v : uniform.as<double>()) REQUIRE((v >= -3 && v < -1));
  CHECK(deviation(draw(Initialiser::normal, {300, 300}, 0, 0.02)) == Approx(0.02).epsilon(0.01));
  const double bound = std::sqrt(6.0 / (100 + 400));
  const Tensor xavier = draw(Initialiser::xavier, {100, 400});
  for (const double v : xavier.as<double>()) REQUIRE(std::abs(v) <= bound);
  CHECK(deviation(xavier) == Approx(bound / std::sqrt(3.0)).epsilon(0.01));
  CHECK(deviation(draw(Initialiser::kaiming, {50, 800})) ==
        Approx(std::sqrt(2.0 / 50)).epsilon(0.02));
  CHECK(deviation(draw(Initialiser::kaiming, {5, 50, 160})) ==
        Approx(std::sqrt(2.0 / 250)).epsilon(0.02));
}

TEST_CASE("initialisers: orthogonal matrices, square, wide and tall") {
  for (const Shape& shape : {Shape{8, 8}, Shape{5, 20}, Shape{20, 5}, Shape{1, 3}}) {
    const Tensor q = draw(Initialiser::orthogonal, shape);
    const bool wide = shape[0] <= shape[1];
    const std::int64_t count = wide ? shape[0] : shape[1];
    const std::int64_t length = wide ? shape[1] : shape[0];
    const auto at = [&](std::int64_t i, std::int64_t k) {
      return wide ? q.get(i * shape[1] + k) : q.get(k * shape[1] + i);
    };
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t j = 0; j < count; ++j) {
        double dot = 0;
        for (std::int64_t k = 0; k < length; ++k) dot += at(i, k) * at(j, k);
        CHECK(std::abs(dot - (i == j ? 1.0 : 0.0)) < 1e-14);
      }
  }
  CHECK(draw(Initialiser::orthogonal, {0, 4}).size() == 0);
}

TEST_CASE("initialisers: a draw depends on seed and path, and on nothing else") {
  const InitialiserSpec spec{Initialiser::normal, 0, 1};
  const Tensor a = initialise(spec, {16}, DType::f32, 1, "a");
  CHECK(same_bits(a, initialise(spec, {16}, DType::f32, 1, "a")));
  CHECK_FALSE(same_bits(a, initialise(spec, {16}, DType::f32, 1, "b")));
  CHECK_FALSE(same_bits(a, initialise(spec, {16}, DType::f32, 2, "a")));
  CHECK(same_bits(a, initialise(spec, {16}, DType::f64, 1, "a").cast(DType::f32)));
}

TEST_CASE("initialisers: mistakes, and names") {
  for (const auto kind : {Initialiser::xavier, Initialiser::kaiming, Initialiser::orthogonal})
    CHECK(error_code([&] { draw(kind, {4}); }) == "T0981");
  CHECK(error_code([] { draw(Initialiser::uniform, {4}, 2, 1); }) == "T0982");
  CHECK(error_code([] { draw(Initialiser::normal, {4}, 0, -1); }) == "T0982");
  CHECK(error_code([] { draw(Initialiser::constant, {4}, NAN); }) == "T0982");
  for (int i = 0; i <= static_cast<int>(Initialiser::orthogonal); ++i) {
    const auto kind = static_cast<Initialiser>(i);
    CHECK(initialiser_from_string(to_string(kind)) == kind);
  }
  CHECK_FALSE(initialiser_from_string("zero").has_value());
  CHECK(argument_count(Initialiser::normal) == 2);
}
