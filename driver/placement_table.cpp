#include "driver/placement_table.h"

#include <fmt/format.h>

#include <vector>

#include "driver/text_table.h"

namespace treadle {
namespace {

std::string described(const ProductSize& x) {
  return fmt::format("{}[{}, {}]{} @ [{}, {}]{}", x.batch == 1 ? "" : fmt::format("{} x ", x.batch),
                     x.m, x.k, x.a_turned ? "'" : "", x.k, x.n, x.b_turned ? "'" : "");
}

std::string predicted(const PlacementReport& report, std::string_view backend) {
  for (const auto& prediction : report.predictions)
    if (prediction.backend == backend) return fmt::format("{:.2f} us", 1e6 * prediction.seconds);
  return "-";
}

}  // namespace

std::string placement_table(std::span<const PlacementReport> reports) {
  std::vector<std::vector<std::string>> cells{{"product", "llvm", "onednn", "backend", "source"}};
  for (const PlacementReport& report : reports) {
    std::string chosen(report.chosen);
    if (!report.reason.empty()) chosen += ": " + report.reason;
    const std::string source = to_string(report.location);
    cells.push_back({described(report.size), predicted(report, "llvm"), predicted(report, "onednn"),
                     std::move(chosen), source.empty() ? "-" : source});
  }
  return text_table(cells);
}

}  // namespace treadle
