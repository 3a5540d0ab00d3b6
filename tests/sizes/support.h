// What the tests of sizes share: processors, samples, comparisons with bounds.
#pragma once
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/program.h"
#include "tests/catch.h"
#include "tests/sizes/running_error.h"

namespace treadle::test {

// Edge tiles and whole ones of every kernel are met up to here.
inline constexpr std::int64_t largest_size = 70;

template <typename T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

// Masks of the processor's features (backends/llvm/target.h) that make different
// code here: AVX-512 where it is, AVX2, SSE.
std::vector<std::string> feature_masks();

// The graph compiled by LLVM for each of them.
std::map<std::string, std::unique_ptr<Program>> programs_for_features(const Graph& graph);

// `rounds` times largest_size vectors, in each place of which each size stands
// equally often (a Latin hypercube).
std::vector<std::vector<std::int64_t>> size_sample(std::size_t places, int rounds,
                                                   std::uint64_t seed);

// Bounded numbers, row by row.
template <typename T>
class Grid {
 public:
  explicit Grid(Shape shape)
      : shape_(std::move(shape)), elements_(static_cast<std::size_t>(element_count(shape_))) {}
  // Exact: an input.
  explicit Grid(const Tensor& tensor) : Grid(tensor.shape()) {
    for (std::size_t i = 0; i < elements_.size(); ++i) elements_[i] = tensor.as<T>()[i];
  }
  template <typename... Index>
  Bounded<T>& operator()(Index... index) {
    return elements_[offset({index...})];
  }
  template <typename... Index>
  const Bounded<T>& operator()(Index... index) const {
    return elements_[offset({index...})];
  }
  const Shape& shape() const { return shape_; }
  Bounded<T>* begin() { return elements_.data(); }
  const std::vector<Bounded<T>>& elements() const { return elements_; }

 private:
  std::size_t offset(std::initializer_list<std::int64_t> index) const {
    std::int64_t at = 0;
    std::size_t axis = 0;
    for (const std::int64_t i : index) at = at * shape_[axis++] + i;
    return static_cast<std::size_t>(at);
  }
  Shape shape_;
  std::vector<Bounded<T>> elements_;
};

// |found - expected| as a share of its bound, at the worst element; infinite
// where something is no number.
template <typename T>
double worst_share(const Tensor& found, const Grid<T>& expected) {
  REQUIRE(found.shape() == expected.shape());
  const std::span<const T> values = found.as<T>();
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Bounded<T>& x = expected.elements()[i];
    const double off = std::abs(static_cast<double>(values[i]) - x.value);
    if (off <= worst * x.error) continue;
    worst = std::isnan(off) ? std::numeric_limits<double>::infinity() : off / x.error;
  }
  return worst;
}

template <typename T>
void require_within(const char* name, const Tensor& found, const Grid<T>& expected) {
  INFO(name);
  REQUIRE(worst_share(found, expected) <= 1);
}

// The same bits with two and with three threads as `alone`, with one.
void require_same_for_threads(Program& program, const std::vector<Tensor>& inputs,
                              const std::vector<Tensor>& alone);

}  // namespace treadle::test
