// How long the training step of an LSTM takes to compile, without any cache,
// and whether that depends on the number of time steps.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "passes/training_step.h"

using namespace treadle;

namespace {

constexpr const char* source = R"(
dim I = 256, H = 256
model M(x: real[T, I]) {
  hs, _ = scan LSTM[I, H] over x
  return y: dense[65](hs)
}
train M {
  data      npy("x.npy")
  loss      mean(square(y))
  optimizer adamw(lr: constant(0.001)), clip_norm 1.0
  epochs    1
}
)";

double milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Case {
  const char* name;
  std::int64_t length;  // 0: T stays symbolic
  std::vector<double> frontend, compiling;
};

void measure(Case& c) {
  auto file = std::make_shared<SourceFile>();
  file->path = "lstm.tdl";
  file->text = source;
  ElaborateOptions options;
  if (c.length > 0) options.dims["T"] = c.length;
  TrainingStep step;
  c.frontend.push_back(milliseconds([&] {
    const Experiment experiment =
        elaborate_or_throw(std::make_shared<const syntax::Module>(parse_or_throw(file)), options);
    OptimizerSettings settings;
    settings.clip_norm = 1.0;
    step = make_training_step(experiment.loss(*experiment.find_train(), Mode::train), settings);
  }));
  const std::vector<InPlaceUpdate> updates = in_place_updates(step);
  c.compiling.push_back(milliseconds([&] { compile(step.graph, updates); }));
}

}  // namespace

int main() {
  std::vector<Case> cases{
      {"T symbolic", 0, {}, {}}, {"T = 16", 16, {}, {}}, {"T = 16384", 16384, {}, {}}};
  for (int round = 0; round < 9; ++round)
    for (Case& c : cases) measure(c);
  for (const Case& c : cases)
    fmt::print(
        "{:<12} frontend and gradient {:6.1f} ms; passes, LLVM and linking {:6.1f} ms "
        "(first {:.1f}); together {:.1f} ms\n",
        c.name, median(c.frontend), median(c.compiling), c.compiling.front(),
        median(c.frontend) + median(c.compiling));
  fmt::print("T = 16384 against T = 16: {:.3f}\n",
             median(cases[2].compiling) / median(cases[1].compiling));
}
