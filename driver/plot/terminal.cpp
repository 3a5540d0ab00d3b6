#include "driver/plot/terminal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "driver/plot/scale.h"

namespace treadle {
namespace {

constexpr std::array<int, 7> ansi{34, 31, 32, 35, 33, 36, 37};

// The places that a text takes; Chinese, Japanese and Korean characters take two.
std::size_t characters(std::string_view text) {
  std::size_t out = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80) out += byte >= 0xE3 && byte <= 0xED ? 2 : 1;
  }
  return out;
}

std::string padded_left(std::string_view text, std::size_t width) {
  const std::size_t own = characters(text);
  return std::string(width > own ? width - own : 0, ' ') + std::string(text);
}

std::string braille(std::uint8_t dots) {  // U+2800 + dots
  return {static_cast<char>(0xE2), static_cast<char>(0xA0 | (dots >> 6)),
          static_cast<char>(0x80 | (dots & 0x3F))};
}

// Cells of two by four dots.
class Canvas {
 public:
  Canvas(int columns, int rows)
      : columns_(columns),
        rows_(rows),
        dots_(static_cast<std::size_t>(columns * rows)),
        owner_(dots_.size(), -1) {}

  int width() const { return columns_ * 2; }
  int height() const { return rows_ * 4; }

  void set(int x, int y, int curve) {
    if (x < 0 || y < 0 || x >= width() || y >= height()) return;
    constexpr std::array<std::array<std::uint8_t, 2>, 4> bit{
        {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}};
    const auto cell = static_cast<std::size_t>((y / 4) * columns_ + x / 2);
    dots_[cell] |= bit[static_cast<std::size_t>(y % 4)][static_cast<std::size_t>(x % 2)];
    if (curve >= 0) owner_[cell] = curve;
  }

  void line(double x1, double y1, double x2, double y2, int curve) {
    const int steps =
        1 + static_cast<int>(std::ceil(std::max(std::abs(x2 - x1), std::abs(y2 - y1))));
    for (int i = 0; i <= steps; ++i) {
      const double t = static_cast<double>(i) / steps;
      set(static_cast<int>(std::lround(x1 + (x2 - x1) * t)),
          static_cast<int>(std::lround(y1 + (y2 - y1) * t)), curve);
    }
  }

  std::string row(int r, bool colour) const {
    std::string out;
    for (int c = 0; c < columns_; ++c) {
      const auto cell = static_cast<std::size_t>(r * columns_ + c);
      const std::string glyph = dots_[cell] == 0 ? " " : braille(dots_[cell]);
      if (colour && owner_[cell] >= 0)
        out += fmt::format("\x1b[{}m{}\x1b[0m",
                           ansi[static_cast<std::size_t>(owner_[cell]) % ansi.size()], glyph);
      else
        out += glyph;
    }
    return out;
  }

 private:
  int columns_, rows_;
  std::vector<std::uint8_t> dots_;
  std::vector<int> owner_;
};

class ChartText {
 public:
  ChartText(const Chart& chart, const TerminalSize& size, bool colour)
      : chart_(chart),
        rows_(std::max(2, size.rows)),
        colour_(colour),
        x_(scale_of(chart.x, x_values(chart), 0)),
        y_(scale_of(chart.y, y_values(chart), 0.02)),
        y_ticks_(ticks(y_, std::max(2, rows_ / 3))) {
    for (const Tick& tick : y_ticks_) gutter_ = std::max(gutter_, characters(tick.label));
    columns_ = std::max(10, size.columns - static_cast<int>(gutter_) - 5);
  }

  std::string draw() {
    Canvas canvas(columns_, rows_);
    std::vector<std::string> ends(static_cast<std::size_t>(rows_));
    for (const Rule& rule : chart_.rules) draw_rule(canvas, rule);
    for (std::size_t i = 0; i < chart_.curves.size(); ++i) draw_curve(canvas, i, ends);
    std::string out = chart_.title + "\n";
    if (!chart_.y.label.empty()) out += chart_.y.label + "\n";
    for (int r = 0; r < rows_; ++r)
      out += padded_left(label_at(r), gutter_) + (label_at(r).empty() ? " │" : " ┤") +
             canvas.row(r, colour_) + " " + ends[static_cast<std::size_t>(r)] + "\n";
    out += x_axis() + legend();
    // Nothing at the end of a line that cannot be seen.
    std::string trimmed;
    for (const char c : out) {
      if (c == '\n') trimmed.erase(trimmed.find_last_not_of(' ') + 1);
      trimmed += c;
    }
    return trimmed;
  }

 private:
  double place_x(double value, const Canvas& canvas) const {
    return x_.position(value) * (canvas.width() - 1);
  }
  double place_y(double value, const Canvas& canvas) const {
    return (1 - y_.position(value)) * (canvas.height() - 1);
  }

  std::string label_at(int row) const {
    for (const Tick& tick : y_ticks_) {
      const double dot = (1 - y_.position(tick.value)) * (rows_ * 4 - 1);
      if (static_cast<int>(std::lround(dot)) / 4 == row) return tick.label;
    }
    return {};
  }

