#include "passes/place.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "passes/graph_copy.h"

namespace treadle {
namespace {

using Choose = std::function<std::string_view(const Graph&, NodeId)>;

// A library's product starts from zero: a kernel adds it to what LLVM's would start from.
void add_behind(Builder& b, Node node, NodeId id, ValueMap& map) {
  const Value start = map[node.operands[2]];
  const Type type = node.types[0];
  node.op = Op::matmul;
  node.operands.pop_back();
  const Value product = copy_node(b, node, id, map);
  Graph body;
  Builder inside(body);
  const Value x = inside.argument(type), y = inside.argument(type);
  body.add_output("", inside.add(x, y));
  const LocationScope scope(b, node.location);
  map.set({id, 0}, b.add_node(Op::fused, {start, product}, {{"domain", type.dims}},
                              {std::make_shared<const Graph>(std::move(body))}));
}

// `choose` names the backend of a product; an empty name leaves it alone. A
// library is told the extents once a run: in a loop whose steps have each their
// own, products stay with LLVM.
Graph with_backends(const Graph& graph, const Choose& choose) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    Node node = graph.node(id);
    if (is_product(node.op)) {
      const std::string_view name = choose(graph, id);
      node.attributes.erase(backend_attribute);
      if (!name.empty()) node.attributes.set(backend_attribute, std::string(name));
      if (!name.empty() && node.op == Op::matmul_add) {
        add_behind(b, std::move(node), id, map);
        return true;
      }
    } else if (node.op == Op::scan && !node.attributes.has("bound")) {
      node = with_regions(node, [&](const Graph& step) { return with_backends(step, choose); });
    } else {
      return false;
    }
    copy_node(b, node, id, map);
    return true;
  });
}

DimEnv typical_extents(const Graph& graph) {
  DimEnv env;
  for (const std::string& symbol : graph.symbols()) env[symbol] = symbol == "B" ? 32 : 64;
  return env;
}

// Symbols that have other values in each batch: the numbers of rows of examples
// of different lengths.
std::set<std::string> new_each_batch(const Graph& graph) {
  std::set<std::string> out;
  for (const NodeId id : graph.inputs()) {
    const Node& input = graph.node(id);
    if (input.attributes.string("role", "") != "ragged") continue;
    for (const Dim& dim : input.types[0].dims) dim.collect_symbols(out);
  }
  out.erase("B");
  return out;
}

bool mentions(const Graph& graph, const Node& node, const std::set<std::string>& symbols) {
  return std::any_of(node.operands.begin(), node.operands.end(), [&](Value v) {
    const Dims& dims = graph.type(v).dims;
    return std::any_of(dims.begin(), dims.end(), [&](const Dim& dim) {
      return std::any_of(symbols.begin(), symbols.end(),
                         [&](const std::string& symbol) { return dim.mentions(symbol); });
    });
  });
}

}  // namespace

Graph place(const Graph& graph, BackendModels models, std::vector<PlacementReport>* reports) {
  if (models.size() < 2) return graph;
  const DimEnv env = typical_extents(graph);
  const std::set<std::string> changing = new_each_batch(graph);
  return with_backends(graph, [&](const Graph& region, NodeId id) {
    const Node& node = region.node(id);
    PlacementReport report{node.location, product_size(region, node, env), {}, {}, {}};
    std::string_view best;
    if (mentions(region, node, changing)) {
      report.reason = "its extents are new in each batch";
    } else {
      double least = 0;
      for (const BackendModel* model : models) {
        if (model != models[0] && !model->claims(region, id)) continue;
        const double seconds = model->seconds(region, id, env);
        report.predictions.push_back({model->name(), seconds});
        if (model == models[0]) {
          least = worth_leaving * seconds;
        } else if (seconds < least) {
          least = seconds;
          best = model->name();
        }
      }
      if (report.predictions.size() == 1) report.reason = "no other can run it";
    }
    report.chosen = best.empty() ? models[0]->name() : best;
    if (reports != nullptr) reports->push_back(std::move(report));
    return best;
  });
}

Graph place_all(const Graph& graph, const BackendModel& model) {
  return with_backends(graph, [&](const Graph& region, NodeId id) {
    return model.claims(region, id) ? model.name() : std::string_view{};
  });
}

}  // namespace treadle
