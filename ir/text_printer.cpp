#include "ir/text_printer.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "ir/op_def.h"

namespace treadle {

std::string print_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

namespace {

std::string quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + "\"";
}

std::string print_tensor(const Tensor& tensor) {
  std::string out =
      fmt::format("dense {}[{}] <", to_string(tensor.dtype()), fmt::join(tensor.shape(), ", "));
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    if (i > 0) out += ", ";
    out += is_float(tensor.dtype()) ? print_real(tensor.get(i))
                                    : fmt::format("{}", tensor.get_integer(i));
  }
  return out + ">";
}

struct AttributePrinter {
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(std::int64_t v) const { return fmt::format("{}", v); }
  std::string operator()(double v) const { return print_real(v); }
  std::string operator()(const std::string& v) const { return quote(v); }
  std::string operator()(const Integers& v) const {
    return fmt::format("[{}]", fmt::join(v, ", "));
  }
  std::string operator()(const Dims& v) const { return "<" + to_string(v) + ">"; }
  std::string operator()(DType v) const { return std::string(to_string(v)); }
  std::string operator()(const TensorPtr& v) const { return print_tensor(*v); }
};

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  std::string whole(const Graph& graph) {
    out_ = fmt::format("graph @{} stage({}) {{\n", graph.name, to_string(graph.stage));
    nodes(graph, "  ");
    out_ += "}\n";
    return std::move(out_);
  }

 private:
  void nodes(const Graph& graph, const std::string& indent) {
    std::vector<std::size_t> first(graph.size());
    std::size_t next = 0;
    const auto name = [&](Value v) { return fmt::format("%{}", first[v.node] + v.index); };
    bool region = false;
    for (const NodeId id : graph.inputs()) region = region || graph.node(id).op == Op::argument;
    if (region) {
      out_ += indent + "^(";
      for (const NodeId id : graph.inputs()) {
        first[id] = next++;
        out_ += fmt::format("{}{}: {}", first[id] == 0 ? "" : ", ", name({id, 0}),
                            to_string(graph.node(id).types[0]));
      }
      out_ += ")\n";
    }
    for (NodeId id = 0; id < graph.size(); ++id) {
      const Node& node = graph.node(id);
      if (node.op == Op::argument) continue;
      first[id] = next;
      next += node.types.size();
      out_ += indent;
      for (std::uint32_t i = 0; i < node.types.size(); ++i)
        out_ += (i == 0 ? "" : ", ") + name({id, i});
      out_ += fmt::format(" = {}", to_string(node.op));
      for (std::size_t i = 0; i < node.operands.size(); ++i)
        out_ += (i == 0 ? "(" : ", ") + name(node.operands[i]) +
                (i + 1 == node.operands.size() ? ")" : "");
      attributes(node.attributes);
      for (std::size_t i = 0; i < node.types.size(); ++i)
        out_ += (i == 0 ? " : " : ", ") + to_string(node.types[i]);
      for (const Region& body : node.regions) {
        out_ += " {\n";
        nodes(*body, indent + "  ");
        out_ += indent + "}";
      }
      if (options_.locations && node.location) out_ += "  # " + to_string(node.location);
      out_ += "\n";
    }
    out_ += indent + "return";
    for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
      const Output& output = graph.outputs()[i];
      out_ += i == 0 ? " " : ", ";
      if (!output.name.empty()) out_ += quote(output.name) + " = ";
      out_ += name(output.value);
    }
    out_ += "\n";
  }

  void attributes(const Attributes& attributes) {
    if (attributes.empty()) return;
    out_ += " {";
    bool first = true;
    for (const auto& [name, value] : attributes) {
      out_ += fmt::format("{}{} = {}", first ? "" : ", ", name, print_attribute(value));
      first = false;
    }
    out_ += "}";
  }

  PrintOptions options_;
  std::string out_;
};

}  // namespace

std::string print_attribute(const Attribute& value) {
  return std::visit(AttributePrinter{}, value);
}

std::string print(const Graph& graph, const PrintOptions& options) {
  return Printer(options).whole(graph);
}

}  // namespace treadle
