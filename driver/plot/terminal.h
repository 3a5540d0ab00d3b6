// Charts as text: a dot of a braille pattern for each place that a curve
// touches, a shaded block for each cell of a map.
#pragma once
#include <string>

#include "driver/plot/chart.h"

namespace treadle {

struct TerminalSize {
  int columns = 78;  // of the whole text
  int rows = 14;     // of the plot alone
};

// Curves are told apart by the letter at their right end, which the legend
// names, and by colour where the terminal has it.
std::string terminal_text(const Chart& chart, const TerminalSize& size = {}, bool colour = false);
std::string terminal_text(const HeatMap& map);

}  // namespace treadle
