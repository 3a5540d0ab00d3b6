// Training the same model in several sizes, on several draws of the data.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "driver/options.h"
#include "ir/dtype.h"

namespace treadle {

struct SweepOptions {
  std::string file, model;     // of the train and eval block; empty: the first
  std::filesystem::path data;  // the folder of the data files
  std::string dim;             // which `dim` takes
  std::vector<std::int64_t> values;
  std::int64_t seeds = 10;  // runs of each: the block's seed + 1, + 2, ...
  LanguageOptions language;
  MachineOptions machine;
};

// What came of one value of the dim.
struct SweepPoint {
  std::int64_t value = 0;
  std::int64_t parameters = 0;     // how many numbers are trained
  std::vector<double> training;    // loss after training, on the data trained on, of each seed
  std::vector<double> evaluation;  // on the eval block's data, the same for all
  // Of the predictions p_s(x) of the runs s on the eval block's examples (Geman,
  // Bienenstock and Doursat 1992):
  //   bias²    = mean over x of (mean over s of p_s(x) - target(x))²
  //   variance = mean over x of the variance over s of p_s(x)
  // For the squared error their sum is the mean of `evaluation`.
  double bias_squared = 0, variance = 0;
};

// T0840 without a train block, T0850 without an eval block, T0875 when the file
// has no such dim, T0876 when the model's first result or the target is not one
// number. `done` is told of each point as it comes.
std::vector<SweepPoint> sweep(const SweepOptions& options,
                              const std::function<void(const SweepPoint&)>& done);

}  // namespace treadle
