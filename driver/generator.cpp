#include "driver/generator.h"

#include <fmt/format.h>

#include "driver/compile.h"
#include "passes/derive_step.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {

Generator::Generator(const Graph& model, std::map<std::string, Tensor> parameters)
    : tensors_(std::move(parameters)) {
  find_inputs(model);
  tensors_["position"] = Tensor(DType::i64, {});
  const std::string length = sequence_symbol(model);
  try {
    const DerivedStep step = derive_step(model, length);
    start(step.start);
    const Graph graph = simplify(unroll(step.graph, 0));
    for (const NodeId id : graph.inputs()) {
      const Attributes& at = graph.node(id).attributes;
      if (at.has("successor") && graph.output(at.string("successor")).valid() &&
          !model.input(at.string("name")).valid())
        successors_.emplace_back(at.string("name"), at.string("successor"));
    }
    program_ = compile(graph, {});
  } catch (const UserError& error) {
    if (error.diagnostics().empty() || error.diagnostics()[0].code != "T0848") throw;
    blocked_ = error.diagnostics()[0];
    program_ = compile(model, {});
  }
}

// The tokens, and state that begins with zeros.
void Generator::find_inputs(const Graph& model) {
  for (const NodeId id : model.inputs()) {
    const Node& node = model.node(id);
    const std::string name = node.attributes.string("name");
    const Type& type = node.types[0];
    if (node.op == Op::parameter) continue;
    if (node.attributes.string("role", "") == "state") {
      tensors_[name] = Tensor(type.dtype, evaluate_shape(type, {}));
    } else if (token_.empty() && type.dtype == DType::i32 && type.rank() == 1) {
      token_ = name;
    } else {
      throw_user_error("T0844", fmt::format("generation cannot feed the input '{}'", name),
                       "a model that generates reads token(V)[T] and a state", node.location);
    }
  }
  if (token_.empty())
    throw_user_error("T0844", "generation needs a model that reads tokens",
                     "model M(text: token(V)[T], s: state CELL = zeros)");
}

// The state before the first token.
void Generator::start(const Graph& graph) {
  if (graph.outputs().empty()) return;
  const std::unique_ptr<Program> program = compile(graph, {});
  std::vector<const Tensor*> inputs;
  for (const Slot& slot : program->inputs()) inputs.push_back(&tensors_.at(slot.name));
  std::vector<Tensor> outputs = run(*program, inputs, team_);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    tensors_[program->outputs()[i].name] = std::move(outputs[i]);
}

std::vector<Tensor> Generator::run_step() {
  std::vector<const Tensor*> inputs;
  for (const Slot& slot : program_->inputs()) inputs.push_back(&tensors_.at(slot.name));
  return run(*program_, inputs, team_);
}

std::vector<double> Generator::next(std::int32_t token) {
  history_.push_back(token);
  if (!blocked_) history_ = {token};
  Tensor tokens(DType::i32, {static_cast<std::int64_t>(history_.size())});
  for (std::size_t i = 0; i < history_.size(); ++i)
    tokens.set_integer(static_cast<std::int64_t>(i), history_[i]);
  tensors_[token_] = std::move(tokens);
  tensors_.at("position").set_integer(0, position_++);
  const std::vector<Tensor> outputs = run_step();
  for (const auto& [input, output] : successors_)
    for (std::size_t i = 0; i < outputs.size(); ++i)
      if (program_->outputs()[i].name == output) tensors_[input] = outputs[i];
  const Tensor& logits = outputs.front();
  const std::int64_t classes = logits.shape().back();
  std::vector<double> out;
  for (std::int64_t i = logits.size() - classes; i < logits.size(); ++i)
    out.push_back(logits.get(i));
  return out;
}

}  // namespace treadle
