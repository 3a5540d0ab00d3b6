#include "passes/differentiate.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// The step with one more row, its number t, and its carried floats cut off from
// the past at t = K, 2K, ...
Graph cut_step(const ScanView& view, std::int64_t window) {
  const Graph& body = *view.body;
  Graph out;
  out.stage = body.stage;
  Builder b(out);
  ValueMap map(body);
  std::vector<Value> carried;
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    const Value v = body.input_value(i);
    map.set(v, b.argument(body.type(v)));
  }
  const Type index{DType::i64, {}};
  const Value t = b.argument(index);
  const Value k = b.constant(index, static_cast<double>(window));
  const Value multiple = b.eq(b.mul(b.div(t, k), k), t);
  const Value cut = b.logical_and(multiple, b.gt(t, b.constant(index, 0)));
  for (std::size_t i = view.first_carry(); i < view.first_sequence(); ++i) {
    const Value v = map[body.input_value(i)];
    const Type& type = b.type(v);
    if (!is_float(type.dtype)) continue;
    const Value wide = b.broadcast_scalar(cut, Dims(type.dims));
    map.set(body.input_value(i), b.select(wide, b.stop_gradient(v), v));
  }
  for (NodeId id = 0; id < body.size(); ++id)
    if (body.node(id).op != Op::argument) copy_node(b, body, id, map);
  for (const Output& output : body.outputs()) out.add_output("", map[output.value]);
  return out;
}

}  // namespace

Graph truncate_bptt(const Graph& graph, std::int64_t window) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op != Op::scan) return false;
    const LocationScope scope(b, node.location);
    const ScanView view(node);
    std::vector<Value> operands = map.all(node.operands);
    // Counted from the first step that runs: a reverse scan starts at its end.
    Value t = b.iota({view.length}, 0, DType::i64);
    if (view.reverse) t = b.reverse(t, 0);
    operands.push_back(t);
    const Value first = b.add_node(Op::scan, std::move(operands), node.attributes,
                                   {std::make_shared<const Graph>(cut_step(view, window))});
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
    return true;
  });
}

}  // namespace treadle
