#include "ir/dot_printer.h"

#include <fmt/format.h>

#include "ir/op_def.h"

namespace treadle {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string_view colour(const Node& node) {
  switch (op_def(node.op).family) {
    case Family::pointwise:
    case Family::random: return "#e8f1fb";
    case Family::linalg: return "#fbe3d6";
    case Family::shape: return "#f2f2f2";
    case Family::reduce: return "#e6f4e1";
    case Family::index: return "#f6ecfb";
    case Family::control:
    case Family::fused: break;
  }
  return node.op == Op::parameter ? "#fff3c4" : "#ffffff";
}

class DotPrinter {
 public:
  std::string whole(const Graph& graph) {
    out_ = fmt::format("digraph \"{}\" {{\n", escaped(graph.name));
    out_ +=
        "  node [shape = box, style = \"rounded,filled\", fontname = \"Helvetica\", "
        "fontsize = 11];\n  edge [fontname = \"Helvetica\", fontsize = 9];\n";
    nodes(graph, "n", "  ");
    for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
      const Output& output = graph.outputs()[i];
      out_ += fmt::format("  out{} [label = \"{}\", shape = ellipse, fillcolor = \"#ffffff\"];\n",
                          i, escaped(output.name));
      out_ += fmt::format("  n{} -> out{};\n", output.value.node, i);
    }
    return out_ + "}\n";
  }

 private:
  static std::string label(const Node& node) {
    const std::string name = node.attributes.string("name", "");
    std::string out = name.empty() ? std::string(to_string(node.op)) : name;
    for (const Type& type : node.types) out += "\\n" + escaped(to_string(type));
    return out;
  }

  void nodes(const Graph& graph, const std::string& prefix, const std::string& indent) {
    for (NodeId id = 0; id < graph.size(); ++id) {
      const Node& node = graph.node(id);
      const std::string name = fmt::format("{}{}", prefix, id);
      out_ += fmt::format("{}{} [label = \"{}\", fillcolor = \"{}\"];\n", indent, name, label(node),
                          colour(node));
      for (std::size_t i = 0; i < node.operands.size(); ++i)
        out_ += fmt::format("{}{}{} -> {}{};\n", indent, prefix, node.operands[i].node, name,
                            node.operands.size() > 1 ? fmt::format(" [label = {}]", i) : "");
      for (const Region& region : node.regions) {
        out_ += fmt::format("{}subgraph \"cluster_{}\" {{\n", indent, name);
        out_ +=
            fmt::format("{}  label = \"{}\"; color = \"#888888\";\n", indent, to_string(node.op));
        nodes(*region, name + "_", indent + "  ");
        out_ += indent + "}\n";
        // The node stands for what its region computes.
        for (const Output& output : region->outputs())
          out_ += fmt::format("{}{}_{} -> {} [style = dashed];\n", indent, name, output.value.node,
                              name);
      }
    }
  }

  std::string out_;
};

}  // namespace

std::string print_dot(const Graph& graph) { return DotPrinter().whole(graph); }

}  // namespace treadle
