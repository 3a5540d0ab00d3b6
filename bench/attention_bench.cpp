// Causal attention, compiled. For each line of standard input, "forward" or
// "gradient" (result and gradients by q, k and v), runs it once and prints the
// milliseconds; attention.py alternates that with PyTorch's.
//
//   treadle_bench_attention B HEADS T D THREADS [unfused]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "ir/builder.h"
#include "ir/eval/random_inputs.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/pass_manager.h"
#include "runtime/team.h"

using namespace treadle;

namespace {

constexpr const char* source =
    "model M(q: real[N, T, D], k: real[N, T, D], v: real[N, T, D], w: real[N, T, D]) {\n"
    "  y = attention(q, k, v, mask: causal_mask[T]())\n"
    "  return y: y, loss: sum(y * w)\n}\n";

Graph forward_graph() {
  auto file = std::make_shared<SourceFile>();
  file->path = "attention.tdl";
  file->text = source;
  const Experiment experiment = elaborate_or_throw(
      std::make_shared<const syntax::Module>(parse_or_throw(file)), ElaborateOptions{});
  return batch(experiment.model("M", Mode::train));
}

std::unique_ptr<Program> compiled(const Graph& graph, bool fused) {
  std::vector<PassCall> calls = parse_pipeline(training_pipeline);
  calls.pop_back();  // place
  if (!fused)
    calls.erase(std::find_if(calls.begin(), calls.end(), [](const PassCall& call) {
      return call.pass->name == "fuse-attention";
    }));
  return compile_llvm(run_pipeline(graph, calls), {});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 1;
  const DimEnv env{{"B", std::atoi(argv[1])},
                   {"N", std::atoi(argv[2])},
                   {"T", std::atoi(argv[3])},
                   {"D", std::atoi(argv[4])}};
  Team team(std::atoi(argv[5]));
  const bool fused = argc < 7;
  Graph forward = forward_graph(), gradient = forward;
  Builder b(gradient);
  const Value total = b.reduce_sum(gradient.output("loss"), {0});
  gradient.set_outputs({{"y", forward.output("y")}, {"loss", total}});
  gradient = differentiate(gradient, {"loss", {"q", "k", "v"}, "grad:"});
  forward.set_outputs({{"y", forward.output("y")}});
  const std::vector<Tensor> inputs = random_inputs(forward, env, 1);
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
  const auto of_forward = compiled(forward, fused), of_gradient = compiled(gradient, fused);
  fmt::print("workspace {} {} MiB\n", of_forward->workspace_bytes(env) >> 20,
             of_gradient->workspace_bytes(env) >> 20);
  std::fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) {
    Program& program = line == "forward" ? *of_forward : *of_gradient;
    std::vector<Tensor> outputs;
    std::vector<std::byte*> places;
    for (const Slot& slot : program.outputs()) {
      outputs.emplace_back(slot.type.dtype, evaluate_shape(slot.type, env));
    }
    for (Tensor& tensor : outputs) places.push_back(reinterpret_cast<std::byte*>(tensor.data()));
    std::vector<const std::byte*> sources;
    for (const Tensor& tensor : inputs)
      sources.push_back(reinterpret_cast<const std::byte*>(tensor.data()));
    const auto start = std::chrono::steady_clock::now();
    program.run(env, sources, places, team);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    fmt::print("{}\n", taken.count());
    std::fflush(stdout);
  }
  return 0;
}
