// A model that reads a window of a series and names the value that follows,
// run further into the future on its own predictions.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "driver/model_runner.h"
#include "frontend/elaborate.h"

namespace treadle {

// The series of a train block, in the units of its file.
struct Series {
  std::string column;          // its name or number
  std::vector<double> values;  // all rows
  std::int64_t window = 0;
  std::int64_t held_back = 0;  // index of the first row that training did not see
  std::string input;           // what the model reads: `window` values before a row
  ColumnSpec in, out;          // the scales of the input and of the target
};

// T0871 unless the data is a csv file with a window, the loss compares the
// model's result with one column, and the model reads the same column and
// nothing else.
Series read_series(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder);

// predictions[k - 1][row - first]: of `row`, made k steps before it; the window
// then holds k - 1 predictions behind known values. NaN where the series has
// too few rows before. T0872 unless the model has one number as its first
// result.
struct Forecast {
  std::int64_t first = 0;  // first row that is predicted
  std::vector<std::vector<double>> predictions;
};
Forecast forecast(ModelRunner& runner, const Graph& model, const Series& series, std::int64_t first,
                  std::int64_t steps);

// The root of the mean square error of the k-step predictions, and of the last
// known value in their place.
double root_mean_square_error(const Forecast& forecast, const Series& series, std::int64_t k);
double last_value_error(const Forecast& forecast, const Series& series, std::int64_t k);

}  // namespace treadle
