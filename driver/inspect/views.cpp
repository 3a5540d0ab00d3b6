#include "driver/inspect/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "driver/inspect/kernels.h"
#include "ir/builder.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"

namespace treadle {
namespace {

// Text is drawn in fixed-width letters of these sizes, so that it fits whatever
// font a browser has.
constexpr double title_letter = 7.3, detail_letter = 6.1, padding = 18;
constexpr double node_height = 36, pill_height = 20;
constexpr std::size_t longest_text = 34;

std::string shortened(std::string text) {
  if (text.size() > longest_text) text = text.substr(0, longest_text - 3) + "...";
  return text;
}

bool is_input(const Node& node) { return node.op == Op::input || node.op == Op::parameter; }
bool is_source(const Node& node) {
  return is_input(node) || node.op == Op::constant || node.op == Op::dimension;
}

std::string source_title(const Node& node) {
  if (is_input(node)) return node.attributes.string("name");
  if (node.op == Op::dimension) return node.attributes.dim("dim").to_string();
  const Tensor& value = node.attributes.tensor("value");
  if (value.size() != 1) return "constant";
  return is_float(value.dtype()) ? fmt::format("{:.4g}", value.get(0))
                                 : fmt::format("{}", value.get_integer(0));
}

std::string types_of(const Node& node) {
  std::string out = node.types.empty() ? "" : to_string(node.types[0]);
  if (node.types.size() > 1) out += fmt::format(" +{}", node.types.size() - 1);
  return out;
}

std::string node_title(const Node& node) {
  if (node.op == Op::fused) return body_summary(*node.regions[0]);
  if (node.op == Op::scan)
    return fmt::format("{} x {}", node.attributes.boolean("reverse") ? "reverse scan" : "scan",
                       ScanView(node).length.to_string());
  return std::string(to_string(node.op));
}

// The parameter whose update an output is: "next:m:W" -> "W"; or "".
std::string updated_parameter(const Graph& graph, const std::string& output) {
  if (!output.starts_with("next:")) return "";
  for (std::string name = output.substr(5);;) {
    const Value v = graph.input(name);
    if (v.valid() && graph.node(v.node).op == Op::parameter) return name;
    const std::size_t colon = name.find(':');
    if (colon == std::string::npos) return "";
    name = name.substr(colon + 1);
  }
}

// The group that a node is folded into, or "".
class Folding {
 public:
  Folding(const Graph& graph, std::size_t fold_above) : graph_(graph), group_(graph.size()) {
    fold_updates();
    std::size_t boxes = 0;
    for (NodeId id = 0; id < graph.size(); ++id) boxes += box_count(id);
    if (boxes > fold_above) fold_lines();
  }
  const std::string& group(NodeId id) const { return group_[id]; }
  bool open(NodeId id) const { return open_bodies_.contains(id); }

 private:
  std::size_t box_count(NodeId id) {
    const Node& node = graph_.node(id);
    if (is_source(node) || !group_[id].empty()) return 0;
    if (node.op != Op::scan) return 1;
    open_bodies_.insert(id);
    return node.regions[0]->size();
  }

  // What only the outputs of one parameter's update need.
  void fold_updates() {
    std::vector<std::optional<std::string>> needed(graph_.size());
    const auto need = [&](NodeId id, const std::string& by) {
      if (!needed[id]) needed[id] = by;
      if (*needed[id] != by) needed[id] = "";
    };
    for (const Output& output : graph_.outputs())
      need(output.value.node, updated_parameter(graph_, output.name));
    for (NodeId id = static_cast<NodeId>(graph_.size()); id-- > 0;) {
      const std::string by = needed[id].value_or("");
      for (const Value v : graph_.node(id).operands) need(v.node, by);
      if (!by.empty() && !is_source(graph_.node(id))) group_[id] = "update " + by;
    }
  }

  // What stands on one line of the source, apart for each direction.
  void fold_lines() {
    std::vector<bool> forward(graph_.size(), false);
    for (const Output& output : graph_.outputs())
      if (!output.name.starts_with("next:") && !output.name.starts_with("grad"))
        forward[output.value.node] = true;
    std::map<std::string, std::vector<NodeId>> lines;
    for (NodeId id = static_cast<NodeId>(graph_.size()); id-- > 0;) {
      const Node& node = graph_.node(id);
      if (forward[id])
        for (const Value v : node.operands) forward[v.node] = true;
      // A scan stays in sight: its body is the heart of the matter.
      if (is_source(node) || !group_[id].empty() || node.op == Op::scan) continue;
      std::string place = "no line";
      if (node.location) {
        const std::string path = node.location.file->path;
        place = fmt::format("{}:{}", path.substr(path.rfind('/') + 1),
                            line_column(*node.location.file, node.location.begin).line);
      }
      lines[(forward[id] ? "" : "gradient, ") + place].push_back(id);
    }
    for (const auto& [name, nodes] : lines) {
      if (nodes.size() < 3) continue;
      for (const NodeId id : nodes) group_[id] = name;
    }
    for (auto id = open_bodies_.begin(); id != open_bodies_.end();)
      id = graph_.node(*id).regions[0]->size() > 60 ? open_bodies_.erase(id) : std::next(id);
  }

