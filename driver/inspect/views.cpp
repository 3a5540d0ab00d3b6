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

// What is folded: the group that each node of a graph is in, or "".
using Groups = std::vector<std::string>;

std::map<std::string, std::vector<NodeId>> members_of(const Groups& groups) {
  std::map<std::string, std::vector<NodeId>> out;
  for (NodeId id = 0; id < groups.size(); ++id)
    if (!groups[id].empty()) out[groups[id]].push_back(id);
  return out;
}

// What only the outputs of one parameter's update need: "update W".
Groups update_groups(const Graph& graph) {
  Groups out(graph.size());
  std::vector<std::optional<std::string>> needed(graph.size());
  const auto need = [&](NodeId id, const std::string& by) {
    if (!needed[id]) needed[id] = by;
    if (*needed[id] != by) needed[id] = "";
  };
  for (const Output& output : graph.outputs())
    need(output.value.node, updated_parameter(graph, output.name));
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
    const std::string by = needed[id].value_or("");
    for (const Value v : graph.node(id).operands) need(v.node, by);
    if (!by.empty() && !is_source(graph.node(id))) out[id] = "update " + by;
  }
  return out;
}

// Many updates become one group.
Groups joined_updates(Groups updates) {
  constexpr std::size_t most = 12;
  const std::size_t count = members_of(updates).size();
  if (count <= most) return updates;
  for (std::string& group : updates)
    if (!group.empty()) group = fmt::format("{} updates", count);
  return updates;
}

// Adds groups of nodes that stand on one line of the source, apart for each
// direction. A line that is run several times (the same block in each layer) has
// several groups: no group depends on itself by way of another.
class LineGroups {
 public:
  LineGroups(const Graph& graph, Groups groups)
      : graph_(graph), groups_(std::move(groups)), forward_(graph.size(), false) {}

  Groups run() {
    find_forward();
    std::vector<int> of(graph_.size(), -1);
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const Node& node = graph_.node(id);
      if (is_source(node)) continue;
      // A scan stays in sight: its body is the heart of the matter.
      const bool alone = node.op == Op::scan && groups_[id].empty();
      const std::string line = !groups_[id].empty() ? groups_[id] : alone ? "" : line_of(id);
      of[id] = instance(line, node, of);
      for (const Value v : node.operands)
        if (of[v.node] >= 0 && of[v.node] != of[id]) reads_[index(of[id])].insert(of[v.node]);
    }
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (groups_[id].empty() && of[id] >= 0 && sizes_[index(of[id])] >= 3)
        groups_[id] = names_[index(of[id])];
    return std::move(groups_);
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  void find_forward() {
    for (const Output& output : graph_.outputs())
      if (!output.name.starts_with("next:") && !output.name.starts_with("grad"))
        forward_[output.value.node] = true;
    for (NodeId id = static_cast<NodeId>(graph_.size()); id-- > 0;)
      if (forward_[id])
        for (const Value v : graph_.node(id).operands) forward_[v.node] = true;
  }

  std::string line_of(NodeId id) const {
    const SourceRange& at = graph_.node(id).location;
    std::string place = "no line";
    if (at) {
      const std::string& path = at.file->path;
      place = fmt::format("{}:{}", path.substr(path.rfind('/') + 1),
                          line_column(*at.file, at.begin).line);
    }
    return (forward_[id] ? "" : "gradient, ") + place;
  }

  // The group of that line which the node may join, or a new one. A nameless
  // line is a group of one.
  int instance(const std::string& line, const Node& node, const std::vector<int>& of) {
    const auto last = line.empty() ? last_.end() : last_.find(line);
    if (last != last_.end()) {
      std::set<int> seen;
      const bool free = std::none_of(node.operands.begin(), node.operands.end(), [&](Value v) {
        return of[v.node] >= 0 && of[v.node] != last->second &&
               reaches(of[v.node], last->second, seen);
      });
      if (free) {
        ++sizes_[index(last->second)];
        return last->second;
      }
    }
    const int fresh = static_cast<int>(names_.size());
    const int number = line.empty() ? 1 : ++counts_[line];
    names_.push_back(number == 1 ? line : fmt::format("{} ({})", line, number));
    sizes_.push_back(1);
    reads_.emplace_back();
    if (!line.empty()) last_[line] = fresh;
    return fresh;
  }

  bool reaches(int from, int to, std::set<int>& seen) const {
    if (from == to) return true;
    if (!seen.insert(from).second) return false;
    return std::any_of(reads_[index(from)].begin(), reads_[index(from)].end(),
                       [&](int next) { return reaches(next, to, seen); });
  }

  const Graph& graph_;
  Groups groups_;
  std::vector<bool> forward_;
  std::vector<std::string> names_;
  std::vector<int> sizes_;
  std::vector<std::set<int>> reads_;
  std::map<std::string, int> last_, counts_;
};

// How many boxes the whole graph has, bodies of scans included.
std::size_t box_count(const Graph& graph, const Groups& groups) {
  std::size_t out = 0;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (is_source(node) || !groups[id].empty()) continue;
    out += node.op == Op::scan ? node.regions[0]->size() : 1;
  }
  return out;
}

