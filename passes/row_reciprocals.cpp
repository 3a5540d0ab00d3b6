#include "passes/row_reciprocals.h"

#include <map>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "passes/graph_copy.h"

namespace treadle {

Graph with_row_reciprocals(const Graph& graph) {
  std::map<Value, Value> reciprocals;
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op != Op::div) return false;
    const Node& broadcast = graph.node(node.operands[1].node);
    if (broadcast.op != Op::broadcast) return false;
    const Value divisor = broadcast.operands[0];
    const Type& type = graph.type(divisor);
    const Op op = graph.node(divisor.node).op;
    if (type.rank() == 0 || type.rank() == node.types[0].rank() || !op_def(op).pointwise() ||
        !is_float(type.dtype))
      return false;
    const LocationScope scope(b, node.location);
    const auto [found, fresh] = reciprocals.try_emplace(divisor);
    if (fresh) {
      const Value one = b.constant(type, 1.0);
      found->second = b.div(one, map[divisor]);
    }
    const Value rows = b.clone(broadcast, {found->second});
    map.set({id, 0}, b.mul(map[node.operands[0]], rows));
    return true;
  });
}

}  // namespace treadle
