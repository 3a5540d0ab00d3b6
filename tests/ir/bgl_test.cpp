#include "ir/bgl.h"

#include <algorithm>
#include <boost/graph/breadth_first_search.hpp>
#include <boost/graph/topological_sort.hpp>
#include <vector>

#include "ir/builder.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

struct Square {
  Graph graph;
  Value x, unread, product;
  Square() {
    Builder b(graph);
    x = b.input("x", {DType::f64, {2}});
    unread = b.exp(x);
    product = b.mul(x, x);
    graph.add_output("y", product);
  }
};

}  // namespace

TEST_CASE("Boost.Graph sees both operands of mul(x, x)") {
  const Square square;
  CHECK(out_degree(square.product.node, square.graph) == 2);
  const auto [begin, end] = out_edges(square.product.node, square.graph);
  CHECK(std::distance(begin, end) == 2);
  for (auto edge = begin; edge != end; ++edge) CHECK(target(*edge, square.graph) == square.x.node);
  CHECK(*begin != *std::next(begin));
}

TEST_CASE("Boost's topological order puts operands first") {
  const Square square;
  std::vector<NodeId> order;
  boost::topological_sort(square.graph, std::back_inserter(order));
  REQUIRE(order.size() == square.graph.size());
  const auto place = [&](Value v) { return std::find(order.begin(), order.end(), v.node); };
  CHECK(place(square.x) < place(square.product));
  CHECK(place(square.x) < place(square.unread));
}

TEST_CASE("Boost's breadth-first search reaches what an output needs") {
  const Square square;
  std::vector<boost::default_color_type> colour(square.graph.size());
  boost::breadth_first_search(square.graph, square.product.node,
                              boost::color_map(boost::make_iterator_property_map(
                                  colour.begin(), get(boost::vertex_index, square.graph))));
  CHECK(colour[square.x.node] == boost::black_color);
  CHECK(colour[square.product.node] == boost::black_color);
  CHECK(colour[square.unread.node] == boost::white_color);
}
