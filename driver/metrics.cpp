#include "driver/metrics.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace treadle {
namespace {
constexpr std::string_view report_prefix = "report.";
}  // namespace

std::string metrics_text(const Metrics& metrics) {
  std::string out;
  for (const auto& [name, value] : metrics) {
    const std::string shown =
        name.starts_with(report_prefix) ? name.substr(report_prefix.size()) : name;
    out += fmt::format("{}{} {:.4f}", out.empty() ? "" : "  ", shown, value);
  }
  return out;
}

std::string metrics_json(const Metrics& metrics, const std::string& model, std::int64_t examples) {
  nlohmann::json out{{"model", model}, {"examples", examples}};
  out["reports"] = nlohmann::json::object();
  for (const auto& [name, value] : metrics)
    if (name.starts_with(report_prefix))
      out["reports"][name.substr(report_prefix.size())] = value;
    else
      out[name] = value;
  return out.dump();
}

}  // namespace treadle
