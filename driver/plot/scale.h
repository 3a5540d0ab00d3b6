// From values to places on an axis, and the ticks between.
#pragma once
#include <string>
#include <vector>

#include "driver/plot/chart.h"

namespace treadle {

struct Scale {
  double low = 0, high = 1;  // low < high; both above 0 when logarithmic
  bool logarithmic = false;
  // 0 at low, 1 at high, beyond them outside; the lower edge for what a
  // logarithmic scale cannot show. Not finite when the value is not.
  double position(double value) const;
};

// Covers the finite values (on a logarithmic axis: those above 0), or the
// bounds that the axis names. `room` is the share left free on both sides.
Scale scale_of(const Axis& axis, const std::vector<double>& values, double room);

struct Tick {
  double value = 0;
  std::string label;
};
// At most about `wanted` round values within the scale: multiples of 1, 2 or 5
// times a power of ten; powers of ten on a logarithmic scale of two or more.
std::vector<Tick> ticks(const Scale& scale, int wanted);

// "0.5", "−3", "2000", "10⁻⁷": as an axis shows it.
std::string tick_label(double value, double step);
std::string power_of_ten(int exponent);

// All x or y of a chart's curves, bands and rules.
std::vector<double> x_values(const Chart& chart);
std::vector<double> y_values(const Chart& chart);

}  // namespace treadle
