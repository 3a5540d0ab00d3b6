#include "runtime/readers/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

std::vector<double> numbers_of(std::string_view line, const std::string& name, std::size_t number) {
  std::vector<double> out;
  std::size_t at = 0;
  const auto blank = [&](std::size_t i) {
    return std::isspace(static_cast<unsigned char>(line[i])) != 0;
  };
  for (;;) {
    while (at < line.size() && blank(at)) ++at;
    if (at == line.size()) return out;
    std::size_t end = at;
    while (end < line.size() && !blank(end)) ++end;
    double value = 0;
    const auto parsed = std::from_chars(line.data() + at, line.data() + end, value);
    if (parsed.ec != std::errc() || parsed.ptr != line.data() + end)
      throw_user_error("T0921", fmt::format("{}:{}: '{}' is not a number", name, number,
                                            line.substr(at, end - at)));
    out.push_back(value);
    at = end;
  }
}

}  // namespace

Frames read_frames(std::string_view text, const std::string& name, DType dtype) {
  std::vector<double> all;
  std::vector<std::int64_t> offsets{0};
  std::size_t width = 0;
  std::int64_t rows = 0;
  const auto end_sequence = [&] {
    if (rows > offsets.back()) offsets.push_back(rows);
  };
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::vector<double> row = numbers_of(text.substr(at, end - at), name, ++number);
    at = end + 1;
    if (row.empty() || std::all_of(row.begin(), row.end(), [](double x) { return x == 1.0; })) {
      end_sequence();
      continue;
    }
    if (width == 0) width = row.size();
    if (row.size() != width)
      throw_user_error("T0922", fmt::format("{}:{}: {} numbers where {} are expected", name, number,
                                            row.size(), width));
    all.insert(all.end(), row.begin(), row.end());
    ++rows;
  }
  end_sequence();
  if (rows == 0) throw_user_error("T0965", fmt::format("{} holds no rows", name));
  Frames out{Tensor(dtype, {rows, static_cast<std::int64_t>(width)}), std::move(offsets)};
  for (std::size_t i = 0; i < all.size(); ++i) out.rows.set(static_cast<std::int64_t>(i), all[i]);
  return out;
}

}  // namespace treadle