  const Graph& graph_;
  std::vector<std::string> group_;
  std::set<NodeId> open_bodies_;
};

class ViewMaker {
 public:
  ViewMaker(const Graph& graph, std::size_t fold_above)
      : graph_(graph), folds_(graph, fold_above) {}

  std::vector<View> run() {
    std::vector<NodeId> all;
    std::map<std::string, std::vector<NodeId>> groups;
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (!is_source(graph_.node(id))) all.push_back(id);
      if (!folds_.group(id).empty()) groups[folds_.group(id)].push_back(id);
    }
    start("", "the whole graph");
    nodes(graph_, "", all, -1, true);
    outputs(graph_, "", -1, [](NodeId) { return true; });
    finish();
    for (const auto& [name, members] : groups) {
      start(name, name);
      nodes(graph_, "", members, -1, false);
      const std::set<NodeId> inside(members.begin(), members.end());
      outputs(graph_, "", -1, [&](NodeId id) { return inside.contains(id); });
      finish();
    }
    while (!bodies_.empty()) {
      const auto [path, node] = bodies_.back();
      bodies_.pop_back();
      start(path, node_title(*node));
      body_arguments(*node, path, -1, {});
      all.clear();
      const Graph& body = *node->regions[0];
      for (NodeId id = 0; id < body.size(); ++id)
        if (body.node(id).op != Op::argument && !is_source(body.node(id))) all.push_back(id);
      nodes(body, path + "/", all, -1, false);
      outputs(body, path + "/", -1, [](NodeId) { return true; });
      finish();
    }
    return std::move(views_);
  }

 private:
  void start(std::string key, std::string title) {
    view_ = {};
    at_.clear();
    edges_of_view_.clear();
    view_.key = std::move(key);
    view_.title = std::move(title);
  }
  void finish() { views_.push_back(std::move(view_)); }

  int box(ViewBox box, int cluster) {
    box.title = shortened(box.title);
    box.detail = shortened(box.detail);
    const double width = std::max(static_cast<double>(box.title.size()) * title_letter,
                                  static_cast<double>(box.detail.size()) * detail_letter) +
                         padding;
    const double height = box.detail.empty() ? pill_height : node_height;
    view_.diagram.nodes.push_back({std::max(width, 44.0), height, cluster});
    view_.boxes.push_back(std::move(box));
    return static_cast<int>(view_.boxes.size()) - 1;
  }
  void edge(int from, int to) {
    if (from != to && edges_of_view_.insert({from, to}).second)
      view_.diagram.edges.push_back({from, to});
  }

  static std::string path_of(const std::string& prefix, NodeId id) {
    return fmt::format("{}{}", prefix, id);
  }

  // The box that gives `v`'s value; sources get one beside each reader.
  int giver(const Graph& graph, const std::string& prefix, NodeId id, int cluster) {
    const std::string path = path_of(prefix, id);
    if (const auto found = at_.find(path); found != at_.end()) return found->second;
    const Node& node = graph.node(id);
    ViewBox b;
    b.node = path;
    if (is_source(node) || node.op == Op::argument) {
      b.kind = ViewBox::Kind::source;
      b.title = node.op == Op::argument ? "argument" : source_title(node);
      return box(std::move(b), cluster);
    }
    b.kind = ViewBox::Kind::outside;
    b.title = node_title(node);
    b.detail = types_of(node);
    return at_[path] = box(std::move(b), cluster);
  }

  int folded(const std::string& group, int cluster) {
    const std::string key = "(" + group + ")";
    if (const auto found = at_.find(key); found != at_.end()) return found->second;
    ViewBox b;
    b.kind = ViewBox::Kind::folded;
    b.opens = group;
    b.title = group;
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (folds_.group(id) == group) b.holds.push_back(path_of("", id));
    b.detail = fmt::format("{} {}", b.holds.size(), b.holds.size() == 1 ? "node" : "nodes");
    return at_[key] = box(std::move(b), cluster);
  }

  void nodes(const Graph& graph, const std::string& prefix, const std::vector<NodeId>& members,
             int cluster, bool fold) {
    for (const NodeId id : members) {
      const Node& node = graph.node(id);
      const std::string path = path_of(prefix, id);
      if (fold && !folds_.group(id).empty()) {
        at_[path] = folded(folds_.group(id), cluster);
        operands(graph, prefix, node, at_[path], cluster);
        continue;
      }
      if (fold && node.op == Op::scan && folds_.open(id)) {
        open_scan(graph, prefix, id, cluster);
        continue;
      }
      ViewBox b;
      b.node = path;
      b.title = node_title(node);
      b.detail = types_of(node);
      if (!node.regions.empty()) {
        b.opens = path;
        want_body(path, node);
      }
      at_[path] = box(std::move(b), cluster);
      operands(graph, prefix, node, at_[path], cluster);
    }
  }

