// Constant folding and the neutral elements of arithmetic.
#include <algorithm>

#include "ir/eval/evaluate.h"
#include "passes/simplify_rules.h"

namespace treadle {

const Tensor* splat_element(const Graph& graph, Value v) {
  const Node& node = graph.node(v.node);
  if (node.op != Op::constant) return nullptr;
  const Tensor& value = node.attributes.tensor("value");
  return value.size() == 1 ? &value : nullptr;
}

Value make_splat(Builder& b, const Tensor& element, Dims dims) {
  Attributes attributes{{"dims", std::move(dims)}};
  attributes.set("value", std::make_shared<const Tensor>(element.reshaped({})));
  return b.add_node(Op::constant, {}, std::move(attributes));
}

namespace {

bool is_splat(const Graph& graph, Value v, double value) {
  const Tensor* element = splat_element(graph, v);
  return element != nullptr && element->get(0) == value;
}

// A pointwise node on constants, computed for one element.
std::optional<Value> fold(Builder& b, const Node& node, const std::vector<Value>& operands) {
  if (!op_def(node.op).pointwise() || operands.empty()) return {};
  Graph one;
  Builder builder(one);
  std::vector<Value> elements;
  for (const Value v : operands) {
    const Tensor* element = splat_element(b.graph(), v);
    if (element == nullptr) return {};
    elements.push_back(make_splat(builder, *element, {}));
  }
  one.add_output("value", builder.add_node(node.op, elements, node.attributes));
  const std::vector<Tensor> result = evaluate(one, std::span<const Tensor>{});
  return make_splat(b, result[0], node.types[0].dims);
}

}  // namespace

std::optional<Value> simplify_algebra(Builder& b, const Node& node,
                                      const std::vector<Value>& operands) {
  if (const auto folded = fold(b, node, operands)) return folded;
  const Graph& graph = b.graph();
  const auto is = [&](std::size_t i, double value) { return is_splat(graph, operands[i], value); };
  switch (node.op) {
    case Op::add:
      if (is(1, 0)) return operands[0];
      if (is(0, 0)) return operands[1];
      return {};
    case Op::sub:
      if (is(1, 0)) return operands[0];
      return {};
    case Op::mul:
      if (is(1, 1)) return operands[0];
      if (is(0, 1)) return operands[1];
      if (is_float(node.types[0].dtype)) return {};
      if (is(1, 0)) return operands[1];
      if (is(0, 0)) return operands[0];
      return {};
    case Op::div:
    case Op::pow:
      if (is(1, 1)) return operands[0];
      return {};
    case Op::neg: {
      const Node& inner = graph.node(operands[0].node);
      if (inner.op == Op::neg) return inner.operands[0];
      return {};
    }
    case Op::select:
      if (is(0, 1) || operands[1] == operands[2]) return operands[1];
      if (is(0, 0)) return operands[2];
      return {};
    case Op::cast:
      if (graph.type(operands[0]).dtype == node.types[0].dtype) return operands[0];
      return {};
    case Op::dimension: {
      const auto extent = node.attributes.dim("dim").constant();
      if (!extent) return {};
      Tensor element(node.types[0].dtype, {});
      if (is_float(element.dtype()))
        element.set(0, static_cast<double>(*extent));
      else
        element.set_integer(0, *extent);
      return make_splat(b, element, {});
    }
    default: return {};
  }
}

}  // namespace treadle
