#include "driver/rehearsal.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <utility>

#include "ir/eval/random_inputs.h"

namespace treadle {

std::vector<Tensor> rehearsal_inputs(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                     const DimEnv& extents) {
  std::vector<Tensor> out = random_inputs(graph, extents, 1);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Node& node = graph.node(graph.inputs()[i]);
    const std::string name = node.attributes.string("name");
    Tensor& tensor = out[i];
    const bool state = std::any_of(updates.begin(), updates.end(),
                                   [&](const InPlaceUpdate& u) { return u.input == name; });
    if (state && node.op != Op::parameter) tensor = Tensor(tensor.dtype(), tensor.shape());
    if (name == "step") tensor.set(0, 1);
    if (name == "learning_rate") tensor.set(0, 1e-4);
    if (node.op != Op::parameter || tensor.shape().size() < 2) continue;
    const double scale =
        1 / std::sqrt(static_cast<double>(tensor.shape()[tensor.shape().size() - 2]));
    for (std::int64_t e = 0; e < tensor.size(); ++e) tensor.set(e, tensor.get(e) * scale);
  }
  return out;
}

Rehearsal::Rehearsal(Program& program, std::vector<Tensor>& inputs, const DimEnv& extents,
                     Team& team)
    : program_(program), inputs_(inputs), extents_(extents), team_(team) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    in_.push_back(program.fixed(i) != nullptr ? program.fixed(i)->data() : inputs[i].data());
  results_.reserve(program.outputs().size());
  for (const Slot& slot : program.outputs()) {
    const bool updates = slot.updates_input >= 0;
    results_.push_back(updates ? Tensor()
                               : Tensor(slot.type.dtype, evaluate_shape(slot.type, extents)));
    out_.push_back(updates ? inputs[static_cast<std::size_t>(slot.updates_input)].data()
                           : results_.back().data());
  }
}

double Rehearsal::milliseconds() {
  const auto start = std::chrono::steady_clock::now();
  program_.run(extents_, in_, out_, team_);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

const Tensor& Rehearsal::output(std::size_t i) const {
  const int input = program_.outputs()[i].updates_input;
  return input >= 0 ? inputs_[static_cast<std::size_t>(input)] : results_[i];
}

}  // namespace treadle
