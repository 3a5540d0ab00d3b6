#include "ir/eval/random_inputs.h"

namespace treadle {

double symmetric_uniform(std::mt19937_64& engine) {
  return static_cast<double>(engine() >> 11) * 0x1p-52 - 1;
}

std::vector<Tensor> random_inputs(const Graph& graph, const DimEnv& env, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<Tensor> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    Tensor tensor(node.types[0].dtype, evaluate_shape(node.types[0], env));
    std::int64_t classes = 2;
    if (node.attributes.has("classes")) classes = node.attributes.dim("classes").evaluate(env);
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      if (is_float(tensor.dtype()))
        tensor.set(i, symmetric_uniform(engine));
      else
        tensor.set_integer(
            i, static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(classes)));
    }
    out.push_back(std::move(tensor));
  }
  return out;
}

}  // namespace treadle
