// Columns of a table as the inputs of a loss.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "driver/data_fields.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "runtime/readers/csv.h"

namespace treadle {
namespace {

class CsvFields {
 public:
  CsvFields(const DataSpec& spec, const Graph& loss, const std::filesystem::path& folder)
      : spec_(spec), loss_(loss), file_(data_file(spec, 0, folder)) {
    text_ = read_file_or_gzip(file_);
    const std::string separator = spec.string("separator", ",");
    if (separator.size() != 1)
      throw_user_error("T0857", fmt::format("'{}' is not one character", separator),
                       "separator: \";\", or \" \" for runs of blanks", spec.range);
    options_.separator = separator[0];
    options_.skip_lines = static_cast<int>(spec.integer("skip", 0));
    const CsvHead head = csv_head(text_, options_, file_.string());
    options_.header = head.is_header;
    if (head.is_header) names_ = head.cells;
    width_ = head.cells.size();
    window_ = spec.integer("window", 0);
    if (window_ < 0) throw_user_error("T0968", "a window has at least one row", {}, spec.range);
  }

  NamedFields read() {
    std::vector<std::pair<const Node*, ColumnSpec>> chosen;
    const Node* features = nullptr;
    for (const NodeId id : loss_.inputs()) {
      const Node& node = loss_.node(id);
      if (!is_data_input(node)) continue;
      if (const auto columns = columns_of(node.attributes.string("name")))
        chosen.emplace_back(&node, *columns);
      else
        features = &node;
    }
    if (features != nullptr) chosen.emplace_back(features, others(chosen));
    NamedFields out;
    for (const auto& [node, columns] : chosen)
      out.emplace(node->attributes.string("name"), field(*node, columns));
    return out;
  }

 private:
  ColumnSpec single(const std::string& column) const {
    ColumnSpec out;
    out.columns = {column};
    out.is_single = true;
    out.range = spec_.range;
    return out;
  }

  // Nothing for `features`, which takes what others leave.
  std::optional<ColumnSpec> columns_of(const std::string& input) const {
    if (const auto said = spec_.columns.find(input); said != spec_.columns.end())
      return said->second;
    if (const auto other = spec_.fields.find(input); other != spec_.fields.end())
      return single(other->second);
    if (std::find(names_.begin(), names_.end(), input) != names_.end()) return single(input);
    if (input == "label" || input == "target") return single("-1");
    if (input == "features") return std::nullopt;
    throw_user_error(
        "T0833", fmt::format("which columns of {} are '{}'?", file_.string(), input),
        fmt::format("data csv(...), {}: columns(from: 1, to: -2), or {}: column(\"NAME\")", input,
                    input),
        spec_.range);
  }

  // The place of a column, from 0. T0923.
  std::size_t index_of(const std::string& column) const {
    const auto named = std::find(names_.begin(), names_.end(), column);
    if (named != names_.end()) return static_cast<std::size_t>(named - names_.begin());
    std::int64_t number = 0;
    const auto result = std::from_chars(column.data(), column.data() + column.size(), number);
    const auto width = static_cast<std::int64_t>(width_);
    if (result.ec == std::errc() && result.ptr == column.data() + column.size()) {
      if (number >= 1 && number <= width) return static_cast<std::size_t>(number - 1);
      if (number <= -1 && number >= -width) return static_cast<std::size_t>(width + number);
    }
    std::string hint =
        fmt::format("there are {} columns, numbered from 1 (-1 is the last)", width_);
    if (!names_.empty()) hint += fmt::format(": {}", fmt::join(names_, ", "));
    throw_user_error("T0923", fmt::format("{} has no column '{}'", file_.string(), column), hint,
                     spec_.range);
  }

  std::vector<std::size_t> indices(const ColumnSpec& columns) const {
    std::vector<std::size_t> out;
    for (const std::string& column : columns.columns) out.push_back(index_of(column));
    if (!columns.is_range) return out;
    if (out[0] > out[1])
      throw_user_error("T0857", fmt::format("columns {} to {} are none", out[0] + 1, out[1] + 1),
                       {}, columns.range);
    std::vector<std::size_t> all;
    for (std::size_t i = out[0]; i <= out[1]; ++i) all.push_back(i);
    return all;
  }

