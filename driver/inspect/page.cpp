#include "driver/inspect/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "driver/inspect/changes.h"
#include "driver/inspect/costs.h"
#include "driver/inspect/kernels.h"
#include "driver/inspect/page_files.h"
#include "driver/inspect/views.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"

namespace treadle {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_attribute = 160;

std::string_view family_name(const Node& node) {
  if (node.op == Op::input || node.op == Op::parameter || node.op == Op::constant)
    return to_string(node.op);
  switch (op_def(node.op).family) {
    case Family::pointwise: return "pointwise";
    case Family::random: return "random";
    case Family::linalg: return "linalg";
    case Family::shape: return "shape";
    case Family::reduce: return "reduce";
    case Family::index: return "index";
    case Family::control: return "control";
    case Family::fused: return "fused";
  }
  return "control";
}

std::string attribute_text(const Attributes& attributes) {
  std::string out;
  for (const auto& [name, value] : attributes) {
    std::string text = print_attribute(value);
    if (text.size() > longest_attribute) text = text.substr(0, longest_attribute) + "...";
    out += fmt::format("{}{} = {}", out.empty() ? "" : "\n", name, text);
  }
  return out;
}

double tenths(double value) { return std::round(value * 10) / 10; }

class PageData {
 public:
  PageData(const InspectedProgram& program, const CompiledStages& compiled)
      : program_(program), compiled_(compiled) {}

  Json run() {
    Json out;
    out["title"] = program_.title;
    file_of_path(program_.path, program_.text);
    for (std::size_t i = 0; i + 1 < compiled_.stages.size(); ++i)
      changes_.push_back(compare_graphs(compiled_.stages[i].graph, compiled_.stages[i + 1].graph));
    out["stages"] = stages();
    out["kernels"] = kernels();
    out["files"] = files_;
    out["symbols"] = symbols_;
    out["extents"] = Json::object();
    for (const auto& [name, value] : program_.extents) out["extents"][name] = value;
    return out;
  }

 private:
  // ---- source ----

  std::size_t file_of_path(const std::string& path, const std::string& text) {
    const auto [found, fresh] = file_index_.emplace(path, files_.size());
    if (fresh) files_.push_back({{"path", path}, {"text", text}});
    return found->second;
  }
  std::size_t file_of(const SourceRange& range) {
    return file_of_path(range.file->path, range.file->text);
  }
  Json place(const SourceRange& range) {
    const LineColumn from = line_column(*range.file, range.begin),
                     to = line_column(*range.file, range.end);
    return {file_of(range), from.line, from.column, to.line, to.column};
  }
  Json lines(const std::vector<KernelRow::Source>& sources) {
    std::set<std::pair<std::size_t, std::uint32_t>> all;
    for (const auto& [range, flops] : sources)
      all.emplace(file_of(range), line_column(*range.file, range.begin).line);
    return all;
  }

  // ---- nodes ----

  void symbols_of(const Dim& dim) { dim.collect_symbols(symbols_); }

  void add_nodes(const Graph& graph, const std::string& prefix, const Dim& times,
                 const GraphChanges* from, const GraphChanges* to, Json& out) {
    const std::vector<std::size_t> numbers = value_numbers(graph);
    for (NodeId id = 0; id < graph.size(); ++id) {
      const Node& node = graph.node(id);
      const std::string path = fmt::format("{}{}", prefix, id);
      Json entry;
      entry["number"] = numbers[id];
      entry["op"] = to_string(node.op);
      entry["family"] = family_name(node);
      entry["types"] = Json::array();
      for (const Type& type : node.types) {
        entry["types"].push_back(to_string(type));
        for (const Dim& dim : type.dims) symbols_of(dim);
      }
      if (node.attributes.has("name")) entry["name"] = node.attributes.string("name");
      if (!node.attributes.empty()) entry["attributes"] = attribute_text(node.attributes);
      for (const Value v : node.operands)
        entry["operands"].push_back({fmt::format("{}{}", prefix, v.node), v.index});
      if (node.location) entry["place"] = place(node.location);
      const Dim flops = node_flops(graph, id), bytes = node_bytes(graph, id);
      if (flops != Dim()) entry["flops"] = flops.to_string();
      if (bytes != Dim()) entry["bytes"] = bytes.to_string();
      if (times != Dim(1)) entry["times"] = times.to_string();
      // New nodes of the graph after are `gone` in the graph before, and so on.
      if (from != nullptr && from->after[id] != Change::same)
        entry["change"] = from->after[id] == Change::gone ? "added" : "changed";
      if (to != nullptr && to->before[id] == Change::gone) entry["leaves"] = true;
      out[path] = std::move(entry);
      if (node.regions.empty()) continue;
      const GraphChanges* body_from = from == nullptr ? nullptr : from->bodies[id].get();
      const GraphChanges* body_to = nullptr;
      if (to != nullptr)
        for (std::size_t i = 0; i < to->was.size(); ++i)
          if (to->was[i] == id) body_to = to->bodies[i].get();
      const Dim inner = node.op == Op::scan ? times * ScanView(node).length : times;
      add_nodes(*node.regions[0], path + "/", inner, body_from, body_to, out);
    }
  }

  // ---- views ----

