// Boost.Graph's view of a Graph, without a copy: vertices are node numbers,
// edges lead from a node to its operands, one an operand, so that mul(x, x) has
// two. Models VertexListGraph and IncidenceGraph. Boost's topological_sort thus
// writes operands before users.
#pragma once
#include <boost/graph/graph_traits.hpp>
#include <boost/graph/properties.hpp>
#include <boost/iterator/counting_iterator.hpp>
#include <boost/iterator/transform_iterator.hpp>
#include <boost/property_map/property_map.hpp>
#include <utility>

#include "ir/graph.h"

namespace treadle {

struct OperandEdge {
  NodeId user = 0;
  std::uint32_t operand = 0;
  friend auto operator<=>(const OperandEdge&, const OperandEdge&) = default;
};

struct MakeOperandEdge {
  NodeId user = 0;
  OperandEdge operator()(std::uint32_t operand) const { return {user, operand}; }
};

struct BglCategory : boost::vertex_list_graph_tag, boost::incidence_graph_tag {};

}  // namespace treadle

namespace boost {

template <>
struct graph_traits<treadle::Graph> {
  using vertex_descriptor = treadle::NodeId;
  using edge_descriptor = treadle::OperandEdge;
  using directed_category = directed_tag;
  using edge_parallel_category = allow_parallel_edge_tag;
  using traversal_category = treadle::BglCategory;
  using vertices_size_type = std::size_t;
  using edges_size_type = std::size_t;
  using degree_size_type = std::size_t;
  using vertex_iterator = counting_iterator<treadle::NodeId>;
  using out_edge_iterator =
      transform_iterator<treadle::MakeOperandEdge, counting_iterator<std::uint32_t>>;
  static vertex_descriptor null_vertex() { return UINT32_MAX; }
};

template <>
struct property_map<treadle::Graph, vertex_index_t> {
  using type = typed_identity_property_map<treadle::NodeId>;
  using const_type = type;
};

}  // namespace boost

namespace treadle {

using BglTraits = boost::graph_traits<Graph>;

inline std::pair<BglTraits::vertex_iterator, BglTraits::vertex_iterator> vertices(
    const Graph& graph) {
  return {BglTraits::vertex_iterator(0),
          BglTraits::vertex_iterator(static_cast<NodeId>(graph.size()))};
}
inline std::size_t num_vertices(const Graph& graph) { return graph.size(); }

inline std::pair<BglTraits::out_edge_iterator, BglTraits::out_edge_iterator> out_edges(
    NodeId id, const Graph& graph) {
  using Count = boost::counting_iterator<std::uint32_t>;
  const auto degree = static_cast<std::uint32_t>(graph.node(id).operands.size());
  return {{Count(0), MakeOperandEdge{id}}, {Count(degree), MakeOperandEdge{id}}};
}
inline std::size_t out_degree(NodeId id, const Graph& graph) {
  return graph.node(id).operands.size();
}
inline NodeId source(OperandEdge edge, const Graph&) { return edge.user; }
inline NodeId target(OperandEdge edge, const Graph& graph) {
  return graph.node(edge.user).operands[edge.operand].node;
}
inline boost::typed_identity_property_map<NodeId> get(boost::vertex_index_t, const Graph&) {
  return {};
}

}  // namespace treadle
