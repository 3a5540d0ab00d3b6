#include "passes/residual_cut.h"

#include <algorithm>
// g++ 12 takes the empty optional in Boost's edge iterator for uninitialised once
// the search is inlined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <limits>
#include <set>

#include "ir/bgl.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

using Amount = std::int64_t;
constexpr Amount unbounded = std::numeric_limits<Amount>::max() / 4;
constexpr std::int64_t usual_extent = 16;

using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using Network = boost::adjacency_list<
    boost::vecS, boost::vecS, boost::directedS,
    boost::property<
        boost::vertex_color_t, boost::default_color_type,
        boost::property<boost::vertex_distance_t, long,
                        boost::property<boost::vertex_predecessor_t, Traits::edge_descriptor>>>,
    boost::property<
        boost::edge_capacity_t, Amount,
        boost::property<boost::edge_residual_capacity_t, Amount,
                        boost::property<boost::edge_reverse_t, Traits::edge_descriptor>>>>;

Amount elements(const Node& node) {
  Amount out = 0;
  for (const Type& type : node.types) {
    std::set<std::string> symbols;
    for (const Dim& dim : type.dims) dim.collect_symbols(symbols);
    DimEnv env;
    for (const std::string& symbol : symbols) env[symbol] = usual_extent;
    out += std::max<Amount>(type.count().evaluate(env), 1);
  }
  return out;
}

bool may_repeat(const Node& node) {
  const Family family = op_def(node.op).family;
  return node.op == Op::dimension || node.op == Op::constant || family == Family::pointwise ||
         family == Family::random || family == Family::shape || family == Family::reduce;
}

// Each node of the step is an edge from its `in` to its `out`, whose capacity is
// the price of keeping it.
class Cut {
 public:
  explicit Cut(const ResidualProblem& problem)
      : problem_(problem), network_(2 * problem.graph.size() + 2) {}

  std::vector<bool> solve() {
    const Graph& graph = problem_.graph;
    const auto [first, last] = vertices(graph);
    for (auto at = first; at != last; ++at) {
      const NodeId id = *at;
      const Node& node = graph.node(id);
      if (!problem_.forward[id]) continue;
      connect(in(id), out(id), problem_.free[id] ? 0 : elements(node));
      const bool given = problem_.free[id] || node.operands.empty() || !may_repeat(node);
      if (given) connect(source(), in(id), unbounded);
      const auto [begin, end] = out_edges(id, graph);
      for (auto edge = begin; !given && edge != end; ++edge)
        connect(out(target(*edge, graph)), in(id), unbounded);
    }
    for (const NodeId id : read_by_gradient()) connect(out(id), sink(), unbounded);
    boost::boykov_kolmogorov_max_flow(network_, source(), sink());
    const std::vector<bool> behind = behind_cut();
    std::vector<bool> again(graph.size(), false);
    for (NodeId id = 0; id < graph.size(); ++id)
      again[id] = problem_.forward[id] && behind[in(id)] && !graph.node(id).operands.empty();
    return again;
  }

 private:
  std::size_t in(NodeId id) const { return 2 * std::size_t{id}; }
  std::size_t out(NodeId id) const { return 2 * std::size_t{id} + 1; }
  std::size_t source() const { return 2 * problem_.graph.size(); }
  std::size_t sink() const { return 2 * problem_.graph.size() + 1; }

  void connect(std::size_t from, std::size_t to, Amount amount) {
    const auto forward = boost::add_edge(from, to, network_).first;
    const auto backward = boost::add_edge(to, from, network_).first;
    boost::put(boost::edge_capacity, network_, forward, amount);
    boost::put(boost::edge_capacity, network_, backward, Amount{0});
    boost::put(boost::edge_reverse, network_, forward, backward);
    boost::put(boost::edge_reverse, network_, backward, forward);
  }

  // Nodes of the step that a needed node of the gradient reads.
  std::set<NodeId> read_by_gradient() const {
    const Graph& graph = problem_.graph;
    std::vector<bool> needed(graph.size(), false);
    for (const Output& output : graph.outputs())
      if (!problem_.forward[output.value.node]) needed[output.value.node] = true;
    std::set<NodeId> out;
    for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
      if (!needed[id] || problem_.forward[id]) continue;
      for (const Value v : graph.node(id).operands) {
        needed[v.node] = true;
        if (problem_.forward[v.node]) out.insert(v.node);
      }
    }
    return out;
  }

  // What still reaches the sink when the flow is at its largest: the smallest
  // such side, so that as little as possible is computed again.
  std::vector<bool> behind_cut() {
    std::vector<bool> behind(boost::num_vertices(network_), false);
    std::vector<std::size_t> open{sink()};
    behind[sink()] = true;
    while (!open.empty()) {
      const std::size_t at = open.back();
      open.pop_back();
      for (auto [edge, end] = boost::out_edges(at, network_); edge != end; ++edge) {
        const auto back = boost::get(boost::edge_reverse, network_, *edge);
        const std::size_t from = boost::target(*edge, network_);
        if (behind[from] || boost::get(boost::edge_residual_capacity, network_, back) <= 0)
          continue;
        behind[from] = true;
        open.push_back(from);
      }
    }
    return behind;
  }

  const ResidualProblem& problem_;
  Network network_;
};

}  // namespace

std::vector<bool> computed_again(const ResidualProblem& problem) { return Cut(problem).solve(); }

}  // namespace treadle
