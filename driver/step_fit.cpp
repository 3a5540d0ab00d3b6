#include "driver/step_fit.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace treadle {

// Coordinate descent on the normal equations, whose columns are scaled to
// length 1 [Franc, Hlavac and Navara 2005, sequential coordinate-wise
// algorithm for non-negative least squares].
StepSeconds fit_steps(std::span<const FitSample> samples) {
  StepSeconds lengths;
  for (const FitSample& sample : samples)
    for (const auto& [step, count] : sample.counts)
      lengths[step] += std::pow(count / sample.seconds, 2);
  std::vector<std::string> steps;
  for (auto& [step, length] : lengths) {
    length = std::sqrt(length);
    if (length > 0) steps.push_back(step);
  }
  const std::size_t n = steps.size();
  std::vector<double> products(n * n), targets(n), x(n), gradient(n);
  for (const FitSample& sample : samples) {
    std::vector<double> row(n);
    for (std::size_t i = 0; i < n; ++i)
      if (const auto found = sample.counts.find(steps[i]); found != sample.counts.end())
        row[i] = found->second / sample.seconds / lengths[steps[i]];
    for (std::size_t i = 0; i < n; ++i) {
      targets[i] += row[i];
      for (std::size_t j = 0; j < n; ++j) products[i * n + j] += row[i] * row[j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) gradient[i] = -targets[i];
  for (int turn = 0; turn < 20000; ++turn) {
    double moved = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double next = std::max(0.0, x[i] - gradient[i] / products[i * n + i]);
      const double change = next - x[i];
      if (change == 0) continue;
      x[i] = next;
      moved = std::max(moved, std::abs(change));
      for (std::size_t j = 0; j < n; ++j) gradient[j] += change * products[i * n + j];
    }
    if (moved < 1e-12) break;
  }
  StepSeconds out;
  for (std::size_t i = 0; i < n; ++i) out[steps[i]] = x[i] / lengths[steps[i]];
  return out;
}

}  // namespace treadle
