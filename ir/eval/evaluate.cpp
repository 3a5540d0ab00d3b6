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

std::size_t row_bytes(const Tensor& tensor) {
  std::size_t bytes = size_of(tensor.dtype());
  for (std::size_t i = 1; i < tensor.shape().size(); ++i)
    bytes *= static_cast<std::size_t>(tensor.shape()[i]);
  return bytes;
}

// Rows [begin, begin + shape[0]) in the shape that a step sees.
Tensor rows_of(const Tensor& from, std::int64_t begin, Shape shape) {
  Tensor out(from.dtype(), std::move(shape));
  std::memcpy(out.data(), from.data() + static_cast<std::size_t>(begin) * row_bytes(from),
              out.bytes());
  return out;
}

// The extents of a scan's bounds at each step.
class Bounds {
 public:
  Bounds(const ScanView& view, std::span<const Tensor* const> operands, std::int64_t length)
      : view_(view) {
    for (std::size_t j = 0; j < view.bounds.size(); ++j) {
      std::vector<std::int64_t> starts{0};
      for (std::int64_t t = 0; t < length; ++t)
        starts.push_back(starts.back() + operands[view.first_count() + j]->get_integer(t));
      starts_.push_back(std::move(starts));
    }
  }
  void bind(DimEnv& env, std::int64_t t) const {
    for (std::size_t j = 0; j < starts_.size(); ++j)
      if (const auto symbol = view_.bounds[j].dim.bare_symbol()) env[*symbol] = count(j, t);
  }
  std::int64_t count(std::size_t j, std::int64_t t) const {
    return starts_[j][static_cast<std::size_t>(t) + 1] - starts_[j][static_cast<std::size_t>(t)];
  }
  // The first row of step t of a sequence or output that the step sees as `inner`.
  std::int64_t start(const Type& inner, std::int64_t t) const {
    const ScanBound* bound = view_.bound_of(inner);
    if (bound == nullptr) return t;
    return starts_[static_cast<std::size_t>(bound - view_.bounds.data())]
                  [static_cast<std::size_t>(t)];
  }

 private:
  const ScanView& view_;
  std::vector<std::vector<std::int64_t>> starts_;
};

std::vector<Tensor> run_scan(const Node& node, std::span<const Tensor* const> operands,
                             const DimEnv& env, const Observer& observer) {
  const ScanView view(node);
  const std::int64_t length = view.length.evaluate(env);
  const Bounds bounds(view, operands, length);
  std::vector<Tensor> results;
  for (const Type& type : node.types) results.emplace_back(type.dtype, evaluate_shape(type, env));
  for (std::size_t i = 0; i < view.carries; ++i) results[i] = *operands[view.first_carry() + i];
  DimEnv inside = env;
  for (std::int64_t step = 0; step < length; ++step) {
    const std::int64_t t = view.reverse ? length - 1 - step : step;
    bounds.bind(inside, t);
    std::vector<Tensor> made;
    made.reserve(view.first_count());
    std::vector<const Tensor*> arguments;
    for (std::size_t i = 0; i < view.first_count(); ++i) {
      const Type& inner = view.body->type(view.body->input_value(i));
      const bool carry = i >= view.first_carry() && i < view.first_sequence();
      const Tensor& from = carry ? results[i - view.first_carry()] : *operands[i];
      if (i < view.first_sequence() && view.bound_of(inner) == nullptr)
        arguments.push_back(&from);
      else
        arguments.push_back(
            &made.emplace_back(rows_of(from, i < view.first_sequence() ? 0 : bounds.start(inner, t),
                                       evaluate_shape(inner, inside))));
    }
    std::vector<Tensor> out = run_graph(*view.body, arguments, inside, observer);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Type inner = view.body->output_type(i);
      if (i < view.carries && view.bound_of(inner) == nullptr) {
        results[i] = std::move(out[i]);
        continue;
      }
      const std::int64_t first = i < view.carries ? 0 : bounds.start(inner, t);
      std::memcpy(results[i].data() + static_cast<std::size_t>(first) * row_bytes(results[i]),
                  out[i].data(), out[i].bytes());
    }
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
      if (const auto symbol = type.dims[d].bare_symbol())
        env.try_emplace(*symbol, inputs[i]->shape()[d]);
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
