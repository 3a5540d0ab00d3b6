#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/generators.h"
#include "runtime/random.h"

namespace treadle {
namespace {

constexpr std::int64_t side = 16;
constexpr std::int64_t classes = 10;

struct Point {
  double x = 0;
  double y = 0;
};
struct Segment {
  Point from;
  Point to;
};

// The ten figures in the square [-1, 1]^2, y downwards: a list of corners for
// each stroke, drawn as connected segments.
std::vector<std::vector<Point>> figure(std::int64_t label) {
  switch (label) {
    case 0: return {{{-0.6, -0.7}, {0.6, -0.7}, {0.6, 0.7}, {-0.6, 0.7}, {-0.6, -0.7}}};  // box
    case 1: return {{{0, -0.9}, {0, 0.9}}};                                               // bar
    case 2: return {{{-0.7, -0.7}, {0.7, -0.7}, {-0.7, 0.7}, {0.7, 0.7}}};                // Z
    case 3: return {{{-0.8, -0.8}, {0.8, 0.8}}, {{-0.8, 0.8}, {0.8, -0.8}}};              // X
    case 4: return {{{-0.8, 0}, {0.8, 0}}, {{0, -0.8}, {0, 0.8}}};                        // plus
    case 5: return {{{-0.8, -0.7}, {0, 0.8}, {0.8, -0.7}}};                               // V
    case 6: return {{{-0.6, -0.8}, {-0.6, 0.8}, {0.7, 0.8}}};                             // L
    case 7: return {{{-0.8, -0.8}, {0.8, -0.8}}, {{0, -0.8}, {0, 0.8}}};                  // T
    case 8: return {{{0, -0.8}, {0.8, 0.7}, {-0.8, 0.7}, {0, -0.8}}};          // triangle
    default: return {{{-0.8, -0.5}, {0.8, -0.5}}, {{-0.8, 0.5}, {0.8, 0.5}}};  // equals
  }
}

double distance(Point p, const Segment& s) {
  const double dx = s.to.x - s.from.x;
  const double dy = s.to.y - s.from.y;
  const double along = ((p.x - s.from.x) * dx + (p.y - s.from.y) * dy) / (dx * dx + dy * dy);
  const double t = std::clamp(along, 0.0, 1.0);
  return std::hypot(p.x - s.from.x - t * dx, p.y - s.from.y - t * dy);
}

std::vector<Segment> moved_figure(std::int64_t label, RandomStream& random) {
  const double angle = 0.3 * (2 * random.next_uniform() - 1);
  const double scale_x = 5.5 * (0.75 + 0.35 * random.next_uniform());
  const double scale_y = 5.5 * (0.75 + 0.35 * random.next_uniform());
  const Point centre{7.5 + 2 * (2 * random.next_uniform() - 1),
                     7.5 + 2 * (2 * random.next_uniform() - 1)};
  const double c = std::cos(angle);
  const double s = std::sin(angle);
  const auto place = [&](Point p) {
    const double x = scale_x * p.x + 0.4 * random.next_normal();
    const double y = scale_y * p.y + 0.4 * random.next_normal();
    return Point{centre.x + c * x - s * y, centre.y + s * x + c * y};
  };
  std::vector<Segment> out;
  for (const std::vector<Point>& stroke : figure(label)) {
    Point last = place(stroke[0]);
    for (std::size_t i = 1; i < stroke.size(); ++i) {
      const Point next = place(stroke[i]);
      out.push_back({last, next});
      last = next;
    }
  }
  return out;
}

void draw(const std::vector<Segment>& segments, RandomStream& random, std::span<float> image) {
  const double width = 0.7 + 0.4 * random.next_uniform();
  for (std::int64_t y = 0; y < side; ++y)
    for (std::int64_t x = 0; x < side; ++x) {
      double nearest = 1e9;
      for (const Segment& segment : segments)
        nearest =
            std::min(nearest, distance({static_cast<double>(x), static_cast<double>(y)}, segment));
      const double ink = std::clamp(width + 0.5 - nearest, 0.0, 1.0);
      const double noisy = ink + 0.12 * random.next_normal();
      image[static_cast<std::size_t>(y * side + x)] =
          static_cast<float>(std::clamp(noisy, 0.0, 1.0));
    }
}

}  // namespace

StrokeImages stroke_images(std::int64_t n, std::uint64_t seed) {
  if (n < 1) throw_user_error("T0985", "the number of examples must be at least 1");
  StrokeImages out{Tensor(DType::f32, {n, side, side}), Tensor(DType::i32, {n})};
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random(seed, mix(hash_text("strokes"), static_cast<std::uint64_t>(i)));
    const auto label = static_cast<std::int64_t>(random.next_below(classes));
    out.labels.as<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(label);
    draw(moved_figure(label, random), random,
         out.images.as<float>().subspan(static_cast<std::size_t>(i * side * side), side * side));
  }
  return out;
}

}  // namespace treadle
