#include "runtime/reference_program.h"

#include <cstring>
#include <utility>

#include "ir/eval/evaluate.h"

namespace treadle {
namespace {

class ReferenceProgram final : public Program {
 public:
  ReferenceProgram(Graph graph, std::span<const InPlaceUpdate> updates) : graph_(std::move(graph)) {
    inputs_ = input_slots(graph_);
    outputs_ = output_slots(graph_, updates);
  }

  void run(const DimEnv& env, std::span<const std::byte* const> inputs,
           std::span<std::byte* const> outputs, Team&) override {
    const std::vector<Tensor> tensors = tensors_of(inputs_, inputs, env);
    std::vector<const Tensor*> pointers;
    for (const Tensor& tensor : tensors) pointers.push_back(&tensor);
    const std::vector<Tensor> results = evaluate(graph_, pointers, env);
    for (std::size_t i = 0; i < results.size(); ++i)
      std::memcpy(outputs[i], results[i].data(), results[i].bytes());
  }

  // The evaluator frees as it goes; what it holds at once is not planned.
  std::size_t workspace_bytes(const DimEnv&, int) const override { return 0; }

 private:
  Graph graph_;
};

}  // namespace

std::unique_ptr<Program> make_reference_program(Graph graph,
                                                std::span<const InPlaceUpdate> updates) {
  return std::make_unique<ReferenceProgram>(std::move(graph), updates);
}

}  // namespace treadle
