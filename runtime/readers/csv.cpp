#include "runtime/readers/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "ir/diagnostic.h"
#include "runtime/file.h"

namespace treadle {
namespace {

struct Cell {
  std::string text;
  std::size_t begin = 0;  // byte offset in the file
  std::size_t end = 0;
};

class CsvParser {
 public:
  CsvParser(std::string_view text, const CsvOptions& options, const std::string& name)
      : text_(text), options_(options), name_(name) {}

  Csv parse();
  CsvHead head();

 private:
  void skip_lines();
  bool next_line();
  void split_line();
  void split_by_spaces();
  void split_by_separator();
  std::size_t quoted_cell(std::size_t at);
  void choose_columns();
  std::size_t column_index(const std::string& wanted);
  double number(std::size_t column);
  std::string column_name(std::size_t column) const;
  Tensor values(const std::vector<double>& numbers, std::size_t rows) const;
  [[noreturn]] void fail(const char* code, const std::string& message, std::size_t begin,
                         std::size_t end, const std::string& hint = {}) const;

  std::string_view text_;
  const CsvOptions& options_;
  const std::string& name_;
  std::size_t next_ = 0;  // where the next line begins
  std::size_t line_begin_ = 0;
  std::string_view line_;
  std::vector<Cell> cells_;
  std::vector<std::string> header_;
  std::size_t width_ = 0;
  std::vector<std::size_t> chosen_;
};

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

void CsvParser::fail(const char* code, const std::string& message, std::size_t begin,
                     std::size_t end, const std::string& hint) const {
  SourceRange range;
  if (text_.size() < std::numeric_limits<std::uint32_t>::max()) {
    auto file = std::make_shared<SourceFile>();
    file->path = name_;
    file->text = std::string(text_);
    range.file = std::move(file);
    range.begin = static_cast<std::uint32_t>(begin);
    range.end = static_cast<std::uint32_t>(end);
  }
  throw_user_error(code, message, hint, range);
}

// Moves to the next line that is not blank; false at the end.
bool CsvParser::next_line() {
  while (next_ < text_.size()) {
    line_begin_ = next_;
    std::size_t end = text_.find('\n', next_);
    next_ = end == std::string_view::npos ? text_.size() : end + 1;
    if (end == std::string_view::npos) end = text_.size();
    line_ = text_.substr(line_begin_, end - line_begin_);
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    if (!trim(line_).empty()) return true;
  }
  return false;
}

void CsvParser::split_line() {
  cells_.clear();
  if (options_.separator == ' ')
    split_by_spaces();
  else
    split_by_separator();
}

void CsvParser::split_by_spaces() {
  std::size_t at = 0;
  while ((at = line_.find_first_not_of(" \t", at)) != std::string_view::npos) {
    const std::size_t end = std::min(line_.find_first_of(" \t", at), line_.size());
    cells_.push_back(
        {std::string(line_.substr(at, end - at)), line_begin_ + at, line_begin_ + end});
    at = end;
  }
}

void CsvParser::split_by_separator() {
  std::size_t at = 0;
  for (;;) {
    std::size_t end = 0;
    const std::size_t first = std::min(line_.find_first_not_of(" \t", at), line_.size());
    if (first < line_.size() && line_[first] == '"') {
      end = quoted_cell(first);
    } else {
      end = std::min(line_.find(options_.separator, at), line_.size());
      cells_.push_back(
          {std::string(trim(line_.substr(at, end - at))), line_begin_ + at, line_begin_ + end});
    }
    if (end >= line_.size()) return;
    at = end + 1;
  }
}

// Reads the cell whose quote is at `at`; returns where its separator stands.
std::size_t CsvParser::quoted_cell(std::size_t at) {
  std::string cell;
  std::size_t i = at + 1;
  for (;; ++i) {
    if (i >= line_.size())
      fail("T0925", "a quote does not end on its line", line_begin_ + at,
           line_begin_ + line_.size());
    if (line_[i] != '"') {
      cell += line_[i];
    } else if (i + 1 < line_.size() && line_[i + 1] == '"') {
      cell += line_[++i];
    } else {
      break;
    }
  }
  cells_.push_back({std::string(trim(cell)), line_begin_ + at, line_begin_ + i + 1});
  return std::min(line_.find(options_.separator, i + 1), line_.size());
}

std::string CsvParser::column_name(std::size_t column) const {
  if (column < header_.size()) return fmt::format("column {} ('{}')", column + 1, header_[column]);
  return fmt::format("column {}", column + 1);
}

std::size_t CsvParser::column_index(const std::string& wanted) {
  for (std::size_t i = 0; i < header_.size(); ++i)
    if (header_[i] == wanted) return i;
  const auto width = static_cast<std::int64_t>(width_);
  if (const auto index = parse_whole<std::int64_t>(wanted)) {
    if (*index >= 1 && *index <= width) return static_cast<std::size_t>(*index - 1);
    if (*index <= -1 && *index >= -width) return static_cast<std::size_t>(width + *index);
  }
  std::string hint = fmt::format("there are {} columns, numbered from 1 (-1 is the last)", width_);
  if (!header_.empty()) hint += fmt::format(": {}", fmt::join(header_, ", "));
  throw_user_error("T0923", fmt::format("{} has no column '{}'", name_, wanted), hint);
}

void CsvParser::choose_columns() {
  if (options_.columns.empty())
    for (std::size_t i = 0; i < width_; ++i) chosen_.push_back(i);
  for (const std::string& wanted : options_.columns) chosen_.push_back(column_index(wanted));
}

double CsvParser::number(std::size_t column) {
  const Cell& cell = cells_[column];
  if (cell.text.empty())
    fail("T0920", fmt::format("{} is empty where a number is expected", column_name(column)),
         cell.begin, cell.end, "fill the hole, remove the line, or choose other columns");
  const auto value = parse_whole<double>(cell.text);
  if (!value || !std::isfinite(*value))
    fail("T0921",
         fmt::format("{} is '{}' where a number is expected", column_name(column), cell.text),
         cell.begin, cell.end,
         header_.empty() ? "is this line a header? choose columns that hold numbers"
                         : "choose columns that hold numbers");
  if (is_integer(options_.dtype)) {
    const double limit = options_.dtype == DType::i32 ? 2147483647.0 : 9007199254740992.0;
    if (*value != std::floor(*value) || std::abs(*value) > limit)
      fail("T0921",
           fmt::format("{} is '{}' where an integer is expected", column_name(column), cell.text),
           cell.begin, cell.end);
  }
  return *value;
}

Tensor CsvParser::values(const std::vector<double>& numbers, std::size_t rows) const {
  Tensor out(options_.dtype,
             {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(chosen_.size())});
  for (std::size_t i = 0; i < numbers.size(); ++i)
    out.set(static_cast<std::int64_t>(i), numbers[i]);
  return out;
}

void CsvParser::skip_lines() {
  if (text_.starts_with("\xEF\xBB\xBF")) next_ = 3;
  for (int i = 0; i < options_.skip_lines; ++i) {
    const std::size_t end = text_.find('\n', next_);
    next_ = end == std::string_view::npos ? text_.size() : end + 1;
  }
}

CsvHead CsvParser::head() {
  skip_lines();
  CsvHead out;
  if (!next_line()) return out;
  split_line();
  bool numbers = false;
  for (const Cell& cell : cells_) {
    out.cells.push_back(cell.text);
    out.is_header = out.is_header || !cell.text.empty();
    numbers = numbers || parse_whole<double>(cell.text).has_value();
  }
  out.is_header = out.is_header && !numbers;
  return out;
}

Csv CsvParser::parse() {
  skip_lines();
  if (options_.header && next_line()) {
    split_line();
    for (const Cell& cell : cells_) header_.push_back(cell.text);
    width_ = header_.size();
  }
  std::vector<double> numbers;
  std::size_t rows = 0;
  while (next_line()) {
    split_line();
    if (width_ == 0) width_ = cells_.size();
    if (chosen_.empty()) choose_columns();
    if (cells_.size() != width_)
      fail(
          "T0922",
          fmt::format("this line has {} cells, the lines before it have {}", cells_.size(), width_),
          line_begin_, line_begin_ + line_.size());
    for (const std::size_t column : chosen_) numbers.push_back(number(column));
    ++rows;
  }
  if (rows == 0) throw_user_error("T0924", fmt::format("{} has no rows of numbers", name_));
  Csv out;
  if (!header_.empty())
    for (const std::size_t column : chosen_) out.names.push_back(header_[column]);
  out.values = values(numbers, rows);
  return out;
}

}  // namespace

Csv parse_csv(std::string_view text, const CsvOptions& options, const std::string& name) {
  return CsvParser(text, options, name).parse();
}

CsvHead csv_head(std::string_view text, const CsvOptions& options, const std::string& name) {
  return CsvParser(text, options, name).head();
}

Csv read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  return parse_csv(read_file_or_gzip(path), options, path.string());
}

}  // namespace treadle
