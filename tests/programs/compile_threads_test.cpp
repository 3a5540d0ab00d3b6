// Code is generated on several threads, and does not depend on how many.
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "ir/eval/evaluate.h"
#include "passes/training_step.h"
#include "runtime/file.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;
namespace fs = std::filesystem;

namespace {

struct Compiled {
  std::unique_ptr<Program> program;
  std::string bytes;  // as they are kept
};

Compiled compile_on(int threads, const Graph& graph) {
  const TemporaryFolder folder;
  LlvmOptions options;
  options.cache = folder.path();
  options.lower = [](const Graph& whole) { return lower(whole); };
  options.compile_threads = threads;
  Compiled out{compile_llvm(graph, {}, options), {}};
  for (const fs::directory_entry& file : fs::directory_iterator(folder.path())) {
    CHECK(out.bytes.empty());
    out.bytes = read_file(file.path());
  }
  return out;
}

// One kernel that calls many functions of the C library.
Graph pointwise() {
  Graph out;
  Builder b(out);
  const Value x = b.input("x", {DType::f64, {Dim::symbol("B"), Dim::symbol("T")}});
  const Value y = b.mul(b.add(b.exp(x), b.tanh(x)), b.add(b.sin(x), b.cos(x)));
  out.add_output("y", b.add(y, b.log(b.exp(b.mul(x, x)))));
  return out;
}

Graph transformer_step() {
  ElaborateOptions options;
  options.real = DType::f64;
  options.dims = {{"H", 4}, {"M", 4}, {"L", 1}, {"V", 9}, {"W", 7}};
  const Experiment experiment =
      load_experiment(TREADLE_SOURCE_DIR "/examples/char_gpt.tdl", options);
  return make_training_step(experiment.loss(*experiment.find_train(), Mode::train), {}).graph;
}

}  // namespace

TEST_CASE("code is the same bytes whatever the number of threads that generate it") {
  const DimEnv env{{"B", 3}, {"T", 4}};
  const std::map<std::string, Graph> graphs{{"one kernel", pointwise()},
                                            {"gradient", batched_gradient(lstm_loss())},
                                            {"gradient of tokens", batched_gradient(token_loss())}};
  for (const auto& [name, graph] : graphs) {
    INFO(name);
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const std::vector<Tensor> expected = evaluate(graph, inputs);
    Team team(2);
    std::optional<std::string> bytes;
    for (const int threads : {1, 2, 3, 0}) {
      const Compiled compiled = compile_on(threads, graph);
      CHECK(!compiled.bytes.empty());
      CHECK(bytes.value_or(compiled.bytes) == compiled.bytes);
      bytes = compiled.bytes;
      require_close(graph, run_with(*compiled.program, inputs, team), expected, 1e-10);
    }
  }
}

TEST_CASE("so is that of a program of many kernels") {
  const Graph graph = transformer_step();
  const std::string bytes = compile_on(1, graph).bytes;
  CHECK(bytes.size() > 50000);
  for (const int threads : {2, 3}) CHECK(compile_on(threads, graph).bytes == bytes);
}