  ColumnSpec others(const std::vector<std::pair<const Node*, ColumnSpec>>& chosen) const {
    std::vector<bool> taken(width_, false);
    for (const auto& [node, columns] : chosen)
      for (const std::size_t i : indices(columns)) taken[i] = true;
    ColumnSpec out;
    out.range = spec_.range;
    for (std::size_t i = 0; i < width_; ++i)
      if (!taken[i]) out.columns.push_back(std::to_string(i + 1));
    if (out.columns.empty())
      throw_user_error("T0857", fmt::format("{} has no column for 'features'", file_.string()), {},
                       spec_.range);
    return out;
  }

  // [rows, columns] in the input's element type, scaled.
  Tensor table(const Node& input, const ColumnSpec& columns) const {
    CsvOptions options = options_;
    for (const std::size_t i : indices(columns)) options.columns.push_back(std::to_string(i + 1));
    const DType dtype = input.types[0].dtype;
    const bool whole = is_integer(dtype);
    if (whole && (columns.scale != 1 || columns.shift != std::floor(columns.shift)))
      throw_user_error("T0857", "class indices can be shifted by a whole number, not scaled", {},
                       columns.range);
    options.dtype = whole ? dtype : DType::f64;
    Tensor out = parse_csv(text_, options, file_.string()).values;
    for (std::int64_t i = 0; i < out.size(); ++i)
      out.set(i, out.get(i) * columns.scale + columns.shift);
    return out.cast(dtype);
  }

  Tensor field(const Node& input, const ColumnSpec& columns) const {
    const Tensor values = table(input, columns);
    const std::size_t rank = input.types[0].rank();
    const std::size_t row_rank = columns.is_single ? 0 : 1;
    if (window_ == 0) return rows_as(values, input, columns);
    if (rank == row_rank + 1) return windows(values, columns);
    return rows_after(rows_as(values, input, columns));
  }

  // A row of a table in the shape of the input, where its extents say one.
  Tensor rows_as(const Tensor& values, const Node& input, const ColumnSpec& columns) const {
    const Type& type = input.types[0];
    const std::int64_t rows = values.shape()[0], width = values.shape()[1];
    if (columns.is_single) return values.reshaped({rows});
    Shape shape{rows};
    std::int64_t known = 1;
    std::size_t open = 0;
    for (const Dim& dim : type.dims) {
      shape.push_back(dim.constant().value_or(-1));
      known *= dim.constant().value_or(1);
      if (!dim.constant()) ++open;
    }
    const bool divides = known > 0 && width % known == 0;
    if (open > 1 || !divides || (open == 0 && known != width))
      throw_user_error("T0851",
                       fmt::format("{} columns are given for '{}', which is {} an example", width,
                                   input.attributes.string("name"), to_string(type)),
                       "choose as many columns as the input has elements", columns.range);
    std::replace(shape.begin() + 1, shape.end(), std::int64_t{-1}, width / known);
    return values.reshaped(shape);
  }

  // Rows i .. i + K - 1 for each i that has a row after them.
  Tensor windows(const Tensor& values, const ColumnSpec& columns) const {
    const std::int64_t width = values.shape()[1];
    const std::int64_t count = windows_in(values);
    Tensor out(values.dtype(),
               columns.is_single ? Shape{count, window_} : Shape{count, window_, width});
    const std::size_t row = static_cast<std::size_t>(width) * size_of(values.dtype());
    const std::size_t bytes = static_cast<std::size_t>(window_) * row;
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(out.data() + static_cast<std::size_t>(i) * bytes,
                  values.data() + static_cast<std::size_t>(i) * row, bytes);
    return out;
  }

  Tensor rows_after(const Tensor& values) const {
    Shape shape = values.shape();
    shape[0] = windows_in(values);
    Tensor out(values.dtype(), std::move(shape));
    std::memcpy(out.data(), values.data() + (values.bytes() - out.bytes()), out.bytes());
    return out;
  }

  std::int64_t windows_in(const Tensor& values) const {
    const std::int64_t rows = values.shape()[0];
    if (rows <= window_)
      throw_user_error(
          "T0967",
          fmt::format("{} rows are too few for a window of {} and a row after it", rows, window_),
          {}, spec_.range);
    return rows - window_;
  }

  const DataSpec& spec_;
  const Graph& loss_;
  std::filesystem::path file_;
  std::string text_;
  CsvOptions options_;
  std::vector<std::string> names_;  // empty without a header
  std::size_t width_ = 0;
  std::int64_t window_ = 0;
};

}  // namespace

NamedFields read_csv_fields(const DataSpec& spec, const Graph& loss,
                            const std::filesystem::path& folder) {
  return CsvFields(spec, loss, folder).read();
}

}  // namespace treadle
