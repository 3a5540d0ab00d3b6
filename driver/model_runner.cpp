#include "driver/model_runner.h"

#include <utility>
#include <vector>

#include "driver/compile.h"
#include "passes/batch.h"

namespace treadle {

void add_state_and_seeds(const Graph& graph, std::map<std::string, Tensor>& tensors,
                         const DimEnv& env, std::uint64_t seed) {
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (node.op == Op::parameter) continue;
    const std::string name = node.attributes.string("name");
    if (tensors.contains(name)) continue;
    const std::string role = node.attributes.string("role", "");
    Tensor made(node.types[0].dtype, evaluate_shape(node.types[0], env));
    if (role == "seed") made.set_integer(0, static_cast<std::int64_t>(seed));
    if (role == "example")
      for (std::int64_t i = 0; i < made.size(); ++i) made.set_integer(i, i);
    tensors.emplace(name, std::move(made));
  }
}

ModelRunner::ModelRunner(const Graph& model, std::map<std::string, Tensor> parameters,
                         const CompileOptions& options, int threads)
    : graph_(batch(model)),
      program_(compile(graph_, {}, with_fixed_parameters(options, graph_))),
      team_(threads) {
  set_parameters(std::move(parameters));
}

void ModelRunner::set_parameters(std::map<std::string, Tensor> parameters) {
  program_->fix(std::make_shared<const std::map<std::string, Tensor>>(std::move(parameters)));
}

std::map<std::string, Tensor> ModelRunner::run(const std::map<std::string, Tensor>& inputs,
                                               std::int64_t examples) {
  std::map<std::string, Tensor> all = inputs;
  add_state_and_seeds(graph_, all, {{"B", examples}}, 0);
  std::vector<Tensor> results = treadle::run(*program_, inputs_of(*program_, all), team_);
  std::map<std::string, Tensor> out;
  for (std::size_t i = 0; i < results.size(); ++i)
    out.emplace(program_->outputs()[i].name, std::move(results[i]));
  return out;
}

}  // namespace treadle