class ViewMaker {
 public:
  explicit ViewMaker(const Graph& graph)
      : graph_(graph),
        updates_(update_groups(graph)),
        fine_(joined_updates(updates_)),
        coarse_(LineGroups(graph, fine_).run()) {}

  std::vector<View> run(std::size_t fold_above) {
    if (box_count(graph_, fine_) <= fold_above) {
      whole("", "the whole graph", fine_, true);
      whole("overview", "overview", coarse_, false);
    } else {
      whole("", "overview", coarse_, false);
    }
    group_views(updates_);
    std::vector<NodeId> all;
    while (!bodies_.empty()) {
      const auto [path, node] = bodies_.back();
      bodies_.pop_back();
      start(path, node_title(*node));
      body_arguments(*node, path, -1, {});
      all.clear();
      const Graph& body = *node->regions[0];
      for (NodeId id = 0; id < body.size(); ++id)
        if (body.node(id).op != Op::argument && !is_source(body.node(id))) all.push_back(id);
      nodes(body, path + "/", all, -1, nullptr);
      outputs(body, path + "/", -1, [](NodeId) { return true; });
      finish();
    }
    return std::move(views_);
  }

 private:
  void whole(const std::string& key, const std::string& title, const Groups& groups,
             bool open_scans) {
    open_scans_ = open_scans;
    std::vector<NodeId> all;
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (!is_source(graph_.node(id))) all.push_back(id);
    start(key, title);
    nodes(graph_, "", all, -1, &groups);
    outputs(graph_, "", -1, [&](NodeId id) { return groups[id].empty(); });
    finish();
    group_views(groups);
  }

  // What is in each group; in a group of several updates each is folded again.
  void group_views(const Groups& groups) {
    open_scans_ = false;
    for (const auto& [name, members] : members_of(groups)) {
      if (!groups_made_.insert(name).second) continue;
      const bool again = !updates_[members[0]].empty() && updates_[members[0]] != name;
      start(name, name);
      nodes(graph_, "", members, -1, again ? &updates_ : nullptr);
      const std::set<NodeId> inside(members.begin(), members.end());
      outputs(graph_, "", -1, [&](NodeId id) { return inside.contains(id) && !again; });
      finish();
    }
  }

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

  int folded(const Groups& groups, const std::string& group, int cluster) {
    const std::string key = "(" + group + ")";
    if (const auto found = at_.find(key); found != at_.end()) return found->second;
    ViewBox b;
    b.kind = ViewBox::Kind::folded;
    b.opens = group;
    b.title = group;
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (groups[id] == group) b.holds.push_back(path_of("", id));
    b.detail = fmt::format("{} {}", b.holds.size(), b.holds.size() == 1 ? "node" : "nodes");
    return at_[key] = box(std::move(b), cluster);
  }

  void nodes(const Graph& graph, const std::string& prefix, const std::vector<NodeId>& members,
             int cluster, const Groups* groups) {
    for (const NodeId id : members) {
      const Node& node = graph.node(id);
      const std::string path = path_of(prefix, id);
      if (groups != nullptr && !(*groups)[id].empty()) {
        at_[path] = folded(*groups, (*groups)[id], cluster);
        operands(graph, prefix, node, at_[path], cluster);
        continue;
      }
      if (groups != nullptr && node.op == Op::scan && open_scans_) {
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
    const ViewBox& reader = view_.boxes[static_cast<std::size_t>(to)];
    // What a folded box or a closed scan takes of those is told by its own view.
    const bool without_sources = reader.kind == ViewBox::Kind::folded || node.op == Op::scan;
    for (const Value v : node.operands) {
      if (!seen.insert(v.node).second || (without_sources && is_source(graph.node(v.node))))
        continue;
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
    nodes(body, path + "/", inner, cluster, nullptr);
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
        if (b.title.starts_with("argument"))
          b.title = name;
        else if (b.title.starts_with("row of"))
          b.title = "row of " + name;
        else
          b.title += " from " + name;
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
      ViewBox b;
      b.kind = ViewBox::Kind::output;
      b.node = path_of(prefix, output.value.node);
      b.title = output.name.empty() ? fmt::format("result {}", i) : output.name;
      const int from = giver(graph, prefix, output.value.node, cluster);
      edge(from, box(std::move(b), cluster));
    }
  }

  const Graph& graph_;
  const Groups updates_, fine_, coarse_;
  bool open_scans_ = false;
  std::set<std::string> groups_made_;
  View view_;
  std::vector<View> views_;
  std::map<std::string, int> at_;  // of a path or a group: its box in this view
  std::set<std::pair<int, int>> edges_of_view_;
  std::vector<std::pair<std::string, const Node*>> bodies_;
  std::set<std::string> bodies_made_;
};

}  // namespace

std::vector<View> make_views(const Graph& graph, std::size_t fold_above) {
  return ViewMaker(graph).run(fold_above);
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
