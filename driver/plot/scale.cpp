#include "driver/plot/scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace treadle {

double Scale::position(double value) const {
  if (!logarithmic) return (value - low) / (high - low);
  if (std::isnan(value)) return value;
  if (value <= 0) return 0;
  return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
}

Scale scale_of(const Axis& axis, const std::vector<double>& values, double room) {
  Scale out;
  out.logarithmic = axis.logarithmic;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double value : values) {
    if (!std::isfinite(value) || (axis.logarithmic && value <= 0)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) low = high = 1;
  if (axis.logarithmic) {
    if (low == high) low /= 10, high *= 10;
    const double margin = std::pow(high / low, room);
    out.low = axis.low.value_or(low / margin);
    out.high = axis.high.value_or(high * margin);
    return out;
  }
  if (low == high) {
    const double half = low == 0 ? 1 : std::abs(low) / 2;
    low -= half, high += half;
  }
  const double margin = (high - low) * room;
  out.low = axis.low.value_or(low - margin);
  out.high = axis.high.value_or(high + margin);
  return out;
}

std::string power_of_ten(int exponent) {
  constexpr std::array<std::string_view, 10> digits{"⁰", "¹", "²", "³", "⁴",
                                                    "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = exponent < 0 ? "10⁻" : "10";
  for (const char c : std::to_string(std::abs(exponent)))
    out += digits[static_cast<std::size_t>(c - '0')];
  return out;
}

std::string tick_label(double value, double step) {
  if (std::abs(value) < std::abs(step) / 1e6) return "0";
  std::string out;
  if (std::abs(value) >= 1e6 || std::abs(step) < 1e-4) {
    out = fmt::format("{:.4g}", value);
  } else {
    const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
    out = fmt::format("{:.{}f}", value, decimals);
  }
  for (std::size_t at = out.find('-'); at != std::string::npos; at = out.find('-', at))
    out.replace(at, 1, "−");
  return out;
}

namespace {

// The step of Heckbert 1990 ("Nice numbers for graph labels").
double round_step(double range, int wanted) {
  const double rough = range / std::max(1, wanted);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double fraction = rough / power;
  if (fraction <= 1.0001) return power;
  if (fraction <= 2.0001) return 2 * power;
  if (fraction <= 5.0001) return 5 * power;
  return 10 * power;
}

std::vector<Tick> logarithmic_ticks(const Scale& scale, int wanted) {
  std::vector<Tick> out;
  const int first = static_cast<int>(std::ceil(std::log10(scale.low) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(scale.high) + 1e-9));
  const bool plain = first >= -3 && last <= 4;
  const auto label = [&](double value, int exponent) {
    return plain ? tick_label(value, std::pow(10, exponent)) : power_of_ten(exponent);
  };
  if (last - first >= 1) {
    const int stride = std::max(1, (last - first + wanted) / std::max(1, wanted));
    const int start = static_cast<int>(std::ceil(static_cast<double>(first) / stride)) * stride;
    for (int e = start; e <= last; e += stride)
      out.push_back({std::pow(10, e), label(std::pow(10, e), e)});
    return out;
  }
  for (int e = first - 1; e <= last + 1; ++e)
    for (const int digit : {1, 2, 5}) {
      const double value = digit * std::pow(10, e);
      if (value < scale.low * (1 - 1e-9) || value > scale.high * (1 + 1e-9)) continue;
      const bool short_form = e >= -3 && e <= 4;
      out.push_back({value, short_form ? tick_label(value, std::pow(10, e))
                                       : fmt::format("{}·{}", digit, power_of_ten(e))});
    }
  return out;
}

}  // namespace

std::vector<Tick> ticks(const Scale& scale, int wanted) {
  if (scale.logarithmic) return logarithmic_ticks(scale, wanted);
  const double step = round_step(scale.high - scale.low, wanted);
  std::vector<Tick> out;
  const double first = std::ceil(scale.low / step - 1e-9);
  for (int i = 0; i < 1000; ++i) {
    const double value = (first + i) * step;
    if (value > scale.high + step * 1e-9) break;
    out.push_back({value, tick_label(value, step)});
  }
  return out;
}

std::vector<double> x_values(const Chart& chart) {
  std::vector<double> out;
  for (const Curve& curve : chart.curves) out.insert(out.end(), curve.x.begin(), curve.x.end());
  for (const Rule& rule : chart.rules)
    if (rule.direction == Rule::Direction::vertical) out.push_back(rule.at);
  return out;
}

std::vector<double> y_values(const Chart& chart) {
  std::vector<double> out;
  for (const Curve& curve : chart.curves)
    for (const auto* values : {&curve.y, &curve.low, &curve.high})
      out.insert(out.end(), values->begin(), values->end());
  for (const Rule& rule : chart.rules)
    if (rule.direction == Rule::Direction::horizontal) out.push_back(rule.at);
  return out;
}

}  // namespace treadle
