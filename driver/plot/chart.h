// Charts as data. How they are drawn, as SVG or as text for a terminal, depends
// on nothing else: the same chart is the same bytes.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace treadle {

struct Axis {
  std::string label;
  // On a logarithmic axis what is not above 0 lies on the lower edge.
  bool logarithmic = false;
  std::optional<double> low, high;  // else the data's, with some room
};

// Points (x[i], y[i]), joined in order; one that is not finite leaves a gap.
struct Curve {
  enum class Style { solid, dashed, dots };
  std::string label;  // empty: not in the legend
  std::vector<double> x, y;
  Style style = Style::solid;
  std::vector<double> low, high;  // a band around the curve; none when empty
};

// A thin line across the chart.
struct Rule {
  enum class Direction { vertical, horizontal };
  Direction direction = Direction::horizontal;
  double at = 0;
  std::string label;
};

struct Chart {
  std::string title;
  Axis x, y;
  std::vector<Curve> curves;
  std::vector<Rule> rules;
};

// values[r * columns.size() + c], row 0 on top. Colours run from `low` to
// `high`, by default from the least value to the largest.
struct HeatMap {
  std::string title, x_label, y_label;
  std::vector<std::string> rows, columns;
  std::vector<double> values;
  std::optional<double> low, high;
  std::vector<std::string> notes;  // beside each row, in the terminal; none when empty
};

// Maps that belong together, as the heads of one attention do.
struct HeatMapGroup {
  std::string title;
  std::vector<HeatMap> maps;
};

}  // namespace treadle
