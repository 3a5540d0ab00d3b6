// Charts as SVG: a white ground, labels of 12 points and more, colours that are
// told apart without red and green (Okabe and Ito 2008).
#pragma once
#include <span>
#include <string>

#include "driver/plot/chart.h"

namespace treadle {

// One document; several charts stand under one another.
std::string svg(std::span<const Chart> charts);
std::string svg(const HeatMap& map);
// Groups under one another; the maps of one stand side by side, and share the
// labels of their rows where these are the same.
std::string svg(std::span<const HeatMapGroup> groups);

}  // namespace treadle
