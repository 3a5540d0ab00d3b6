// What a machine takes for products: measured once, kept, and used.
#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "driver/calibration.h"
#include "driver/step_fit.h"
#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Run with_caches(const std::filesystem::path& caches, const std::string& arguments) {
  return shell("TREADLE_CACHE=" + caches.string() + " " TREADLE_EXECUTABLE " " + arguments +
               " 2>&1");
}

// Every step takes that long on each of them.
std::string calibration_with(double llvm, double onednn) {
  Calibration out = default_calibration(32);
  for (auto& [step, seconds] : out.llvm) seconds = llvm;
  for (auto& [step, seconds] : out.onednn) seconds = onednn;
  return calibration_text(out);
}

const std::string placement = "dump " + example("char_lm") + " --stage placement";

}  // namespace

TEST_CASE("seconds of steps are found from sums of them") {
  const StepSeconds truth{{"a", 3e-9}, {"b", 2e-6}, {"unused", 0}};
  std::vector<FitSample> samples;
  for (const auto& [a, b] : std::vector<std::array<double, 2>>{{10, 1}, {1000, 1}, {1e6, 3}}) {
    FitSample sample;
    sample.counts = {{"a", a}, {"b", b}, {"unused", a * b}};
    sample.seconds = a * truth.at("a") + b * truth.at("b");
    samples.push_back(sample);
  }
  for (const auto& [step, seconds] : fit_steps(samples)) {
    INFO(step);
    CHECK(std::abs(seconds - truth.at(step)) <= 1e-6 * truth.at("a"));
  }
  // What would have to be less than nothing is nothing.
  samples = {{{{"a", 1}, {"b", 1}}, 1.0}, {{{"a", 1}, {"b", 2}}, 0.5}};
  const StepSeconds fitted = fit_steps(samples);
  CHECK(fitted.at("b") == 0);
  CHECK(fitted.at("a") == Approx(0.6));
}

TEST_CASE("a calibration is the same when it is read again") {
  Calibration made = default_calibration(32);
  for (auto* seconds : {&made.llvm, &made.onednn})
    for (auto& [step, value] : *seconds) value = value * 1.37 + 1e-10 / 3;
  CHECK(parse_calibration(calibration_text(made), "c") == made);
}

TEST_CASE("treadle calibrate measures once, and the choice is the same from then on") {
  const TemporaryFolder caches;
  const Run without = with_caches(caches.path(), placement);
  REQUIRE(without.status == 0);
  const Run made = with_caches(caches.path(), "calibrate");
  REQUIRE(made.status == 0);
  const std::filesystem::path file = caches.path() / "calibration.json";
  CHECK(made.output.starts_with(file.string() + ": measured in "));
  const std::string text = read_file(file);
  const Calibration read = parse_calibration(text, "c");
  CHECK(read.llvm.at("multiply_add") > 0);
  CHECK(read.onednn.at("multiply_add") > 0);
  const Run first = with_caches(caches.path(), placement);
  CHECK(first.status == 0);
  CHECK(first.output != without.output);  // predictions of this machine
  CHECK(with_caches(caches.path(), placement).output == first.output);
  CHECK(read_file(file) == text);
}

TEST_CASE("dump --stage placement shows each product with both predictions") {
  const TemporaryFolder caches;
  const Run result = with_caches(caches.path(), placement);
  REQUIRE(result.status == 0);
  std::istringstream lines(result.output);
  std::string line;
  std::getline(lines, line);
  CHECK(line.starts_with("product"));
  int products = 0, twice = 0;
  while (std::getline(lines, line)) {
    INFO(line);
    CHECK(line.find(" @ [") != std::string::npos);
    std::size_t times = 0;
    for (std::size_t at = 0; (at = line.find(" us ", at)) != std::string::npos; ++at) ++times;
    CHECK(times >= 1);
    twice += times == 2 ? 1 : 0;
    ++products;
  }
  CHECK(products >= 5);
  CHECK(twice >= 5);
}

