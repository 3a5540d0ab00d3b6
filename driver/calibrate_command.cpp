#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>

#include "driver/calibration.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"

namespace treadle {
namespace {

int run_calibrate() {
  const auto file = calibration_file();
  if (!file)
    throw_user_error("T0938", "there is no folder for what was measured",
                     "set TREADLE_CACHE, or HOME, to a folder");
  create_folders(file->parent_path());
  const auto start = std::chrono::steady_clock::now();
  const Calibration measured = measure_calibration();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  write_file_atomically(*file, calibration_text(measured));
  std::cout << fmt::format("{}: measured in {:.1f} s\n", file->string(), took.count());
  return 0;
}

}  // namespace

void add_calibrate_command(CLI::App& app, std::function<int()>& action) {
  app.add_subcommand("calibrate",
                     "Measure once what products take here, so that each goes to the faster "
                     "backend")
      ->callback([&action] { action = run_calibrate; });
}

}  // namespace treadle
