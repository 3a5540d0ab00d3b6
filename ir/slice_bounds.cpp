#include "ir/slice_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

// `most` has the largest values of symbols that a scan binds at each step.
void collect(const Graph& graph, const std::map<std::string, Dim>& most,
             std::vector<SliceBound>& out) {
  for (const Node& node : graph.nodes()) {
    std::map<std::string, Dim> inside = most;
    if (node.op == Op::scan)
      for (const ScanBound& bound : ScanView(node).bounds)
        if (const auto symbol = bound.dim.bare_symbol())
          inside.insert_or_assign(*symbol, bound.most.substitute(most));
    for (const Region& region : node.regions) collect(*region, inside, out);
    if (node.op != Op::slice) continue;
    const Dims& dims = graph.type(node.operands[0]).dims;
    const SliceBound bound{
        node.attributes.dim("start").substitute(most),
        node.attributes.dim("extent").substitute(most),
        dims[static_cast<std::size_t>(node.attributes.integer("axis"))].substitute(most),
        node.location};
    // The constant ones were checked when the node was made.
    if (bound.start.is_constant() && (bound.size - bound.start - bound.extent).is_constant())
      continue;
    const bool known = std::any_of(out.begin(), out.end(), [&](const SliceBound& other) {
      return other.start == bound.start && other.extent == bound.extent && other.size == bound.size;
    });
    if (!known) out.push_back(bound);
  }
}

}  // namespace

std::vector<SliceBound> slice_bounds(const Graph& graph) {
  std::vector<SliceBound> out;
  collect(graph, {}, out);
  return out;
}

void require_slices(const std::vector<SliceBound>& bounds, const DimEnv& env) {
  for (const SliceBound& bound : bounds) {
    const std::int64_t start = bound.start.evaluate(env), extent = bound.extent.evaluate(env);
    const std::int64_t size = bound.size.evaluate(env);
    if (extent <= 0 || (start >= 0 && start + extent <= size)) continue;
    std::set<std::string> symbols;
    for (const Dim* dim : {&bound.start, &bound.extent, &bound.size}) dim->collect_symbols(symbols);
    std::string values;
    for (const std::string& symbol : symbols)
      values += fmt::format("{}{} is {}", values.empty() ? "here " : ", ", symbol, env.at(symbol));
    throw_user_error("T0327",
                     fmt::format("[slice] elements {} to {} are outside a dimension of {}", start,
                                 start + extent, size),
                     values, bound.location);
  }
}

}  // namespace treadle
