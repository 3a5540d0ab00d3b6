#include "driver/replay.h"

#include <fmt/format.h>

#include <cmath>

#include "ir/eval/evaluate.h"
#include "ir/op_def.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {
namespace {

struct Finding {
  bool found = false;
  Op op = Op::constant;
  double value = 0;
  SourceRange place;
};

void look(void* context, const Node& node, std::span<const Tensor> results) {
  auto& finding = *static_cast<Finding*>(context);
  if (finding.found || node.op == Op::constant || node.op == Op::scan) return;
  for (const Tensor& tensor : results) {
    if (!is_float(tensor.dtype())) continue;
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      if (std::isfinite(tensor.get(i))) continue;
      finding = {true, node.op, tensor.get(i), node.location};
      return;
    }
  }
}

// The evaluator as a program that only looks.
class Replay final : public Program {
 public:
  explicit Replay(const Graph& graph) : graph_(graph) {
    inputs_ = input_slots(graph);
    outputs_ = output_slots(graph, {});
  }
  void run(const DimEnv& env, std::span<const std::byte* const> inputs, std::span<std::byte* const>,
           Team&) override {
    const std::vector<Tensor> tensors = tensors_of(inputs_, inputs, env);
    std::vector<const Tensor*> pointers;
    for (const Tensor& tensor : tensors) pointers.push_back(&tensor);
    evaluate(graph_, pointers, env, look, &finding);
  }
  std::size_t workspace_bytes(const DimEnv&, int) const override { return 0; }

  Finding finding;

 private:
  const Graph& graph_;
};

}  // namespace

Diagnostic explain_non_finite(const Graph& step, const NonFiniteStep& bad,
                              std::map<std::string, Tensor> tensors) {
  Team team(1);
  Replay replay(step);
  StepRunner(replay, team).run(bad.batch, tensors, bad.scalars);
  Diagnostic out;
  out.code = "T0835";
  out.message = fmt::format("loss or gradient is not finite at step {}", bad.position.step + 1);
  out.hints = {
      "the parameters were left as they were; a lower learning rate or clip_norm may help"};
  if (!replay.finding.found) return out;
  const Finding& first = replay.finding;
  out.message += fmt::format(": '{}' was the first to give {}", to_string(first.op),
                             std::isnan(first.value) ? "nan"
                             : first.value > 0       ? "inf"
                                                     : "-inf");
  out.range = first.place;
  return out;
}

}  // namespace treadle