  static Json view(const View& v) {
    Json out{{"title", v.title},
             {"width", tenths(v.layout.width)},
             {"height", tenths(v.layout.height)},
             {"boxes", Json::array()},
             {"edges", Json::array()},
             {"clusters", Json::array()}};
    static constexpr const char* kinds[] = {"node", "source", "outside", "output", "folded"};
    for (std::size_t i = 0; i < v.boxes.size(); ++i) {
      const ViewBox& b = v.boxes[i];
      Json box{{"kind", kinds[static_cast<int>(b.kind)]}, {"title", b.title},
               {"x", tenths(v.layout.nodes[i].x)},        {"y", tenths(v.layout.nodes[i].y)},
               {"w", tenths(v.diagram.nodes[i].width)},   {"h", tenths(v.diagram.nodes[i].height)}};
      if (!b.node.empty()) box["node"] = b.node;
      if (!b.opens.empty()) box["opens"] = b.opens;
      if (!b.detail.empty()) box["detail"] = b.detail;
      if (!b.holds.empty()) box["holds"] = b.holds;
      out["boxes"].push_back(std::move(box));
    }
    for (std::size_t i = 0; i < v.diagram.edges.size(); ++i) {
      Json points = Json::array();
      for (const Point& p : v.layout.edges[i]) {
        points.push_back(tenths(p.x));
        points.push_back(tenths(p.y));
      }
      out["edges"].push_back({v.diagram.edges[i].from, v.diagram.edges[i].to, points});
    }
    for (std::size_t i = 0; i < v.clusters.size(); ++i) {
      const Layout::Box& b = v.layout.clusters[i];
      out["clusters"].push_back({{"node", v.clusters[i].node},
                                 {"title", v.clusters[i].title},
                                 {"x", tenths(b.left)},
                                 {"y", tenths(b.top)},
                                 {"w", tenths(b.right - b.left)},
                                 {"h", tenths(b.bottom - b.top)}});
    }
    return out;
  }

  bool unchanged(std::size_t stage) const {
    return stage > 0 &&
           same_graph(compiled_.stages[stage - 1].graph, compiled_.stages[stage].graph);
  }

  Json stages() {
    Json out = Json::array();
    std::vector<View> views;         // of all stages, for one run of Graphviz
    std::vector<std::size_t> owner;  // of each view: its stage
    for (std::size_t i = 0; i < compiled_.stages.size(); ++i) {
      const CompileStage& stage = compiled_.stages[i];
      const GraphChanges* from = i == 0 ? nullptr : &changes_[i - 1];
      Json entry{{"name", stage.name}, {"doc", stage.doc}};
      entry["unchanged"] = unchanged(i);
      if (from != nullptr) {
        const ChangeCounts counts = count_changes(*from);
        entry["added"] = counts.added;
        entry["changed"] = counts.changed;
        entry["removed"] = counts.removed;
      }
      if (!entry["unchanged"]) {
        // The next stage that differs says which nodes leave.
        std::size_t next = i;
        while (next < changes_.size() && unchanged(next + 1)) ++next;
        entry["nodes"] = Json::object();
        add_nodes(stage.graph, "", Dim(1), from, next < changes_.size() ? &changes_[next] : nullptr,
                  entry["nodes"]);
        entry["views"] = Json::object();
        for (View& v : make_views(stage.graph)) {
          views.push_back(std::move(v));
          owner.push_back(i);
        }
      }
      out.push_back(std::move(entry));
    }
    std::vector<Diagram> diagrams;
    for (const View& v : views) diagrams.push_back(v.diagram);
    std::vector<Layout> layouts = lay_out(diagrams);
    for (std::size_t k = 0; k < views.size(); ++k) {
      views[k].layout = std::move(layouts[k]);
      out[owner[k]]["views"][views[k].key] = view(views[k]);
    }
    return out;
  }

  Json kernels() {
    Json out = Json::array();
    for (const KernelRow& row : compiled_kernels(compiled_.stages.back().graph, compiled_.updates))
      out.push_back({{"kind", row.kind},
                     {"what", row.description},
                     {"nodes", row.nodes},
                     {"backend", row.backend},
                     {"lines", lines(row.sources)},
                     {"times", row.times.to_string()},
                     {"flops", row.flops.to_string()},
                     {"bytes", row.bytes.to_string()}});
    return out;
  }

  const InspectedProgram& program_;
  const CompiledStages& compiled_;
  std::vector<GraphChanges> changes_;  // i: from stage i to i + 1
  std::map<std::string, std::size_t> file_index_;
  Json files_ = Json::array();
  std::set<std::string> symbols_;
};

std::string_view page_file(std::string_view name) {
  for (const EmbeddedFile& file : inspection_page_files())
    if (file.name == name) return file.text;
  ensure(false, "page", "no page file " + std::string(name));
  return {};
}

// `page` with its one `@NAME@` replaced.
void fill_in(std::string& page, const std::string& name, std::string_view text) {
  const std::size_t at = page.find(name);
  ensure(at != std::string::npos, "page", "no place for " + name);
  page.replace(at, name.size(), text);
}

std::string escaped_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string inspection_data(const InspectedProgram& program, const CompiledStages& compiled) {
  return PageData(program, compiled).run().dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string inspection_page(const InspectedProgram& program, const CompiledStages& compiled) {
  // Inside <script> a '<' could begin a tag; JSON may write it as \u003c.
  std::string data;
  for (const char c : inspection_data(program, compiled))
    data += c == '<' ? std::string("\\u003c") : std::string(1, c);
  std::string page(page_file("page.html"));
  fill_in(page, "@STYLE@", page_file("page.css"));
  for (const std::string name :
       {"expressions", "program", "source", "graph", "kernels", "details", "main"}) {
    std::string place = "@" + name + "@";
    for (char& c : place) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    fill_in(page, place, page_file(name + ".js"));
  }
  fill_in(page, "@DATA@", data);
  fill_in(page, "@TITLE@", escaped_html(program.title));
  return page;
}

}  // namespace treadle
