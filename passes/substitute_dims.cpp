#include "passes/substitute_dims.h"

#include <algorithm>
#include <set>

#include "passes/graph_copy.h"

namespace treadle {

Dims substitute(const Dims& dims, const DimMap& symbols) {
  Dims out;
  for (const Dim& dim : dims) out.push_back(dim.substitute(symbols));
  return out;
}

Attributes substitute(const Attributes& attributes, const DimMap& symbols) {
  Attributes out = attributes;
  for (const auto& [name, value] : attributes)
    if (const auto* dims = std::get_if<Dims>(&value)) out.set(name, substitute(*dims, symbols));
  return out;
}

Value clone_with_dims(Builder& b, const Node& node, std::vector<Value> operands,
                      const DimMap& symbols) {
  const LocationScope scope(b, node.location);
  std::vector<Region> regions;
  for (const Region& region : node.regions)
    regions.push_back(std::make_shared<const Graph>(substitute(*region, symbols)));
  return b.add_node(node.op, std::move(operands), substitute(node.attributes, symbols),
                    std::move(regions));
}

Graph substitute(const Graph& graph, const DimMap& symbols) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    const Value first = clone_with_dims(b, node, map.all(node.operands), symbols);
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, {first.node, i});
    return true;
  });
}

namespace {
bool any_symbol(const Dims& dims, const std::function<bool(const std::string&)>& wanted) {
  std::set<std::string> symbols;
  for (const Dim& dim : dims) dim.collect_symbols(symbols);
  return std::any_of(symbols.begin(), symbols.end(), wanted);
}
}  // namespace

bool mentions(const Node& node, const std::function<bool(const std::string&)>& wanted) {
  for (const Type& type : node.types)
    if (any_symbol(type.dims, wanted)) return true;
  for (const auto& [name, value] : node.attributes)
    if (const auto* dims = std::get_if<Dims>(&value); dims != nullptr && any_symbol(*dims, wanted))
      return true;
  for (const Region& region : node.regions)
    for (const Node& inner : region->nodes())
      if (mentions(inner, wanted)) return true;
  return false;
}

}  // namespace treadle
