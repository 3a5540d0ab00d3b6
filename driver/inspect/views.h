// What is drawn of a graph: boxes, edges and clusters, and where they stand.
#pragma once
#include <string>
#include <vector>

#include "driver/inspect/graphviz.h"
#include "ir/graph.h"

namespace treadle {

// A node is named by its path: "12", or "12/3" for node 3 in the body of node 12.
struct ViewBox {
  enum class Kind : std::uint8_t {
    node,
    source,   // an input, parameter, constant or argument, drawn beside each that reads it
    outside,  // a value from outside of a folded group
    output,   // of the graph or the body
    folded    // a group of nodes; opens the view of that key
  };
  Kind kind = Kind::node;
  std::string node;                // path; of an outside box: the node it stands for
  std::string opens;               // key of the view behind it, or ""
  std::string title;               // "matmul"
  std::string detail;              // "f32[B, 24]"
  std::vector<std::string> holds;  // folded: paths of the nodes in it
};

struct ViewCluster {
  std::string node;  // path of the scan
  std::string title;
};

struct View {
  std::string key;  // "" for the whole graph; "overview"; a node's path; "update W"
  std::string title;
  std::vector<ViewBox> boxes;
  std::vector<ViewCluster> clusters;
  Diagram diagram;  // box i is node i
  Layout layout;    // after lay_out
};

// The whole graph first, then the overview, then what is behind folded boxes,
// fused kernels and scans. In the whole graph the bodies of scans stand as
// clusters, and what updates one parameter is folded (many updates once more). In the overview the
// nodes of one source line are folded, too, and scans are closed; a graph of more than `fold_above`
// boxes is shown like that only.
std::vector<View> make_views(const Graph& graph, std::size_t fold_above = 400);

// The number that the text form gives to the first result of each node.
std::vector<std::size_t> value_numbers(const Graph& graph);

}  // namespace treadle
