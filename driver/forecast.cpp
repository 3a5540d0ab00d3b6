#include "driver/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "driver/data_fields.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

double from_file_units(double value, const ColumnSpec& column) {
  return value * column.scale + column.shift;
}
double to_file_units(double value, const ColumnSpec& column) {
  return (value - column.shift) / column.scale;
}

[[noreturn]] void no_series(const TrainSpec& spec, std::string reason) {
  throw_user_error("T0871", fmt::format("'{}' does not predict a series: {}", spec.model, reason),
                   "data csv(\"series.csv\"), window 9, x: column(2), target: column(2)",
                   spec.data.range);
}

template <typename Use>
double error_of(const Forecast& forecast, const Series& series, std::int64_t k, Use use) {
  double sum = 0, count = 0;
  const std::vector<double>& made = forecast.predictions.at(static_cast<std::size_t>(k - 1));
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (!std::isfinite(made[i])) continue;
    const std::size_t row = static_cast<std::size_t>(forecast.first) + i;
    const double off = use(i, row) - series.values[row];
    sum += off * off;
    ++count;
  }
  return std::sqrt(sum / count);
}

}  // namespace

Series read_series(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder) {
  Series out;
  if (spec.data.kind != "csv") no_series(spec, fmt::format("its data is {}", spec.data.kind));
  out.window = spec.data.integer("window", 0);
  if (out.window < 1) no_series(spec, "its data has no window");
  std::string target;
  for (const NodeId id : loss.inputs()) {
    const Node& node = loss.node(id);
    if (!is_data_input(node)) continue;
    const std::string name = node.attributes.string("name");
    const auto column = spec.data.columns.find(name);
    if (column == spec.data.columns.end() || !column->second.is_single)
      no_series(spec, fmt::format("'{}' is not column(...)", name));
    std::string& place = node.types[0].rank() == 0 ? target : out.input;
    if (!place.empty()) no_series(spec, fmt::format("it reads '{}' and '{}'", place, name));
    place = name;
    (node.types[0].rank() == 0 ? out.out : out.in) = column->second;
  }
  if (out.input.empty()) no_series(spec, "it reads no window");
  if (target.empty()) no_series(spec, "its loss has no target");
  if (out.in.columns != out.out.columns)
    no_series(spec, fmt::format("it reads the column '{}' and predicts '{}'", out.in.columns[0],
                                out.out.columns[0]));
  out.column = out.in.columns[0];
  const NamedFields fields = read_fields(spec.data, loss, folder, 0);
  const Tensor &windows = fields.at(out.input), &targets = fields.at(target);
  for (std::int64_t i = 0; i < out.window; ++i)
    out.values.push_back(to_file_units(windows.get(i), out.in));
  for (std::int64_t i = 0; i < targets.size(); ++i)
    out.values.push_back(to_file_units(targets.get(i), out.out));
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(targets.size())));
  out.held_back = static_cast<std::int64_t>(out.values.size()) - held;
  return out;
}

Forecast forecast(ModelRunner& runner, const Graph& model, const Series& series, std::int64_t first,
                  std::int64_t steps) {
  const Output& result = model.outputs().at(0);
  if (model.type(result.value).count() != Dim(1))
    throw_user_error("T0872",
                     fmt::format("the model's first result is {}: one number is predicted",
                                 to_string(model.type(result.value))),
                     "return answer: ..., a number");
  const DType dtype = model.type(model.input(series.input)).dtype;
  const auto rows = static_cast<std::int64_t>(series.values.size());
  Forecast out;
  out.first = std::max(first, series.window);
  out.predictions.assign(static_cast<std::size_t>(steps),
                         std::vector<double>(static_cast<std::size_t>(rows - out.first),
                                             std::numeric_limits<double>::quiet_NaN()));
  // Example i predicts the rows start + i, start + i + 1, ...
  const std::int64_t start = std::max(series.window, out.first - steps + 1);
  const std::int64_t examples = rows - start;
  Tensor windows(dtype, {examples, series.window});
  const auto known = [&](std::int64_t row) {
    return from_file_units(series.values[static_cast<std::size_t>(row)], series.in);
  };
  for (std::int64_t i = 0; i < examples; ++i)
    for (std::int64_t j = 0; j < series.window; ++j)
      windows.set(i * series.window + j, known(start + i - series.window + j));
  for (std::int64_t k = 0; k < steps; ++k) {
    const Tensor next = runner.run({{series.input, windows}}, examples).at(result.name);
    for (std::int64_t i = 0; i < examples; ++i) {
      const double value = to_file_units(next.get(i), series.out);
      const std::int64_t row = start + i + k;
      if (row >= out.first && row < rows)
        out.predictions[static_cast<std::size_t>(k)][static_cast<std::size_t>(row - out.first)] =
            value;
      for (std::int64_t j = 0; j + 1 < series.window; ++j)
        windows.set(i * series.window + j, windows.get(i * series.window + j + 1));
      windows.set((i + 1) * series.window - 1, from_file_units(value, series.in));
    }
  }
  return out;
}

double root_mean_square_error(const Forecast& forecast, const Series& series, std::int64_t k) {
  return error_of(forecast, series, k, [&](std::size_t i, std::size_t) {
    return forecast.predictions[static_cast<std::size_t>(k - 1)][i];
  });
}

double last_value_error(const Forecast& forecast, const Series& series, std::int64_t k) {
  return error_of(forecast, series, k, [&](std::size_t, std::size_t row) {
    return series.values[row - static_cast<std::size_t>(k)];
  });
}

}  // namespace treadle
