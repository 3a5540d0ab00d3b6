#include "driver/calibration.h"

#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backends/llvm/compile.h"
#include "backends/llvm/matmul_kernel.h"
#include "backends/llvm/target.h"
#include "backends/onednn/matmul.h"
#include "driver/compile.h"
#include "driver/product_timer.h"
#include "driver/step_fit.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"

namespace treadle {
namespace {

using Json = nlohmann::json;

constexpr int format_version = 1;

Json machine_of() {
  const Target target = host_target();
  return {{"cpu", target.cpu},
          {"features", target.features},
          {"llvm", llvm_version()},
          {"onednn", onednn_version()}};
}

// Sizes that differ in what each step is counted by: full and part tiles, rows
// of few and many, short and long sums, operands turned.
std::vector<ProductSize> sample_sizes() {
  std::vector<ProductSize> out;
  const auto add = [&](std::int64_t m, std::int64_t n, std::int64_t k, bool a = false,
                       bool b = false) {
    out.push_back({1, m, n, k, a, b});
  };
  for (const std::int64_t m : {1, 2, 4, 8, 24, 64, 192})
    for (const std::int64_t n : {65, 192}) add(m, n, 192);
  for (const std::int64_t m : {1, 8, 96}) add(m, 1024, 192);
  add(96, 512, 192);
  for (const std::int64_t k : {16, 64, 768}) add(64, 192, k);
  for (const std::int64_t n : {8, 16, 24, 40, 48, 56}) add(192, n, 192);
  for (const std::int64_t m : {24, 192}) {
    add(m, 192, 192, true, false);
    add(m, 192, 192, false, true);
    add(m, 65, 192, true, true);
  }
  add(1024, 64, 64, true, false);
  return out;
}

// Measures in rounds, so that what else the machine does for a while meets all
// sizes alike; the least counts.
StepSeconds fitted(const ProductModel& model) {
  ProductTimer timer{std::string(model.name())};
  std::vector<FitSample> samples;
  for (int round = 0; round < 5; ++round) {
    std::size_t i = 0;
    for (const ProductSize& size : sample_sizes())
      for (const std::int64_t runs : {1, 6}) {
        const double seconds = timer.seconds(size, runs);
        if (round == 0) {
          FitSample sample;
          const ProductTerms terms = model.terms(size);
          sample.counts["program"] = 1;
          for (const CostTerm& t : terms.prepare) sample.counts[std::string(t.step)] += t.count;
          for (const CostTerm& t : terms.run)
            sample.counts[std::string(t.step)] += t.count * static_cast<double>(runs);
          sample.seconds = seconds;
          samples.push_back(std::move(sample));
        } else {
          samples[i].seconds = std::min(samples[i].seconds, seconds);
        }
        ++i;
      }
  }
  return fit_steps(samples);
}

[[noreturn]] void damaged(const std::string& name, const std::string& why) {
  throw_user_error("T0936", fmt::format("{} is no calibration: {}", name, why),
                   "'treadle calibrate' makes a new one");
}

StepSeconds steps_of(const Json& json, const StepSeconds& known, const std::string& name) {
  StepSeconds out;
  if (!json.is_object()) damaged(name, "seconds are missing");
  for (const auto& [step, seconds] : known) {
    const auto found = json.find(step);
    if (found == json.end() || !found->is_number())
      damaged(name, fmt::format("the seconds of '{}' are missing", step));
    const double value = found->get<double>();
    // No step takes a second, and none less than nothing.
    if (!(value >= 0 && value < 1))
      damaged(name, fmt::format("'{}' takes {} seconds", step, value));
    out.emplace(step, value);
  }
  return out;
}

}  // namespace

Calibration default_calibration(int vector_bytes) {
  return {llvm_step_seconds(vector_bytes), onednn_step_seconds(vector_bytes)};
}

Calibration measure_calibration() {
  Calibration out = default_calibration(host_target().vector_bytes);
  const PlacementModels models(out);
  const auto take = [](StepSeconds& into, const ProductModel& model) {
    const StepSeconds measured = fitted(model);
    for (auto& [step, seconds] : into)
      if (const auto found = measured.find(step); found != measured.end()) seconds = found->second;
  };
  take(out.llvm, *models.llvm);
  take(out.onednn, *models.onednn);
  return out;
}

std::string calibration_text(const Calibration& calibration) {
  return Json{{"version", format_version},
              {"machine", machine_of()},
              {"seconds", {{"llvm", calibration.llvm}, {"onednn", calibration.onednn}}}}
             .dump(2) +
         "\n";
}

std::string seconds_text(const Calibration& calibration) {
  std::string out;
  for (const StepSeconds* of : {&calibration.llvm, &calibration.onednn})
    for (const auto& [step, seconds] : *of) out += fmt::format(" {} {:a}", step, seconds);
  return out;
}

Calibration parse_calibration(const std::string& text, const std::string& name) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) damaged(name, "it is not JSON");
  if (json.value("version", Json()) != Json(format_version)) damaged(name, "it has another form");
  if (json.value("machine", Json()) != machine_of())
    throw_user_error("T0937", fmt::format("{} is of another machine", name),
                     "'treadle calibrate' measures this one");
  const Json seconds = json.value("seconds", Json::object());
  if (!seconds.is_object()) damaged(name, "seconds are missing");
  const Calibration known = default_calibration(host_target().vector_bytes);
  return {steps_of(seconds.value("llvm", Json()), known.llvm, name),
          steps_of(seconds.value("onednn", Json()), known.onednn, name)};
}

std::optional<std::filesystem::path> calibration_file() {
  const auto folder = code_cache_folder();
  return folder ? std::optional(*folder / "calibration.json") : std::nullopt;
}

namespace {

Calibration kept_calibration() {
  const auto file = calibration_file();
  std::error_code error;
  if (file && std::filesystem::exists(*file, error)) {
    try {
      return parse_calibration(read_file(*file, 1 << 20), file->string());
    } catch (const UserError& bad) {
      for (Diagnostic diagnostic : bad.diagnostics()) {
        diagnostic.severity = Severity::warning;
        std::cerr << render(diagnostic);
      }
    }
  }
  return default_calibration(host_target().vector_bytes);
}

Calibration& in_use() {
  static Calibration known = kept_calibration();
  return known;
}

}  // namespace

const Calibration& machine_calibration() { return in_use(); }
void use_calibration(Calibration calibration) { in_use() = std::move(calibration); }

PlacementModels::PlacementModels(const Calibration& calibration)
    : llvm(make_llvm_model(matmul_tile(host_target(), DType::f32), calibration.llvm)),
      onednn(make_onednn_model(host_target().vector_bytes, calibration.onednn)) {}

}  // namespace treadle
