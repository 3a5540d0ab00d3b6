#include "driver/inspect/costs.h"

#include <set>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

std::vector<Type> operand_types(const Graph& graph, const Node& node) {
  std::vector<Type> out;
  for (const Value v : node.operands) out.push_back(graph.type(v));
  return out;
}

Dim body_sum(const Graph& body, Dim (*cost)(const Graph&, NodeId)) {
  Dim out;
  for (NodeId id = 0; id < body.size(); ++id) out = out + cost(body, id);
  return out;
}

// What a kernel reads of argument `i`: the slices, when it reads nothing else.
Dim argument_bytes(const Graph& body, std::size_t i) {
  const NodeId argument = body.inputs()[i];
  const Type& whole = body.node(argument).types[0];
  Dim slices;
  for (const Node& node : body.nodes())
    for (const Value v : node.operands) {
      if (v.node != argument) continue;
      if (node.op != Op::slice) return type_bytes(whole);
      slices = slices + type_bytes(node.types[0]);
    }
  for (const Output& output : body.outputs())
    if (output.value.node == argument) return type_bytes(whole);
  // Slices that overlap still read no more than there is.
  const auto all = type_bytes(whole).constant(), read = slices.constant();
  return all && read && *read > *all ? Dim(*all) : slices;
}

Dim results(const Node& node) {
  Dim out;
  for (const Type& type : node.types) out = out + type_bytes(type);
  return out;
}

}  // namespace

Dim type_bytes(const Type& type) {
  return type.count() * Dim(static_cast<std::int64_t>(size_of(type.dtype)));
}

Dim node_flops(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op == Op::scan) return ScanView(node).length * body_sum(*node.regions[0], node_flops);
  const OpDef& def = op_def(node.op);
  const Dim own = def.flops == nullptr ? Dim() : def.flops(node, operand_types(graph, node));
  return node.regions.empty() ? own : own + body_sum(*node.regions[0], node_flops);
}

Dim product_flops(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op == Op::scan) return ScanView(node).length * body_sum(*node.regions[0], product_flops);
  if (!is_product(node.op) && node.op != Op::attention && node.op != Op::attention_gradient)
    return {};
  return op_def(node.op).flops(node, operand_types(graph, node));
}

Dim node_bytes(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  switch (node.op) {
    case Op::input:
    case Op::parameter:
    case Op::argument: return {};
    case Op::scan: return ScanView(node).length * body_sum(*node.regions[0], node_bytes);
    case Op::gather:
      return type_bytes(graph.type(node.operands[1])) + results(node) + results(node);
    case Op::scatter_add:
      return type_bytes(graph.type(node.operands[1])) + results(node) +
             type_bytes(graph.type(node.operands[2])) * Dim(2);
    case Op::slice: return results(node) + results(node);
    default: break;
  }
  Dim out = results(node);
  std::set<Value> seen;
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    if (!seen.insert(node.operands[i]).second) continue;
    out = out + (node.op == Op::fused ? argument_bytes(*node.regions[0], i)
                                      : type_bytes(graph.type(node.operands[i])));
  }
  return out;
}

}  // namespace treadle
