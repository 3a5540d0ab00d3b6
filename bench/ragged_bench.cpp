// The training step of a program on a batch of examples of different lengths, as
// a process that bench/ragged.py asks for timings:
//
//   treadle_bench_ragged PROGRAM THREADS TENSORS SYMBOL=LENGTH,LENGTH,... ...
//
// Of two symbols, the lengths of the first one descend. Writes what goes in and
// what comes out of the first run to TENSORS (.safetensors), then prints {}; "run
// N" is answered with a JSON list of the milliseconds of N runs, "peak" with flops a second.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "driver/compile.h"
#include "driver/machine_peak.h"
#include "driver/rehearsal.h"
#include "driver/training_settings.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "ir/diagnostic.h"
#include "passes/training_step.h"
#include "runtime/packing.h"
#include "runtime/safetensors.h"
#include "runtime/team.h"

using namespace treadle;

namespace {

Lengths lengths_of(int count, char** arguments) {
  Lengths out;
  for (int i = 0; i < count; ++i) {
    const std::string text = arguments[i];
    const std::size_t equals = text.find('=');
    ensure(equals != std::string::npos, "lengths", "SYMBOL=LENGTH,... expected");
    std::istringstream numbers(text.substr(equals + 1));
    for (std::string number; std::getline(numbers, number, ',');)
      out[text.substr(0, equals)].push_back(std::stoll(number));
  }
  return out;
}

DimEnv extents_of_batch(const Lengths& lengths) {
  DimEnv out;
  for (const auto& [symbol, extents] : lengths) {
    out["B"] = static_cast<std::int64_t>(extents.size());
    out[symbol + ".longest"] = *std::max_element(extents.begin(), extents.end());
    out[symbol + ".rows"] = std::accumulate(extents.begin(), extents.end(), std::int64_t{0});
  }
  return out;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  Team team(std::max(1, std::atoi(arguments[2])));
  const Lengths lengths = lengths_of(count - 4, arguments + 4);
  const DimEnv extents = extents_of_batch(lengths);
  const Experiment experiment = load_experiment(arguments[1], {});
  const TrainSpec& train = *experiment.find_train();
  std::vector<std::string> ragged;
  for (const auto& [symbol, each] : lengths) ragged.push_back(symbol);
  const TrainingStep step = make_training_step(experiment.loss(train, Mode::train),
                                               optimizer_settings(train.optimizer), ragged);
  const std::unique_ptr<Program> program = compile_step(step);
  std::vector<Tensor> inputs = rehearsal_inputs(step.graph, in_place_updates(step), extents);
  NamedTensors written;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = program->inputs()[i].name;
    if (auto index = ragged_input(name, lengths)) inputs[i] = std::move(*index);
    written.tensors.emplace_back("input:" + name, inputs[i]);
  }
  Rehearsal rehearsal(*program, inputs, extents, team);
  rehearsal.milliseconds();
  for (std::size_t i = 0; i < program->outputs().size(); ++i)
    written.tensors.emplace_back("output:" + program->outputs()[i].name, rehearsal.output(i));
  write_safetensors(arguments[3], written);
  std::cout << "{}" << std::endl;
  for (std::string word; std::cin >> word;) {
    if (word == "peak") {
      std::cout << measured_peak_flops(team) << std::endl;
      continue;
    }
    int rounds = 0;
    std::cin >> rounds;
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) times.push_back(rehearsal.milliseconds());
    std::cout << fmt::format("[{}]", fmt::join(times, ", ")) << std::endl;
  }
  return 0;
}
