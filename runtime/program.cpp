#include "runtime/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

std::string name_of(const Graph& graph, NodeId id) {
  return graph.node(id).attributes.string("name", "");
}

[[noreturn]] void misfit(const Slot& slot, const std::string& what) {
  throw_user_error("T0950",
                   fmt::format("input '{}' is {}: {}", slot.name, to_string(slot.type), what));
}

}  // namespace

void Program::fix(FixedValues values) {
  values_ = std::move(values);
  fixed_.assign(inputs_.size(), nullptr);
  ++generation_;
  if (values_ == nullptr) return;
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (const auto found = values_->find(inputs_[i].name); found != values_->end())
      fixed_[i] = &found->second;
}

std::vector<Slot> input_slots(const Graph& graph) {
  std::vector<Slot> out;
  for (const NodeId id : graph.inputs())
    out.push_back({name_of(graph, id), graph.node(id).types[0], -1});
  return out;
}

std::vector<Slot> output_slots(const Graph& graph, std::span<const InPlaceUpdate> updates) {
  std::vector<Slot> out;
  for (const Output& output : graph.outputs()) {
    Slot slot{output.name, graph.type(output.value), -1};
    for (const InPlaceUpdate& update : updates) {
      if (update.output != output.name) continue;
      for (std::size_t i = 0; i < graph.inputs().size(); ++i)
        if (name_of(graph, graph.inputs()[i]) == update.input)
          slot.updates_input = static_cast<int>(i);
      ensure(slot.updates_input >= 0, "program", "no input '" + update.input + "' to update");
    }
    out.push_back(std::move(slot));
  }
  return out;
}

DimEnv bind_dims(std::span<const Slot> inputs, std::span<const Tensor* const> tensors) {
  ensure(inputs.size() == tensors.size(), "program", "wrong number of inputs");
  DimEnv env;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = inputs[i].type;
    const Shape& shape = tensors[i]->shape();
    if (type.dtype != tensors[i]->dtype())
      misfit(inputs[i],
             fmt::format("the tensor's elements are {}", to_string(tensors[i]->dtype())));
    if (type.rank() != shape.size())
      misfit(inputs[i], fmt::format("the tensor has {} dimensions", shape.size()));
    for (std::size_t d = 0; d < shape.size(); ++d)
      if (const auto symbol = type.dims[d].bare_symbol()) env.try_emplace(*symbol, shape[d]);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Shape expected = evaluate_shape(inputs[i].type, env);
    if (expected != tensors[i]->shape())
      misfit(inputs[i],
             fmt::format("the tensor is [{}] where [{}] is expected",
                         fmt::join(tensors[i]->shape(), ", "), fmt::join(expected, ", ")));
  }
  return env;
}

std::vector<const Tensor*> inputs_of(const Program& program,
                                     const std::map<std::string, Tensor>& others) {
  std::vector<const Tensor*> out;
  for (std::size_t i = 0; i < program.inputs().size(); ++i) {
    const Tensor* fixed = program.fixed(i);
    out.push_back(fixed != nullptr ? fixed : &others.at(program.inputs()[i].name));
  }
  return out;
}

std::vector<Tensor> tensors_of(std::span<const Slot> slots, std::span<const std::byte* const> raw,
                               const DimEnv& env) {
  std::vector<Tensor> out;
  out.reserve(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    out.emplace_back(slots[i].type.dtype, evaluate_shape(slots[i].type, env));
    std::memcpy(out.back().data(), raw[i], out.back().bytes());
  }
  return out;
}

std::vector<Tensor> run(Program& program, std::span<const Tensor* const> inputs, Team& team) {
  const DimEnv env = bind_dims(program.inputs(), inputs);
  std::vector<Tensor> outputs;
  std::vector<const std::byte*> in;
  std::vector<std::byte*> out;
  for (const Tensor* tensor : inputs) in.push_back(tensor->data());
  for (const Slot& slot : program.outputs())
    outputs.emplace_back(slot.type.dtype, evaluate_shape(slot.type, env));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const int updated = program.outputs()[i].updates_input;
    if (updated >= 0) {
      outputs[i] = *inputs[static_cast<std::size_t>(updated)];
      in[static_cast<std::size_t>(updated)] = outputs[i].data();
    }
    out.push_back(outputs[i].data());
  }
  program.run(env, in, out, team);
  return outputs;
}

}  // namespace treadle
