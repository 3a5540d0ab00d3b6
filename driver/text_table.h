// Cells in columns, as the command line prints them.
#pragma once
#include <string>
#include <vector>

namespace treadle {

// A line a row, the columns as wide as their widest cell. Every row has as many
// cells as the first one.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace treadle
