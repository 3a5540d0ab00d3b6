#include "ir/eval/evaluate.h"

#include <fmt/format.h>

#include <cstring>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

struct Observer {
  EvaluateObserver function = nullptr;
  void* context = nullptr;
};

std::vector<Tensor> run_graph(const Graph& graph, std::span<const Tensor* const> inputs,
                              const DimEnv& env, const Observer& observer);

Tensor row_of(const Tensor& stacked, std::int64_t t) {
  Tensor out(stacked.dtype(), Shape(stacked.shape().begin() + 1, stacked.shape().end()));
  std::memcpy(out.data(), stacked.data() + static_cast<std::size_t>(t) * out.bytes(), out.bytes());
  return out;
}

std::vector<Tensor> run_scan(const Node& node, std::span<const Tensor* const> operands,
                             const DimEnv& env, const Observer& observer) {
  const ScanView view(node);
  const std::int64_t length = view.length.evaluate(env);
  std::vector<Tensor> results;
  for (const Type& type : node.types) results.emplace_back(type.dtype, evaluate_shape(type, env));
  for (std::size_t i = 0; i < view.carries; ++i) results[i] = *operands[view.first_carry() + i];
  for (std::int64_t step = 0; step < length; ++step) {
    const std::int64_t t = view.reverse ? length - 1 - step : step;
    std::vector<Tensor> rows;
    rows.reserve(view.sequences);
    std::vector<const Tensor*> arguments(operands.begin(),
                                         operands.begin() + static_cast<long>(view.constants));
    for (std::size_t i = 0; i < view.carries; ++i) arguments.push_back(&results[i]);
    for (std::size_t i = 0; i < view.sequences; ++i) {
      rows.push_back(row_of(*operands[view.first_sequence() + i], t));
      arguments.push_back(&rows.back());
    }
    std::vector<Tensor> out = run_graph(*view.body, arguments, env, observer);
    for (std::size_t i = view.carries; i < out.size(); ++i)
      std::memcpy(results[i].data() + static_cast<std::size_t>(t) * out[i].bytes(), out[i].data(),
                  out[i].bytes());
    for (std::size_t i = 0; i < view.carries; ++i) results[i] = std::move(out[i]);
  }
  return results;
}

std::vector<Tensor> run_pointwise(const Node& node, const Graph& graph,
                                  std::span<const Tensor* const> operands, const DimEnv& env) {
  ScalarBuilder scalars;
  std::vector<Scalar> arguments;
  std::vector<const std::byte*> data;
  for (std::uint32_t i = 0; i < operands.size(); ++i) {
    arguments.push_back(scalars.argument(i, graph.type(node.operands[i]).dtype));
    data.push_back(operands[i]->data());
  }
  const Type& type = node.types[0];
  const ScalarProgram program =
      scalars.finish(op_def(node.op).scalar(scalars, arguments, type.dtype));
  std::vector<Tensor> results;
  results.emplace_back(type.dtype, evaluate_shape(type, env));
  const std::vector<std::int64_t> strides(operands.size(), 1);
  run_scalar_program(program, results[0].size(), data, strides, results[0].data());
  return results;
}

std::vector<Tensor> run_node(const Node& node, const Graph& graph,
                             std::span<const Tensor* const> operands, const DimEnv& env,
                             const Observer& observer) {
  if (node.op == Op::scan) return run_scan(node, operands, env, observer);
  if (node.op == Op::fused) return run_graph(*node.regions[0], operands, env, observer);
  const OpDef& def = op_def(node.op);
  if (def.pointwise()) return run_pointwise(node, graph, operands, env);
  ensure(def.evaluate != nullptr, def.name, "the record has no evaluation");
  std::vector<Tensor> results;
  for (const Type& type : node.types) results.emplace_back(type.dtype, evaluate_shape(type, env));
  EvaluateContext context{node, operands, results, env};
  def.evaluate(context);
  return results;
}

std::vector<Tensor> run_graph(const Graph& graph, std::span<const Tensor* const> inputs,
                              const DimEnv& env, const Observer& observer) {
  ensure(inputs.size() == graph.inputs().size(), "evaluate", "wrong number of inputs");
  std::vector<std::vector<Tensor>> values(graph.size());
  std::vector<const Tensor*> given(graph.size(), nullptr);
  for (std::size_t i = 0; i < inputs.size(); ++i) given[graph.inputs()[i]] = inputs[i];
  const auto tensor_of = [&](Value v) {
    return given[v.node] != nullptr ? given[v.node] : &values[v.node][v.index];
  };
  // A value is dropped after its last use, so that long graphs fit in memory.
  std::vector<NodeId> last_use(graph.size(), 0);
  for (NodeId id = 0; id < graph.size(); ++id)
    for (const Value v : graph.node(id).operands) last_use[v.node] = id;
  for (const Output& output : graph.outputs()) last_use[output.value.node] = UINT32_MAX;
  for (NodeId id = 0; id < graph.size(); ++id) {
    if (given[id] != nullptr) continue;
    const Node& node = graph.node(id);
    std::vector<const Tensor*> operands;
    for (const Value v : node.operands) operands.push_back(tensor_of(v));
    values[id] = run_node(node, graph, operands, env, observer);
    if (observer.function != nullptr) observer.function(observer.context, node, values[id]);
    for (const Value v : node.operands)
      if (last_use[v.node] == id) values[v.node].clear();
  }
  std::vector<Tensor> out;
  for (const Output& output : graph.outputs()) out.push_back(*tensor_of(output.value));
  return out;
}

}  // namespace

DimEnv bind_symbols(const Graph& graph, std::span<const Tensor* const> inputs) {
  DimEnv env;
  ensure(inputs.size() == graph.inputs().size(), "evaluate", "wrong number of inputs");
  const auto fail = [&](std::size_t i, const std::string& what) {
    const Node& node = graph.node(graph.inputs()[i]);
    throw_user_error("T0950",
                     fmt::format("input '{}' is {}: {}", node.attributes.string("name", ""),
                                 to_string(node.types[0]), what));
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = graph.node(graph.inputs()[i]).types[0];
    if (type.dtype != inputs[i]->dtype())
      fail(i, fmt::format("the tensor's elements are {}", to_string(inputs[i]->dtype())));
    if (type.rank() != inputs[i]->shape().size())
      fail(i, fmt::format("the tensor has {} dimensions", inputs[i]->shape().size()));
    for (std::size_t d = 0; d < type.rank(); ++d) {
      const auto& terms = type.dims[d].terms();
      const bool bare = terms.size() == 1 && terms[0].coefficient == 1 &&
                        terms[0].atoms.size() == 1 &&
                        terms[0].atoms[0].kind == Dim::AtomKind::symbol;
      if (bare) env.try_emplace(terms[0].atoms[0].name, inputs[i]->shape()[d]);
    }
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = graph.node(graph.inputs()[i]).types[0];
    const Shape expected = evaluate_shape(type, env);
    if (expected != inputs[i]->shape())
      fail(i, fmt::format("the tensor is [{}] where [{}] is expected",
                          fmt::join(inputs[i]->shape(), ", "), fmt::join(expected, ", ")));
  }
  return env;
}

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor* const> inputs,
                             const DimEnv& env) {
  return run_graph(graph, inputs, env, {});
}

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor* const> inputs,
                             const DimEnv& env, EvaluateObserver observer, void* context) {
  return run_graph(graph, inputs, env, {observer, context});
}

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
  return evaluate(graph, pointers, bind_symbols(graph, pointers));
}

}  // namespace treadle
