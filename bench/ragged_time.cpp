// What a batch of examples of different lengths costs, against the promise:
// at most 1.2 times the full batch's time by the share of its rows that there
// are, and the longest example's steps at batch 1 on top.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "ir/eval/random_inputs.h"
#include "passes/training_step.h"
#include "runtime/packing.h"
#include "runtime/team.h"

using namespace treadle;

namespace {

struct Model {
  const char *name, *source;
};
const Model models[] = {{"LSTM, 128 wide", R"(
model M(x: real[T, 128]) {
  _, (h, _) = scan LSTM[128, 128] over x
  return y: dense[18](h)
}
train M { data npy("x.npy"); loss mean(square(y)); optimizer adamw(lr: 0.001); epochs 1 }
)"},
                        {"LSTM, every row", R"(
model M(x: real[T, 128]) {
  hs, _ = scan LSTM[128, 128] over x
  return y: dense[65](hs)
}
train M { data npy("x.npy"); loss mean(square(y)); optimizer adamw(lr: 0.001); epochs 1 }
)"},
                        {"attention, 128 wide", R"(
model M(x: real[T, 128]) {
  q, k, v = split(dense[384](x), 3)
  a = softmax(q @ transpose(k) / 11)
  return y: dense[128](relu(dense[256](a @ v)))
}
train M { data npy("x.npy"); loss mean(square(y)); optimizer adamw(lr: 0.001); epochs 1 }
)"}};

Graph loss_of(const char* source) {
  auto file = std::make_shared<SourceFile>();
  file->path = "model.tdl";
  file->text = source;
  const Experiment experiment =
      elaborate_or_throw(std::make_shared<const syntax::Module>(parse_or_throw(file)), {});
  return experiment.loss(*experiment.find_train(), Mode::train);
}

// The median of some runs of one step, in milliseconds.
class Timed {
 public:
  Timed(const Graph& loss, const DimEnv& env, const Lengths& lengths) {
    std::vector<std::string> ragged;
    for (const auto& [symbol, extents] : lengths) ragged.push_back(symbol);
    const TrainingStep step = make_training_step(loss, {}, ragged);
    inputs_ = random_inputs(step.graph, env, 1);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const std::string name = step.graph.node(step.graph.inputs()[i]).attributes.string("name");
      if (auto index = ragged_input(name, lengths)) inputs_[i] = std::move(*index);
      if (name.starts_with("v:") || name == "step" || name == "learning_rate")
        for (std::int64_t k = 0; k < inputs_[i].size(); ++k)
          inputs_[i].set(k, name == "step" ? 3 : std::abs(inputs_[i].get(k)) * 1e-3);
    }
    program_ = compile_step(step, {"llvm", {}, {}});
  }

  void run(Team& team) {
    std::vector<const Tensor*> pointers;
    for (const Tensor& tensor : inputs_) pointers.push_back(&tensor);
    const DimEnv env = bind_dims(program_->inputs(), pointers);
    std::vector<Tensor> results;
    std::vector<const std::byte*> in;
    std::vector<std::byte*> out;
    for (const Tensor& tensor : inputs_) in.push_back(tensor.data());
    results.reserve(program_->outputs().size());
    for (const Slot& slot : program_->outputs()) {
      if (slot.updates_input >= 0) {
        out.push_back(inputs_[static_cast<std::size_t>(slot.updates_input)].data());
        continue;
      }
      results.emplace_back(slot.type.dtype, evaluate_shape(slot.type, env));
      out.push_back(results.back().data());
    }
    const auto start = std::chrono::steady_clock::now();
    program_->run(env, in, out, team);
    times_.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  double milliseconds() const {
    std::vector<double> sorted = times_;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 4];
  }

 private:
  std::unique_ptr<Program> program_;
  std::vector<Tensor> inputs_;
  std::vector<double> times_;
};

void measure(const Model& model, const char* name, std::vector<std::int64_t> lengths, Team& team) {
  std::sort(lengths.rbegin(), lengths.rend());
  const auto examples = static_cast<std::int64_t>(lengths.size());
  const std::int64_t longest = lengths.front();
  const std::int64_t rows = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const Graph loss = loss_of(model.source);
  Timed full(loss, {{"B", examples}, {"T", longest}}, {});
  Timed one(loss, {{"B", 1}, {"T", longest}}, {});
  Timed ragged(loss, {{"B", examples}, {"T.rows", rows}, {"T.longest", longest}}, {{"T", lengths}});
  for (int round = 0; round < 15; ++round)
    for (Timed* timed : {&full, &one, &ragged}) timed->run(team);
  const double share = static_cast<double>(rows) / static_cast<double>(examples * longest);
  const double bound = 1.2 * full.milliseconds() * share + one.milliseconds();
  fmt::print(
      "{:<20} {:<16} {:4.0f} % of the rows: full {:8.2f} ms, alone {:6.2f} ms, "
      "this {:8.2f} ms, {:.2f} of the bound\n",
      model.name, name, 100 * share, full.milliseconds(), one.milliseconds(), ragged.milliseconds(),
      ragged.milliseconds() / bound);
}

}  // namespace

// treadle_bench_ragged [THREADS]
int main(int count, char** arguments) {
  Team team(count > 1 ? std::max(1, std::atoi(arguments[1])) : 2);
  std::vector<std::int64_t> even, one_long(64, 8), all(64, 60);
  for (std::int64_t i = 0; i < 64; ++i) even.push_back(i % 60 + 1);
  one_long[0] = 60;
  for (const Model& model : models) {
    measure(model, "1 to 60", even, team);
    measure(model, "one of 60, rest 8", one_long, team);
    measure(model, "all 60", all, team);
  }
}
