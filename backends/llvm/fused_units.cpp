#include "backends/llvm/fused_units.h"

#include <algorithm>
#include <map>
#include <optional>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace treadle {

namespace {

// Columns of something wider?
bool is_part(const Node& node) {
  return node.op == Op::slice &&
         node.attributes.integer("axis") + 1 == static_cast<std::int64_t>(node.types[0].rank());
}

}  // namespace

Graph with_parts_at_start(const Graph& body, std::vector<Dim>& starts) {
  starts.assign(body.inputs().size(), Dim(0));
  if (std::none_of(body.nodes().begin(), body.nodes().end(), is_part)) return body;
  std::map<NodeId, std::optional<Dim>> parts;  // by argument: where all that read it begin
  for (const Node& node : body.nodes())
    for (const Value v : node.operands) {
      if (body.node(v.node).op != Op::argument) continue;
      std::optional<Dim> start;
      if (is_part(node)) start = node.attributes.dim("start");
      const auto [found, first] = parts.try_emplace(v.node, start);
      if (!first && found->second != start) found->second.reset();
    }
  for (const Output& output : body.outputs()) parts[output.value.node].reset();
  for (std::size_t i = 0; i < starts.size(); ++i)
    if (const auto found = parts.find(body.inputs()[i]); found != parts.end() && found->second)
      starts[i] = *found->second;
  Graph out;
  Builder b(out);
  std::map<Value, Value> map;
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    std::vector<Value> operands;
    for (const Value v : node.operands) operands.push_back(map.at(v));
    const auto found = is_part(node) ? parts.find(node.operands[0].node) : parts.end();
    if (node.op == Op::argument)
      map[{id, 0}] = b.argument(node.types[0]);
    else if (found != parts.end() && found->second)
      map[{id, 0}] = b.slice(operands[0], node.attributes.integer("axis"), Dim(0),
                             node.attributes.dim("extent"));
    else
      map[{id, 0}] = b.clone(node, std::move(operands));
  }
  for (const Output& output : body.outputs()) out.add_output(output.name, map.at(output.value));
  return out;
}

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
