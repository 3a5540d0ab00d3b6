#include "driver/parameters.h"

#include <fmt/format.h>

#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "runtime/initialise.h"

namespace treadle {
namespace {

InitialiserSpec initialiser_of(const Node& parameter) {
  const std::string text = parameter.attributes.string("initialiser");
  const auto spec = parse_initialiser(text);
  if (!spec)
    throw_user_error("T0834", fmt::format("'{}' is no initialiser", text),
                     "write xavier, orthogonal, zeros, normal(0, 0.02), ...", parameter.location);
  return *spec;
}

using Expected = std::map<std::string, ExpectedTensor>;

// One message instead of one for each parameter.
void require_precision(const std::map<std::string, Tensor>& found, const Expected& expected,
                       const std::string& file) {
  const ExpectedTensor* differs = nullptr;
  DType saved = DType::f32;
  for (const auto& [name, want] : expected) {
    const auto have = found.find(name);
    if (have == found.end() || have->second.shape() != want.shape) return;
    if (have->second.dtype() == want.dtype) continue;
    differs = &want;
    saved = have->second.dtype();
  }
  if (differs != nullptr)
    throw_user_error(
        "T0978",
        fmt::format("{} holds {} parameters, the program computes in {}", file, to_string(saved),
                    to_string(differs->dtype)),
        fmt::format("run it with the precision it was trained in: -p {}", to_string(saved)));
}

}  // namespace

std::map<std::string, Tensor> initial_parameters(const Graph& graph, std::uint64_t seed) {
  std::map<std::string, Tensor> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op != Op::parameter) continue;
    const std::string name = node.attributes.string("name");
    out.emplace(name, initialise(initialiser_of(node), evaluate_shape(node.types[0], {}),
                                 node.types[0].dtype, seed, name));
  }
  return out;
}

std::map<std::string, Tensor> first_tensors(const Graph& loss, const TrainingStep& step,
                                            std::uint64_t seed) {
  std::map<std::string, Tensor> out = initial_parameters(loss, seed);
  for (const OptimizerSlot& slot : step.slots) {
    const Tensor& parameter = out.at(slot.parameter);
    out.emplace(slot.name, Tensor(parameter.dtype(), parameter.shape()));
  }
  return out;
}

const TrainSpec& find_train_block(const Experiment& experiment, const std::string& file,
                                  const std::string& model) {
  if (const TrainSpec* found = experiment.find_train(model)) return *found;
  throw_user_error("T0840",
                   fmt::format("'{}' has no train block{}", file,
                               model.empty() ? "" : fmt::format(" of a model '{}'", model)),
                   "train MODEL { data ...  loss ...  optimizer ... }");
}

std::filesystem::path checkpoint_file(const std::filesystem::path& folder) {
  return folder / "checkpoint.safetensors";
}

namespace {

Expected expected_of(const Graph& graph) {
  Expected out;
  for (const ParameterRow& row : parameter_table(graph))
    out[row.name] = {row.type.dtype, evaluate_shape(row.type, {})};
  return out;
}

}  // namespace

Checkpoint load_run(const std::filesystem::path& folder, const Graph& graph) {
  const std::filesystem::path file = checkpoint_file(folder);
  Checkpoint out = load_checkpoint(file);
  const Expected expected = expected_of(graph);
  require_precision(out.parameters, expected, file.string());
  check_compatible(out.parameters, expected, file.string());
  return out;
}

Checkpoint load_run_as(const std::filesystem::path& folder, const Graph& graph) {
  const std::filesystem::path file = checkpoint_file(folder);
  Checkpoint out = load_checkpoint(file);
  const Expected expected = expected_of(graph);
  for (auto& [name, tensor] : out.parameters)
    if (const auto want = expected.find(name);
        want != expected.end() && is_float(want->second.dtype) && is_float(tensor.dtype()))
      tensor = tensor.cast(want->second.dtype);
  check_compatible(out.parameters, expected, file.string());
  return out;
}

}  // namespace treadle
