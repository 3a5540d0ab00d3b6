// Laying out graphs with the program `dot` of Graphviz.
#pragma once
#include <span>
#include <string>
#include <vector>

namespace treadle {

struct Point {
  double x = 0, y = 0;
};

// What is to be placed; sizes in points. Nodes and clusters are known by their
// index.
struct Diagram {
  struct Node {
    double width = 0, height = 0;
    int cluster = -1;  // the innermost around it
  };
  struct Edge {
    int from = 0, to = 0;
  };
  struct Cluster {
    int parent = -1;
    double title_width = 0;
  };
  std::vector<Node> nodes;
  std::vector<Edge> edges;
  std::vector<Cluster> clusters;
};

// The origin is the upper left corner, y grows downwards.
struct Layout {
  double width = 0, height = 0;
  std::vector<Point> nodes;               // centres
  std::vector<std::vector<Point>> edges;  // cubic Bezier curves: 1 + 3 n points, then the tip
  struct Box {
    double left = 0, top = 0, right = 0, bottom = 0;
  };
  std::vector<Box> clusters;
};

// One layout for each diagram, from one run of `dot`. Throws UserError T0890
// when there is no such program on the PATH, T0891 when it fails.
std::vector<Layout> lay_out(std::span<const Diagram> diagrams);

}  // namespace treadle