TEST_CASE("a calibration that is damaged or of another machine is left aside with a warning") {
  const TemporaryFolder caches;
  const Run without = with_caches(caches.path(), placement);
  const std::string good = calibration_text(default_calibration(32));
  const auto written = [&](const std::string& text, const std::string& code) {
    caches.file("calibration.json", text);
    const Run result = with_caches(caches.path(), placement);
    INFO(result.output);
    CHECK(result.status == 0);
    CHECK(result.output.find("warning[" + code + "]") != std::string::npos);
    CHECK(result.output.ends_with(without.output));
  };
  written("", "T0936");
  written(good.substr(0, good.size() / 2), "T0936");
  for (const auto& [from, to] :
       std::vector<std::array<std::string, 2>>{{"\"version\": 1", "\"version\": 2"},
                                               {"\"row\": ", "\"rows\": "},
                                               {"\"call\": ", "\"call\": -"}}) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    written(text, "T0936");
  }
  nlohmann::json other = nlohmann::json::parse(good);
  other["machine"]["cpu"] = "another";
  written(other.dump(), "T0937");
  other = nlohmann::json::parse(good);
  other["seconds"]["llvm"]["tile"] = "long";
  written(other.dump(), "T0936");
}

TEST_CASE("a run that goes on keeps the seconds that it began with") {
  const TemporaryFolder caches, runs;
  Calibration began = default_calibration(32);
  began.llvm["multiply_add"] = 1e-3;
  const std::string text = calibration_text(began);
  caches.file("calibration.json", text);
  const std::string train = "train " + example("demo") + " --epochs 1 -o " + runs.path().string();
  REQUIRE(with_caches(caches.path(), train).status == 0);
  const std::filesystem::path file = runs.path() / "checkpoint.safetensors";
  Checkpoint kept = load_checkpoint(file);
  CHECK(kept.texts.at("calibration") == text);
  // As if it had been stopped in front of its first step.
  const std::int64_t steps = kept.step;
  kept.step = kept.epoch = kept.position = 0;
  save_checkpoint(file, kept);
  caches.file("calibration.json", calibration_text(default_calibration(32)));
  REQUIRE(with_caches(caches.path(), train + " --resume").status == 0);
  const Checkpoint after = load_checkpoint(file);
  CHECK(after.step == steps);
  CHECK(after.texts.at("calibration") == text);
}

TEST_CASE("another calibration is another entry among the compiled code") {
  const TemporaryFolder caches;
  const auto entries_behind = [&](const std::string& calibration) {
    if (!calibration.empty()) caches.file("calibration.json", calibration);
    const Run result =
        with_caches(caches.path(), "bench " + example("my_cell") + " -D B=2 --rounds 1");
    INFO(result.output);
    CHECK(result.status == 0);
    int entries = 0;
    for (const auto& file : std::filesystem::directory_iterator(caches.path()))
      entries += file.path().extension() == ".entry" ? 1 : 0;
    return entries;
  };
  CHECK(entries_behind("") == 1);
  CHECK(entries_behind(calibration_with(1e-9, 1e-8)) == 2);
  CHECK(entries_behind(calibration_with(1e-8, 1e-9)) == 3);
  CHECK(entries_behind(calibration_with(1e-9, 1e-8)) == 3);
}

TEST_CASE("whatever the calibration, any number of threads gives the same bits") {
  const auto backend_of = [](const std::string& table) {
    return std::array{std::regex_search(table, std::regex(" us +llvm ")),
                      std::regex_search(table, std::regex(" us +onednn "))};
  };
  for (const bool fast_llvm : {true, false}) {
    INFO("LLVM is faster: " << fast_llvm);
    const TemporaryFolder caches;
    caches.file("calibration.json",
                fast_llvm ? calibration_with(0, 1e-6) : calibration_with(1e-6, 0));
    const Run table = with_caches(caches.path(), placement);
    CHECK(backend_of(table.output) == std::array{fast_llvm, !fast_llvm});
    std::vector<std::string> checkpoints;
    for (const char* threads : {"1", "2", "3"}) {
      const TemporaryFolder run;
      REQUIRE(with_caches(caches.path(), "train " + example("demo") + " --epochs 1 --threads " +
                                             threads + " -o " + run.path().string())
                  .status == 0);
      checkpoints.push_back(read_file(run.path() / "checkpoint.safetensors"));
    }
    CHECK(checkpoints[0] == checkpoints[1]);
    CHECK(checkpoints[0] == checkpoints[2]);
  }
}

TEST_CASE("without a folder for what was measured nothing is measured") {
  for (const char* environment :
       {"env -u HOME -u XDG_CACHE_HOME -u TREADLE_CACHE ", "TREADLE_CACHE=off "}) {
    const Run result = shell(std::string(environment) + TREADLE_EXECUTABLE " calibrate 2>&1");
    CHECK(result.status == 1);
    CHECK(result.output.find("error[T0938]") != std::string::npos);
  }
}
