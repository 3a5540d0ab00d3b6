#include "backends/llvm/fused_units.h"

#include <algorithm>

#include "ir/op_def.h"

namespace treadle {

bool is_flat(const Graph& body, const Dims& domain) {
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    const Dims& dims = node.types[0].dims;
    if (is_reduction(node.op)) {
      if (node.attributes.integers("axes").size() != domain.size()) return false;
      continue;
    }
    if (node.op == Op::broadcast) {
      if (body.type(node.operands[0]).rank() != 0) return false;
    } else if (node.op == Op::constant) {
      if (node.attributes.tensor("value").size() != 1) return false;
    } else if (node.op != Op::argument && node.op != Op::dimension &&
               !op_def(node.op).pointwise()) {
      return false;
    }
    if (!dims.empty() && dims != domain) return false;
  }
  return std::all_of(body.outputs().begin(), body.outputs().end(), [&](const Output& output) {
    const Dims& dims = body.type(output.value).dims;
    return dims == domain || (dims.empty() && is_reduction(body.node(output.value.node).op));
  });
}

}  // namespace treadle
