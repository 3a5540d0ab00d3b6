// Tables of numbers in text: comma (or otherwise) separated values.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "ir/tensor.h"

namespace treadle {

struct CsvOptions {
  bool header = false;   // the first line (after skip_lines) names the columns
  int skip_lines = 0;    // lines to drop before anything else
  char separator = ',';  // ' ' means any run of spaces and tabs
  // Columns to keep, in this order: a name (needs a header), or a number from
  // 1, or from the end: -1 is the last. Empty keeps all.
  std::vector<std::string> columns = {};
  DType dtype = DType::f32;
};

struct Csv {
  std::vector<std::string> names;  // of the kept columns; empty without a header
  Tensor values;                   // dtype[rows, columns]
};

// The cells of the first line (after skip_lines); it names the columns when it
// has a cell that is not empty and none that is a number.
struct CsvHead {
  std::vector<std::string> cells;
  bool is_header = false;
};
CsvHead csv_head(std::string_view text, const CsvOptions& options, const std::string& name);

// Blank lines are skipped; cells may be in double quotes; a byte order mark
// and CR LF line ends are accepted. Only kept columns must be numbers. Every
// error shows the line; T0920 a hole (an empty cell), T0921 not a finite
// number (nor, for an integer dtype, an integer in range), T0922 a line with
// another number of cells than the first, T0923 no such column, T0924 no rows,
// T0925 a quote that does not end on its line. `path` may be gzip.
Csv read_csv(const std::filesystem::path& path, const CsvOptions& options = {});
Csv parse_csv(std::string_view text, const CsvOptions& options, const std::string& name);

}  // namespace treadle