  void want_body(const std::string& path, const Node& node) {
    if (bodies_made_.insert(path).second) bodies_.emplace_back(path, &node);
  }

  void operands(const Graph& graph, const std::string& prefix, const Node& node, int to,
                int cluster) {
    std::set<NodeId> seen;
    const bool folded_box = view_.boxes[static_cast<std::size_t>(to)].kind == ViewBox::Kind::folded;
    for (const Value v : node.operands) {
      // A folded box does not list its constants.
      if (!seen.insert(v.node).second || (folded_box && is_source(graph.node(v.node)))) continue;
      edge(giver(graph, prefix, v.node, cluster), to);
    }
  }

  // The scan's body as a cluster: arguments, nodes, and the scan's own box, which
  // gathers what a step gives.
  void open_scan(const Graph& graph, const std::string& prefix, NodeId id, int parent) {
    const Node& node = graph.node(id);
    const std::string path = path_of(prefix, id);
    const int cluster = static_cast<int>(view_.clusters.size());
    view_.clusters.push_back({path, node_title(node)});
    view_.diagram.clusters.push_back(
        {parent, static_cast<double>(node_title(node).size()) * title_letter + padding});
    std::vector<int> givers;
    for (const Value v : node.operands) {
      const bool source = is_source(graph.node(v.node));
      givers.push_back(source ? -1 : giver(graph, prefix, v.node, parent));
    }
    body_arguments(node, path, cluster, givers, &graph);
    const Graph& body = *node.regions[0];
    std::vector<NodeId> inner;
    for (NodeId i = 0; i < body.size(); ++i)
      if (body.node(i).op != Op::argument && !is_source(body.node(i))) inner.push_back(i);
    nodes(body, path + "/", inner, cluster, false);
    ViewBox b;
    b.node = path;
    b.title = node_title(node);
    b.detail = types_of(node);
    b.opens = path;
    want_body(path, node);
    const int scan = at_[path] = box(std::move(b), cluster);
    for (const Output& output : body.outputs())
      edge(giver(body, path + "/", output.value.node, cluster), scan);
  }

  // One pill an argument of a body, named by what it is given.
  void body_arguments(const Node& node, const std::string& path, int cluster,
                      const std::vector<int>& givers, const Graph* around = nullptr) {
    const Graph& body = *node.regions[0];
    const bool scan = node.op == Op::scan;
    for (std::size_t i = 0; i < body.inputs().size(); ++i) {
      const NodeId argument = body.inputs()[i];
      ViewBox b;
      b.kind = ViewBox::Kind::source;
      b.node = path_of(path + "/", argument);
      b.title = fmt::format("argument {}", i);
      if (scan) {
        const ScanView view(node);
        if (i >= view.first_sequence())
          b.title = fmt::format("row of {}", i - view.first_sequence());
        else if (i >= view.first_carry())
          b.title = fmt::format("carry {}", i - view.first_carry());
      }
      if (around != nullptr && i < givers.size() && givers[i] < 0) {
        const std::string name = source_title(around->node(node.operands[i].node));
        b.title = b.title.starts_with("argument") ? name : b.title + " from " + name;
      }
      const int at = box(b, cluster);
      at_[b.node] = at;
      if (i < givers.size() && givers[i] >= 0) edge(givers[i], at);
    }
  }

  void outputs(const Graph& graph, const std::string& prefix, int cluster,
               const std::function<bool(NodeId)>& shown) {
    for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
      const Output& output = graph.outputs()[i];
      if (!shown(output.value.node)) continue;
      // In the whole graph a folded update stands for its outputs.
      if (view_.key.empty() && !folds_.group(output.value.node).empty()) continue;
      ViewBox b;
      b.kind = ViewBox::Kind::output;
      b.node = path_of(prefix, output.value.node);
      b.title = output.name.empty() ? fmt::format("result {}", i) : output.name;
      const int from = giver(graph, prefix, output.value.node, cluster);
      edge(from, box(std::move(b), cluster));
    }
  }

  const Graph& graph_;
  Folding folds_;
  View view_;
  std::vector<View> views_;
  std::map<std::string, int> at_;  // of a path or a group: its box in this view
  std::set<std::pair<int, int>> edges_of_view_;
  std::vector<std::pair<std::string, const Node*>> bodies_;
  std::set<std::string> bodies_made_;
};

}  // namespace

std::vector<View> make_views(const Graph& graph, std::size_t fold_above) {
  return ViewMaker(graph, fold_above).run();
}

std::vector<std::size_t> value_numbers(const Graph& graph) {
  std::vector<std::size_t> out(graph.size());
  std::size_t next = 0;
  const auto number = [&](NodeId id) {
    out[id] = next;
    next += graph.node(id).types.size();
  };
  for (const NodeId id : graph.inputs())
    if (graph.node(id).op == Op::argument) number(id);
  for (NodeId id = 0; id < graph.size(); ++id)
    if (graph.node(id).op != Op::argument) number(id);
  return out;
}

}  // namespace treadle
