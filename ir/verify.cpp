#include "ir/verify.h"

#include <fmt/format.h>

#include <set>

#include "ir/diagnostic.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

void verify_node(const Graph& graph, NodeId id, bool region, Stage stage);

void verify_nodes(const Graph& graph, bool region, Stage stage) {
  for (NodeId id = 0; id < graph.size(); ++id) verify_node(graph, id, region, stage);
  for (const NodeId id : graph.inputs())
    ensure(id < graph.size() && graph.node(id).operands.empty(), "verify",
           "an input that is no source");
  for (const Output& output : graph.outputs())
    ensure(output.value.node < graph.size() &&
               output.value.index < graph.node(output.value.node).types.size(),
           "verify", "an output that is no value");
}

void verify_node(const Graph& graph, NodeId id, bool region, Stage stage) {
  const Node& node = graph.node(id);
  const OpDef& def = op_def(node.op);
  const auto check = [&](bool good, std::string_view what) {
    if (!good) internal_error("verify", fmt::format("node {} ({}): {}", id, def.name, what));
  };
  check(def.operands < 0 || def.operands == static_cast<int>(node.operands.size()),
        "wrong number of operands");
  std::vector<Type> types;
  for (const Value v : node.operands) {
    check(v.node < id, "an operand stands behind its user");
    check(v.index < graph.node(v.node).types.size(), "an operand that is no output");
    types.push_back(graph.type(v));
  }
  check(region || node.op != Op::argument, "an argument outside a region");
  check(!region || (node.op != Op::input && node.op != Op::parameter),
        "an input or parameter inside a region");
  check(node.op != Op::fused || stage >= Stage::optimised, "a fused node before 'optimised'");
  check((node.op != Op::gradient && node.op != Op::tangent) || stage == Stage::one_example,
        "a derivative that was not expanded");
  std::vector<Type> inferred;
  try {
    inferred = def.infer({types, node.attributes, node.regions});
  } catch (const InferError& error) {
    check(false, error.message);
  }
  check(inferred == node.types, "its types are not those that its operands give");
  for (const Region& body : node.regions) verify_nodes(*body, true, stage);
}

}  // namespace

void verify(const Graph& graph) {
  verify_nodes(graph, false, graph.stage);
  std::set<std::string> names;
  for (const Output& output : graph.outputs())
    ensure(names.insert(output.name).second, "verify",
           "two outputs are named '" + output.name + "'");
}

}  // namespace treadle
