#include "driver/plot/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "driver/plot/scale.h"
#include "driver/plot/svg_parts.h"

namespace treadle {
namespace {

using svg_parts::document;
using svg_parts::line;
using svg_parts::number;
using svg_parts::text;
using svg_parts::text_width;

constexpr double chart_width = 760, chart_height = 360;
constexpr double left = 76, right = 24, title_height = 34, legend_line = 20, bottom = 52;
constexpr std::array<std::string_view, 7> colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                  "#e69f00", "#56b4e9", "#222222"};

std::string_view colour_of(std::size_t curve) { return colours[curve % colours.size()]; }

std::string stroke(std::string_view colour, Curve::Style style) {
  return fmt::format("stroke=\"{}\" stroke-width=\"1.8\"{}", colour,
                     style == Curve::Style::dashed ? " stroke-dasharray=\"6 4\"" : "");
}

class ChartDrawing {
 public:
  ChartDrawing(const Chart& chart, double top) : chart_(chart), top_(top) {
    place_legend();
    plot_top_ = top + title_height + legend_line * static_cast<double>(legend_lines_);
    plot_bottom_ = plot_top_ + chart_height;
    x_ = scale_of(chart.x, x_values(chart), chart.x.logarithmic ? 0.02 : 0.01);
    y_ = scale_of(chart.y, y_values(chart), 0.05);
  }

  double height() const { return plot_bottom_ + bottom - top_; }

  std::string draw(std::string_view clip) {
    std::string out =
        text(left, top_ + 22, "start", chart_.title, " font-size=\"16\" font-weight=\"bold\"");
    out += legend() + grid() + axis_labels();
    out += fmt::format(
        "<clipPath id=\"{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n"
        "<g clip-path=\"url(#{})\">\n",
        clip, number(left), number(plot_top_ - 1), number(chart_width - left - right),
        number(chart_height + 2), clip);
    for (std::size_t i = 0; i < chart_.curves.size(); ++i) out += band(i);
    // The first solid curve on top of the others; dashes and dots show on it.
    const auto solid = [&](std::size_t i) { return chart_.curves[i].style == Curve::Style::solid; };
    for (std::size_t i = chart_.curves.size(); i-- > 0;)
      if (solid(i)) out += curve(i);
    for (std::size_t i = 0; i < chart_.curves.size(); ++i)
      if (!solid(i)) out += curve(i);
    out += "</g>\n";
    for (const Rule& rule : chart_.rules) out += rule_line(rule);
    return out;
  }

 private:
  double place_x(double value) const {
    return left + x_.position(value) * (chart_width - left - right);
  }
  double place_y(double value) const { return plot_bottom_ - y_.position(value) * chart_height; }

  struct LegendEntry {
    std::size_t curve;
    double x;
    std::size_t row;
  };

  void place_legend() {
    double x = left;
    std::size_t row = 0;
    for (std::size_t i = 0; i < chart_.curves.size(); ++i) {
      if (chart_.curves[i].label.empty()) continue;
      const double width = 30 + text_width(chart_.curves[i].label) + 18;
      if (x > left && x + width > chart_width - right + 18) {
        x = left;
        ++row;
      }
      entries_.push_back({i, x, row});
      x += width;
    }
    legend_lines_ = entries_.empty() ? 0 : row + 1;
  }

  std::string legend() const {
    std::string out;
    for (const LegendEntry& entry : entries_) {
      const Curve& curve = chart_.curves[entry.curve];
      const double y = top_ + title_height + legend_line * static_cast<double>(entry.row) + 8;
      if (curve.style == Curve::Style::dots)
        out += dot(entry.x + 12, y - 4, colour_of(entry.curve));
      else
        out +=
            line(entry.x, y - 4, entry.x + 24, y - 4, stroke(colour_of(entry.curve), curve.style));
      out += text(entry.x + 30, y, "start", curve.label);
    }
    return out;
  }

  std::string grid() const {
    constexpr std::string_view faint = "stroke=\"#e4e4e4\"", dark = "stroke=\"#555\"";
    std::string out;
    for (const Tick& tick : ticks(y_, 6)) {
      out += line(left, place_y(tick.value), chart_width - right, place_y(tick.value), faint);
      out += text(left - 8, place_y(tick.value) + 4.5, "end", tick.label);
    }
    for (const Tick& tick : ticks(x_, 8)) {
      out += line(place_x(tick.value), plot_top_, place_x(tick.value), plot_bottom_, faint);
      out += line(place_x(tick.value), plot_bottom_, place_x(tick.value), plot_bottom_ + 5, dark);
      out += text(place_x(tick.value), plot_bottom_ + 20, "middle", tick.label);
    }
    out += line(left, plot_bottom_, chart_width - right, plot_bottom_, dark);
    out += line(left, plot_top_, left, plot_bottom_, dark);
    return out;
  }

