// Kernels that do the same are one function, whatever memory they work on.
#include <regex>
#include <string>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "ir/eval/evaluate.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

TrainingStep step_of(const std::string& model) {
  return make_training_step(mean_square_of("model M(x: real[T, 8]) {\n" + model + "\n}\n"), {});
}

// The kernels of that name, as LLVM has them.
std::ptrdiff_t kernels(const Graph& graph, const std::string& name) {
  const std::string text = llvm_ir_text(lower(graph));
  const std::regex definition("\ndefine [^\n]*@kernel[0-9]+\\." + name + "\\(");
  return std::distance(std::sregex_iterator(text.begin(), text.end(), definition),
                       std::sregex_iterator());
}

void check_results(const TrainingStep& step) {
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  Team team(2);
  const std::vector<Tensor> inputs = step_inputs(step.graph, {{"B", 2}, {"T", 5}});
  require_close(step.graph, run_with(*program, inputs, team), evaluate(step.graph, inputs), 1e-10);
}

}  // namespace

TEST_CASE("layers of one kind share attention, its packing included") {
  const TrainingStep one = step_of("  return y: Encoder[1, 2, feed_forward[16]](x)");
  const TrainingStep three = step_of("  return y: Encoder[3, 2, feed_forward[16]](x)");
  for (const char* name : {"attention", "attention_gradient"}) {
    INFO(name);
    CHECK(kernels(one.graph, name) >= 1);
    CHECK(kernels(three.graph, name) == kernels(one.graph, name));
  }
  check_results(three);
}

TEST_CASE("attention under another mask, or of another size, is another function") {
  const TrainingStep step = step_of(
      "  x = dense[8](x)\n"
      "  a = attention(x, x, x, mask: causal_mask[T]())\n"
      "  b = attention(a, a, a)\n"
      "  c = attention(b, b, b, mask: causal_mask[T]())\n"
      "  d = dense[4](c)\n"
      "  return y: attention(d, d, d)");
  CHECK(kernels(step.graph, "attention") == 3);
  CHECK(kernels(step.graph, "attention_gradient") == 3);
  check_results(step);
}
