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
#include <string>
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

const Model translator{"transformer, 3 + 3", R"(
dim V = 4096
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  let words = embedding[128, V]
  y = Transformer[3, 4](
    sinusoidal_positions(words(source)),
    sinusoidal_positions(words(target)),
    drop: 0.1
  )
  return logits: dense[V](y)
}
train M {
  data npy("x.npy"); loss cross_entropy(logits, next); optimizer adamw(lr: 0.001); epochs 1
}
)"};

const Model looking{"GRU that attends", R"(
dim V = 4096
cell Looking[S, H](x: real[H], (h, context, memory): (real[H], real[H], real[S, H])) {
  param W, U: real[H, H] ~ xavier
  param v: real[H] ~ normal(0, 0.1)
  context = softmax(tanh(memory @ W + h @ U) @ v) @ memory
  _, h = GRU[2*H, H](concat(x, context), h)
  yield concat(h, context), (h, context, memory)
}
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  memory, h = scan GRU[256, 256] over embedding[256, V](source)
  hs, _ = scan Looking over embedding[256, V](target) from (h, h, memory)
  return logits: dense[V](hs)
}
train M {
  data npy("x.npy"); loss cross_entropy(logits, next); optimizer adamw(lr: 0.001); epochs 1
}
)"};

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

// Of two symbols, the lengths of the first one descend.
void measure(const Model& model, const char* name, const Lengths& lengths, Team& team) {
  const auto examples = static_cast<std::int64_t>(lengths.begin()->second.size());
  DimEnv dense{{"B", examples}}, alone{{"B", 1}}, packed{{"B", examples}};
  std::int64_t rows = 0, most = 0;
  for (const auto& [symbol, extents] : lengths) {
    const std::int64_t longest = *std::max_element(extents.begin(), extents.end());
    const std::int64_t sum = std::accumulate(extents.begin(), extents.end(), std::int64_t{0});
    dense[symbol] = alone[symbol] = packed[symbol + ".longest"] = longest;
    packed[symbol + ".rows"] = sum;
    rows += sum;
    most += longest * examples;
  }
  const Graph loss = loss_of(model.source);
  Timed full(loss, dense, {});
  Timed one(loss, alone, {});
  Timed ragged(loss, packed, lengths);
  for (int round = 0; round < 15; ++round)
    for (Timed* timed : {&full, &one, &ragged}) timed->run(team);
  const double share = static_cast<double>(rows) / static_cast<double>(most);
  const double bound = 1.2 * full.milliseconds() * share + one.milliseconds();
  fmt::print(
      "{:<20} {:<16} {:4.0f} % of the rows: full {:8.2f} ms, alone {:6.2f} ms, "
      "this {:8.2f} ms, {:.2f} of the bound\n",
      model.name, name, 100 * share, full.milliseconds(), one.milliseconds(), ragged.milliseconds(),
      ragged.milliseconds() / bound);
}

std::vector<std::int64_t> descending(std::vector<std::int64_t> lengths) {
  std::sort(lengths.rbegin(), lengths.rend());
  return lengths;
}

}  // namespace

// treadle_bench_ragged [THREADS [WORD]]: of all models, or those with the word in
// their name.
int main(int count, char** arguments) {
  Team team(count > 1 ? std::max(1, std::atoi(arguments[1])) : 2);
  const std::string word = count > 2 ? arguments[2] : "";
  const auto wanted = [&](const Model& model) {
    return std::string(model.name).find(word) != std::string::npos;
  };
  std::vector<std::int64_t> even, one_long(64, 8), all(64, 60), source, target;
  for (std::int64_t i = 0; i < 64; ++i) {
    even.push_back(i % 60 + 1);
    source.push_back(5 + i % 12);
    target.push_back(5 + (7 * i + 3) % 12);
  }
  one_long[0] = 60;
  for (const Model& model : models) {
    if (!wanted(model)) continue;
    measure(model, "1 to 60", {{"T", descending(even)}}, team);
    measure(model, "one of 60, rest 8", {{"T", one_long}}, team);
    measure(model, "all 60", {{"T", all}}, team);
  }
  const std::vector<std::int64_t> equal(64, 16);
  for (const Model& model : {translator, looking}) {
    if (!wanted(model)) continue;
    measure(model, "5 to 16", {{"S", descending(source)}, {"T", target}}, team);
    measure(model, "all 16", {{"S", equal}, {"T", equal}}, team);
  }
}
