#include "driver/explain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

constexpr std::size_t suggestions = 3;

// The digits of "T0312", "t0312", "0312" and "312" as a number.
std::optional<int> number_of(std::string_view code) {
  if (!code.empty() && (code[0] == 'T' || code[0] == 't')) code.remove_prefix(1);
  int out = 0;
  const char* end = code.data() + code.size();
  const auto parsed = std::from_chars(code.data(), end, out);
  if (parsed.ec != std::errc() || parsed.ptr != end || out < 0) return std::nullopt;
  return out;
}

// The codes whose numbers are nearest, in order.
std::vector<std::string_view> nearest(int number, const std::vector<ErrorPage>& pages) {
  std::vector<std::string_view> out;
  for (const ErrorPage& page : pages) out.push_back(page.code);
  const auto distance = [&](std::string_view code) {
    return std::abs(static_cast<long long>(*number_of(code)) - number);
  };
  std::stable_sort(out.begin(), out.end(), [&](std::string_view a, std::string_view b) {
    return distance(a) < distance(b);
  });
  out.resize(std::min(out.size(), suggestions));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::vector<ErrorPage> error_pages() {
  constexpr std::string_view separator = ": ";
  std::vector<ErrorPage> out;
  for (const EmbeddedFile& file : error_page_files()) {
    const std::string_view line = file.text.substr(0, file.text.find('\n'));
    const std::size_t colon = line.find(separator);
    ensure(colon != std::string_view::npos, "explain", "a page has no title");
    out.push_back({file.name.substr(0, file.name.find('.')), line.substr(colon + separator.size()),
                   file.text});
  }
  return out;
}

ErrorPage explain(std::string_view code) {
  const std::vector<ErrorPage> pages = error_pages();
  const std::optional<int> number = number_of(code);
  if (number)
    for (const ErrorPage& page : pages)
      if (number_of(page.code) == number) return page;
  std::string hint = "`treadle explain` lists all codes";
  if (number)
    hint = fmt::format("near it are {}; {}", fmt::join(nearest(*number, pages), ", "), hint);
  throw_user_error("T0849", fmt::format("there is no diagnostic '{}'", code), hint);
}

}  // namespace treadle
