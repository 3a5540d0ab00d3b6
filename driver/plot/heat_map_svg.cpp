#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/plot/scale.h"
#include "driver/plot/svg.h"
#include "driver/plot/svg_parts.h"

namespace treadle {
namespace {

using svg_parts::escaped;
using svg_parts::number;
using svg_parts::text;
using svg_parts::text_width;

constexpr double page_width = 1240, left = 16, between = 24, key_room = 76, least_key = 80;
constexpr std::string_view headline = " font-size=\"16\" font-weight=\"bold\"";

// White to dark blue, even in lightness.
std::string shade(double share) {
  const double t = std::clamp(share, 0.0, 1.0);
  const auto mix = [t](double from, double to) {
    return static_cast<int>(std::lround(from + (to - from) * t));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(247, 8), mix(251, 48), mix(255, 107));
}

double longest(const std::vector<std::string>& labels) {
  double out = 0;
  for (const std::string& label : labels) out = std::max(out, text_width(label));
  return out;
}

// One map: its title if any, cells, labels of rows and columns.
class Drawing {
 public:
  // Cells are so large that they fill `wide`, within reason.
  Drawing(const HeatMap& map, double wide, bool row_labels)
      : map_(map),
        row_labels_(row_labels),
        scale_(scale_of({"", false, map.low, map.high}, map.values, 0)) {
    cell_ = std::clamp(wide / static_cast<double>(std::max<std::size_t>(map.columns.size(), 1)),
                       8.0, 40.0);
  }

  const Scale& scale() const { return scale_; }
  double row_room() const { return row_labels_ ? longest(map_.rows) + 44 - left : 0; }
  double column_room() const { return longest(map_.columns) * 0.75 + 44; }
  double cells_wide() const { return cell_ * static_cast<double>(map_.columns.size()); }
  double cells_high() const { return cell_ * static_cast<double>(map_.rows.size()); }
  double width() const { return row_room() + cells_wide(); }

  // x is the left edge of the labels, y the upper edge of the cells.
  std::string draw(double x, double y) const {
    const double first = x + row_room();
    std::string out;
    for (std::size_t r = 0; r < map_.rows.size(); ++r) {
      const double top = y + cell_ * static_cast<double>(r);
      if (row_labels_) out += text(first - 8, top + cell_ / 2 + 4.5, "end", map_.rows[r]);
      for (std::size_t c = 0; c < map_.columns.size(); ++c)
        out += cell(first + cell_ * static_cast<double>(c), top, r, c);
    }
    const double below = y + cells_high();
    for (std::size_t c = 0; c < map_.columns.size(); ++c) {
      const double at = first + cell_ * (static_cast<double>(c) + 0.5), under = below + 14;
      out += text(at, under, "end", map_.columns[c],
                  fmt::format(" transform=\"rotate(-45 {} {})\"", number(at), number(under)));
    }
    out += text(first + cells_wide() / 2, below + column_room() - 6, "middle", map_.x_label);
    if (row_labels_)
      out += text(
          x, y + cells_high() / 2, "middle", map_.y_label,
          fmt::format(" transform=\"rotate(-90 {} {})\"", number(x), number(y + cells_high() / 2)));
    return out;
  }

 private:
  std::string cell(double x, double y, std::size_t r, std::size_t c) const {
    const double value = map_.values[r * map_.columns.size() + c];
    return fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"#fff\" "
        "stroke-width=\"0.5\"><title>{}, {}: {:.4g}</title></rect>\n",
        number(x), number(y), number(cell_), number(cell_),
        std::isfinite(value) ? shade(scale_.position(value)) : "#d0d0d0", escaped(map_.rows[r]),
        escaped(map_.columns[c]), value);
  }

  const HeatMap& map_;
  bool row_labels_;
  Scale scale_;
  double cell_ = 0;
};

// What colour stands for what.
std::string colour_key(const Scale& scale, double x, double y, double height) {
  constexpr int steps = 32;
  std::string out;
  for (int i = 0; i < steps; ++i)
    out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"{}\" fill=\"{}\"/>\n",
                       number(x), number(y + height * i / steps), number(height / steps + 0.5),
                       shade(1 - (i + 0.5) / steps));
  for (const Tick& tick : ticks(scale, 5))
    out += text(x + 20, y + height * (1 - scale.position(tick.value)) + 4.5, "start", tick.label);
  return out;
}

// A title, and below it the maps in lines that the page is wide enough for.
class GroupDrawing {
 public:
  explicit GroupDrawing(const HeatMapGroup& group) : group_(group) {}

  std::string draw(double top) {
    out_ = text(left, top + 18, "start", group_.title, headline);
    y_ = top + 34;
    const double wide = group_.maps.size() == 1 ? 620 : 240;
    std::size_t i = 0;
    while (i < group_.maps.size()) i = draw_line(i, wide);
    return std::move(out_);
  }

  double bottom() const { return y_; }
  double right() const { return right_; }

 private:
  std::size_t draw_line(std::size_t first, double wide) {
    double x = left, high = least_key, room = 0;
    const double titles = group_.maps[first].title.empty() ? 0 : 22;
    std::size_t i = first;
    for (; i < group_.maps.size(); ++i) {
      const HeatMap& map = group_.maps[i];
      const bool labels = i == first || map.rows != group_.maps[i - 1].rows;
      const Drawing drawing(map, wide, labels);
      if (i > first && x + drawing.width() + key_room > page_width) break;
      if (titles > 0)
        out_ += text(x + drawing.row_room(), y_ + 14, "start", map.title, " font-weight=\"bold\"");
      out_ += drawing.draw(x, y_ + titles);
      high = std::max(high, drawing.cells_high());
      room = std::max(room, drawing.column_room());
      x += drawing.width() + between;
    }
    const Drawing last(group_.maps[i - 1], wide, false);
    out_ += colour_key(last.scale(), x - 2, y_ + titles, high);
    right_ = std::max(right_, x - 2 + key_room);
    y_ += titles + high + room + 8;
    return i;
  }

  const HeatMapGroup& group_;
  std::string out_;
  double y_ = 0, right_ = 0;
};

}  // namespace

std::string svg(std::span<const HeatMapGroup> groups) {
  std::string content;
  double top = 8, right = 0;
  for (const HeatMapGroup& group : groups) {
    GroupDrawing drawing(group);
    content += drawing.draw(top);
    top = drawing.bottom() + 14;
    right = std::max({right, drawing.right(), left + text_width(group.title) * 1.25 + left});
  }
  return svg_parts::document(right, top, content);
}

std::string svg(const HeatMap& map) {
  HeatMapGroup group{map.title, {map}};
  group.maps[0].title.clear();
  return svg(std::vector<HeatMapGroup>{group});
}

}  // namespace treadle
