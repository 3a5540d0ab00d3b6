#include "ir/graph.h"

#include "ir/diagnostic.h"

namespace treadle {

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::one_example: return "one-example";
    case Stage::batched: return "batched";
    case Stage::differentiated: return "differentiated";
    case Stage::optimised: return "optimised";
    case Stage::placed: return "placed";
  }
  return "one-example";
}

void Graph::add_output(std::string output_name, Value value) {
  ensure(value.valid() && value.node < nodes_.size(), "graph", "an output without a value");
  outputs_.push_back({std::move(output_name), value});
}

Value Graph::output(std::string_view output_name) const {
  for (const Output& output : outputs_)
    if (output.name == output_name) return output.value;
  return {};
}

Value Graph::input(std::string_view input_name) const {
  for (const NodeId id : inputs_)
    if (nodes_[id].attributes.string("name", "") == input_name) return {id, 0};
  return {};
}

std::set<std::string> Graph::symbols() const {
  std::set<std::string> out;
  for (const NodeId id : inputs_)
    for (const Dim& dim : nodes_[id].types[0].dims) dim.collect_symbols(out);
  return out;
}

std::vector<std::vector<std::uint32_t>> count_uses(const Graph& graph) {
  std::vector<std::vector<std::uint32_t>> uses;
  uses.reserve(graph.size());
  for (const Node& node : graph.nodes()) uses.emplace_back(node.types.size(), 0U);
  for (const Node& node : graph.nodes())
    for (const Value v : node.operands) ++uses[v.node][v.index];
  for (const Output& output : graph.outputs()) ++uses[output.value.node][output.value.index];
  return uses;
}

bool same_graph(const Graph& a, const Graph& b) {
  if (a.size() != b.size() || a.inputs() != b.inputs() || a.stage != b.stage) return false;
  if (a.outputs().size() != b.outputs().size()) return false;
  for (std::size_t i = 0; i < a.outputs().size(); ++i)
    if (a.outputs()[i].name != b.outputs()[i].name || a.outputs()[i].value != b.outputs()[i].value)
      return false;
  for (NodeId id = 0; id < a.size(); ++id) {
    const Node& x = a.node(id);
    const Node& y = b.node(id);
    if (x.op != y.op || x.operands != y.operands || x.types != y.types ||
        !(x.attributes == y.attributes) || x.regions.size() != y.regions.size())
      return false;
    for (std::size_t r = 0; r < x.regions.size(); ++r)
      if (x.regions[r] != y.regions[r] && !same_graph(*x.regions[r], *y.regions[r])) return false;
  }
  return true;
}

}  // namespace treadle