  void draw_rule(Canvas& canvas, const Rule& rule) const {
    if (rule.direction == Rule::Direction::horizontal) {
      const int y = static_cast<int>(std::lround(place_y(rule.at, canvas)));
      for (int x = 0; x < canvas.width(); x += 4) canvas.set(x, y, -1);
    } else {
      const int x = static_cast<int>(std::lround(place_x(rule.at, canvas)));
      for (int y = 0; y < canvas.height(); y += 2) canvas.set(x, y, -1);
    }
  }

  static char letter(std::size_t i) { return static_cast<char>('a' + i % 26); }

  void draw_curve(Canvas& canvas, std::size_t i, std::vector<std::string>& ends) const {
    const Curve& curve = chart_.curves[i];
    const int id = static_cast<int>(i);
    bool joined = false;
    double last_x = 0, last_y = 0;
    for (std::size_t k = 0; k < curve.x.size(); ++k) {
      const double x = place_x(curve.x[k], canvas), y = place_y(curve.y[k], canvas);
      if (!std::isfinite(x) || std::isnan(y)) {
        joined = false;
        continue;
      }
      const double shown = std::clamp(y, -1.0, canvas.height() + 1.0);
      if (joined && curve.style != Curve::Style::dots)
        canvas.line(last_x, last_y, x, shown, id);
      else
        canvas.set(static_cast<int>(std::lround(x)), static_cast<int>(std::lround(shown)), id);
      joined = true;
      last_x = x, last_y = shown;
    }
    if (!joined || curve.label.empty()) return;
    const int row = std::clamp(static_cast<int>(std::lround(last_y)) / 4, 0, rows_ - 1);
    ends[static_cast<std::size_t>(row)] += letter(i);
  }

  std::string x_axis() const {
    std::string rule, labels(gutter_ + 2, ' ');
    std::size_t written = labels.size();
    std::vector<bool> marked(static_cast<std::size_t>(columns_), false);
    for (const Tick& tick : ticks(x_, columns_ / 12)) {
      const auto at =
          static_cast<std::size_t>(std::lround(x_.position(tick.value) * (columns_ - 1)));
      const std::size_t half = characters(tick.label) / 2;
      const std::size_t begin = std::max(gutter_ + 2 + at, half) - half;
      if (begin < written + (written > gutter_ + 2 ? 1 : 0)) continue;
      marked[at] = true;
      labels += std::string(begin - written, ' ') + tick.label;
      written = begin + characters(tick.label);
    }
    for (const bool mark : marked) rule += mark ? "┬" : "─";
    std::string out = std::string(gutter_, ' ') + " └" + rule + "\n" + labels + "\n";
    if (!chart_.x.label.empty()) {
      const std::size_t wide = static_cast<std::size_t>(columns_), own = characters(chart_.x.label);
      out += std::string(gutter_ + 2 + (wide > own ? (wide - own) / 2 : 0), ' ') + chart_.x.label +
             "\n";
    }
    return out;
  }

  std::string legend() const {
    std::string out;
    for (std::size_t i = 0; i < chart_.curves.size(); ++i) {
      if (chart_.curves[i].label.empty()) continue;
      const std::string entry = fmt::format("{}  {}", letter(i), chart_.curves[i].label);
      out += std::string(gutter_ + 2, ' ') +
             (colour_ ? fmt::format("\x1b[{}m{}\x1b[0m", ansi[i % ansi.size()], entry) : entry) +
             "\n";
    }
    return out;
  }

  const Chart& chart_;
  int rows_, columns_ = 0;
  bool colour_;
  Scale x_, y_;
  std::vector<Tick> y_ticks_;
  std::size_t gutter_ = 0;
};

}  // namespace

std::string terminal_text(const Chart& chart, const TerminalSize& size, bool colour) {
  return ChartText(chart, size, colour).draw();
}

std::string terminal_text(const HeatMap& map) {
  constexpr std::array<std::string_view, 5> shades{"  ", "░░", "▒▒", "▓▓", "██"};
  const Scale scale = scale_of({"", false, map.low, map.high}, map.values, 0);
  std::size_t gutter = 0;
  for (const std::string& label : map.rows) gutter = std::max(gutter, characters(label));
  std::string out = map.title + "\n";
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    out += padded_left(map.rows[r], gutter) + " │";
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r * map.columns.size() + c];
      const double share = std::clamp(scale.position(value), 0.0, 1.0);
      out += std::isfinite(value) ? shades[static_cast<std::size_t>(std::lround(share * 4))] : " ×";
    }
    out += "│" + (r < map.notes.size() ? " " + map.notes[r] : "") + "\n";
  }
  if (map.columns == map.rows)
    out += std::string(gutter + 2, ' ') + "columns as rows, ";
  else
    for (std::size_t c = 0; c < map.columns.size(); ++c)
      out += fmt::format("{}{:>3}  {}\n", std::string(gutter + 2, ' '), c + 1, map.columns[c]);
  if (map.columns != map.rows) out += std::string(gutter + 2, ' ');
  return out + fmt::format("blank is {:.4g}, full is {:.4g}\n", scale.low, scale.high);
}

}  // namespace treadle
