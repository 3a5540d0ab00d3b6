// How long the training step of a program takes to compile: a process that
// bench/costs.py asks for timings.
//
//   treadle_bench_compile PROGRAM [CACHE]
//
// Prints {}; "run N [SYMBOL VALUE]" is answered with a JSON list of the milliseconds
// from the text of the program to a step that is ready to run, N times, with the
// symbol replaced by the value. CACHE is a folder of compiled objects; without it
// nothing is kept.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "driver/compile.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "passes/training_step.h"

using namespace treadle;

namespace {

double milliseconds(const std::string& path, const ElaborateOptions& language,
                    const CompileOptions& compiling) {
  const auto start = std::chrono::steady_clock::now();
  const Experiment experiment = load_experiment(path, language);
  const TrainSpec& train = *experiment.find_train();
  const TrainingStep step =
      make_training_step(experiment.loss(train, Mode::train), optimizer_settings(train.optimizer));
  compile_step(step, compiling);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  CompileOptions compiling;
  if (count > 2) compiling.cache = arguments[2];
  std::cout << "{}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string run, symbol;
    int rounds = 0;
    ElaborateOptions language;
    words >> run >> rounds;
    if (words >> symbol) words >> language.dims[symbol];
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i)
      times.push_back(milliseconds(arguments[1], language, compiling));
    std::cout << fmt::format("[{}]", fmt::join(times, ", ")) << std::endl;
  }
  return 0;
}
