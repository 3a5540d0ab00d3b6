// Seconds of the steps that measured work is made of.
#pragma once
#include <map>
#include <span>
#include <string>

#include "ir/product_cost.h"

namespace treadle {

struct FitSample {
  std::map<std::string, double> counts;  // how often each step was taken
  double seconds = 0;                    // that it took all together
};

// The seconds, none below 0, whose sums have the least squares of relative
// errors. The same for the same samples.
StepSeconds fit_steps(std::span<const FitSample> samples);

}  // namespace treadle
