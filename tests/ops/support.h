// Cases that are derived from the op records: each probe of each op.
#pragma once
#include <string>
#include <vector>

#include "ir/builder.h"
#include "ir/eval/evaluate.h"

namespace treadle::test {

struct Case {
  Op op = Op::constant;
  std::size_t number = 0;  // of the probe
  Probe probe;             // f32 widened to f64
  std::string name() const;
};

// All probes of all ops outside the control and fused families.
std::vector<Case> all_cases();
bool is_float_operand(const Case& c, std::size_t i);

// Elements of [low, high], none closer than 0.01 to a whole number (where
// floor, relu and their like have no derivative).
Tensor draw(const ProbeOperand& operand, std::uint64_t seed, Shape leading = {});
std::vector<Tensor> draw_operands(const Case& c, std::uint64_t seed);
// Different weights for different elements, none of them small.
Tensor weights(const Shape& shape, std::uint64_t seed);

// Inputs x0, x1, ...; outputs y0, y1, ...
Graph case_graph(const Case& c);
// The same with the scalar output "loss": sum of weights * y over all float
// outputs.
Graph loss_graph(const Case& c);

std::vector<std::string> float_inputs(const Case& c);  // names
double largest(const Tensor& t);                       // magnitude
double dot(const Tensor& a, const Tensor& b);

// df/dx element by element, by central differences of fourth order.
template <typename Function>
Tensor differences(Tensor x, Function&& function) {
  constexpr double step = 1e-3;
  Tensor out(DType::f64, x.shape());
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const double middle = x.get(i);
    const auto at = [&](double offset) {
      x.set(i, middle + offset * step);
      return function(x);
    };
    out.set(i, (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step));
    x.set(i, middle);
  }
  return out;
}

// Largest difference relative to the largest entry of `expected` (at least 1).
double relative_error(const Tensor& found, const Tensor& expected);

}  // namespace treadle::test