  std::string axis_labels() const {
    const double middle = plot_top_ + chart_height / 2;
    std::string out =
        text((left + chart_width - right) / 2, plot_bottom_ + 42, "middle", chart_.x.label);
    out += text(18, middle, "middle", chart_.y.label,
                fmt::format(" transform=\"rotate(-90 18 {})\"", number(middle)));
    return out;
  }

  static std::string dot(double x, double y, std::string_view colour) {
    return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"2.4\" fill=\"{}\"/>\n", number(x),
                       number(y), colour);
  }

  // Values beyond the axis stay near it, so that no coordinate is huge.
  std::optional<std::pair<double, double>> place(double x, double y) const {
    const double px = place_x(x), py = place_y(y);
    if (std::isnan(px) || std::isnan(py) || std::isinf(px)) return std::nullopt;
    return std::pair{px, std::clamp(py, plot_top_ - chart_height, plot_bottom_ + chart_height)};
  }

  std::string band(std::size_t i) const {
    const Curve& c = chart_.curves[i];
    if (c.low.empty()) return {};
    std::string there, back;
    for (std::size_t k = 0; k < c.x.size(); ++k) {
      const auto low = place(c.x[k], c.low[k]), high = place(c.x[k], c.high[k]);
      if (!low || !high) continue;
      there += fmt::format("{}{},{}", there.empty() ? "" : " ", number(high->first),
                           number(high->second));
      back = fmt::format(" {},{}", number(low->first), number(low->second)) + back;
    }
    return fmt::format("<polygon points=\"{}{}\" fill=\"{}\" fill-opacity=\"0.16\"/>\n", there,
                       back, colour_of(i));
  }

  std::string curve(std::size_t i) const {
    const Curve& c = chart_.curves[i];
    std::string out, points;
    std::size_t count = 0;
    const auto finish = [&] {
      if (count == 1)  // a point between two gaps
        out += fmt::format("<path d=\"M{}h0\" fill=\"none\" stroke-linecap=\"round\" {}/>\n",
                           points, stroke(colour_of(i), Curve::Style::solid));
      else if (count > 1)
        out += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke-linejoin=\"round\" {}/>\n",
                           points, stroke(colour_of(i), c.style));
      points.clear();
      count = 0;
    };
    for (std::size_t k = 0; k < c.x.size(); ++k) {
      const auto at = place(c.x[k], c.y[k]);
      if (!at) {
        finish();
        continue;
      }
      if (c.style == Curve::Style::dots) {
        out += dot(at->first, at->second, colour_of(i));
        continue;
      }
      points +=
          fmt::format("{}{},{}", count == 0 ? "" : " ", number(at->first), number(at->second));
      ++count;
    }
    finish();
    return out;
  }

  std::string rule_line(const Rule& rule) const {
    constexpr std::string_view style = "stroke=\"#777\" stroke-dasharray=\"2 3\"";
    constexpr std::string_view grey = " fill=\"#666\" font-size=\"12\"";
    if (rule.direction == Rule::Direction::horizontal) {
      const double y = place_y(rule.at);
      return line(left, y, chart_width - right, y, style) +
             text(chart_width - right - 4, y - 5, "end", rule.label, grey);
    }
    const double x = place_x(rule.at);
    return line(x, plot_top_, x, plot_bottom_, style) +
           text(x + 5, plot_top_ + 13, "start", rule.label, grey);
  }

  const Chart& chart_;
  double top_, plot_top_ = 0, plot_bottom_ = 0;
  Scale x_, y_;
  std::vector<LegendEntry> entries_;
  std::size_t legend_lines_ = 0;
};

}  // namespace

std::string svg(std::span<const Chart> charts) {
  std::string content;
  double top = 8;
  for (std::size_t i = 0; i < charts.size(); ++i) {
    ChartDrawing drawing(charts[i], top);
    content += drawing.draw(fmt::format("plot{}", i));
    top += drawing.height() + 14;
  }
  return document(chart_width, top, content);
}

}  // namespace treadle
