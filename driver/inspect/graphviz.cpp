#include "driver/inspect/graphviz.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ir/diagnostic.h"
#include "runtime/file.h"

namespace treadle {
namespace {

namespace fs = std::filesystem;
constexpr double points_per_inch = 72;

fs::path find_dot() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path candidate = fs::path(folder.empty() ? "." : folder) / "dot";
    if (access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate)) return candidate;
  }
  throw_user_error("T0890", "the program 'dot' of Graphviz, which lays out the page, is not here",
                   "apt install graphviz");
}

// A folder that goes when it is no longer needed.
class Workspace {
 public:
  Workspace() {
    std::string name = (fs::temp_directory_path() / "treadle-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw_user_error("T0891", "there is no place for temporary files in '" +
                                    fs::temp_directory_path().string() + "'");
    folder_ = name;
  }
  ~Workspace() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  fs::path file(const char* name) const { return folder_ / name; }

 private:
  fs::path folder_;
};

std::string quoted(const fs::path& path) {
  std::string out = "'";
  for (const char c : path.string()) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void write_cluster(const Diagram& diagram, int cluster, std::string& out) {
  for (std::size_t i = 0; i < diagram.nodes.size(); ++i)
    if (diagram.nodes[i].cluster == cluster)
      out += fmt::format("n{} [width={:.4f}, height={:.4f}];\n", i,
                         diagram.nodes[i].width / points_per_inch,
                         diagram.nodes[i].height / points_per_inch);
  for (std::size_t i = 0; i < diagram.clusters.size(); ++i) {
    if (diagram.clusters[i].parent != cluster) continue;
    // The title's room: a label of dot's own would have a width of dot's font.
    out += fmt::format(
        "subgraph cluster_{} {{ margin=14; label=<<TABLE BORDER=\"0\" CELLPADDING=\"0\" "
        "FIXEDSIZE=\"TRUE\" WIDTH=\"{:.0f}\" HEIGHT=\"16\"><TR><TD></TD></TR></TABLE>>;\n",
        i, diagram.clusters[i].title_width);
    write_cluster(diagram, static_cast<int>(i), out);
    out += "}\n";
  }
}

// The ranks that all edges together span, when each node stands as high as it
// can: how much room the edges take. Edges of a cycle are left out.
std::size_t total_span(const Diagram& diagram) {
  const std::size_t count = diagram.nodes.size();
  std::vector<std::vector<std::size_t>> readers(count);
  std::vector<std::size_t> open(count, 0), rank(count, 0), ready;
  for (const Diagram::Edge& edge : diagram.edges) {
    readers[static_cast<std::size_t>(edge.from)].push_back(static_cast<std::size_t>(edge.to));
    ++open[static_cast<std::size_t>(edge.to)];
  }
  for (std::size_t i = 0; i < count; ++i)
    if (open[i] == 0) ready.push_back(i);
  std::size_t out = 0;
  while (!ready.empty()) {
    const std::size_t node = ready.back();
    ready.pop_back();
    for (const std::size_t reader : readers[node]) {
      rank[reader] = std::max(rank[reader], rank[node] + 1);
      if (--open[reader] == 0) ready.push_back(reader);
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    for (const std::size_t reader : readers[i])
      if (rank[reader] > rank[i]) out += rank[reader] - rank[i];
  return out;
}

std::string dot_text(const Diagram& diagram) {
  // Long edges take minutes to be bent around everything; where there are many,
  // they are straight.
  constexpr std::size_t most = 6000;
  const char* quick =
      total_span(diagram) > most ? ", splines=line, nslimit=0.3, nslimit1=0.3, mclimit=0.3" : "";
  std::string out = fmt::format(
      "digraph {{ graph [rankdir=TB, newrank=true, ranksep=0.32, nodesep=0.16, pad=0.1{}];\n"
      "node [shape=box, fixedsize=true, label=\"\"]; edge [arrowsize=0.6];\n",
      quick);
  write_cluster(diagram, -1, out);
  for (std::size_t i = 0; i < diagram.edges.size(); ++i) {
    const Diagram::Edge& edge = diagram.edges[i];
    out += fmt::format("n{} -> n{} [id=\"{}\"];\n", edge.from, edge.to, i);
  }
  return out + "}\n";
}

std::vector<double> numbers(std::string text) {
  std::vector<double> out;
  for (char& c : text)
    if (c == ',' || c == ' ') c = ' ';
  std::istringstream stream(text);
  for (double number = 0; stream >> number;) out.push_back(number);
  return out;
}

// "e,x,y x,y x,y ...": the tip of the arrow, then the curve.
std::vector<Point> curve(const std::string& text, double height) {
  const bool tip = text.starts_with("e,");
  const std::vector<double> all = numbers(tip ? text.substr(2) : text);
  std::vector<Point> out;
  for (std::size_t i = tip ? 2 : 0; i + 1 < all.size(); i += 2)
    out.push_back({all[i], height - all[i + 1]});
  if (tip && all.size() >= 2) out.push_back({all[0], height - all[1]});
  return out;
}

Layout read_layout(const Diagram& diagram, const nlohmann::json& json) {
  Layout out;
  out.nodes.resize(diagram.nodes.size());
  out.edges.resize(diagram.edges.size());
  out.clusters.resize(diagram.clusters.size());
  const std::vector<double> box = numbers(json.at("bb").get<std::string>());
  ensure(box.size() == 4, "graphviz", "a layout without a box");
  out.width = box[2];
  out.height = box[3];
  if (json.contains("objects"))
    for (const nlohmann::json& object : json.at("objects")) {
      const std::string name = object.at("name");
      if (name.starts_with("cluster_")) {
        const std::vector<double> bb = numbers(object.at("bb").get<std::string>());
        out.clusters.at(std::stoul(name.substr(8))) = {bb.at(0), out.height - bb.at(3), bb.at(2),
                                                       out.height - bb.at(1)};
      } else if (name.starts_with("n")) {
        const std::vector<double> at = numbers(object.at("pos").get<std::string>());
        out.nodes.at(std::stoul(name.substr(1))) = {at.at(0), out.height - at.at(1)};
      }
    }
  if (json.contains("edges"))
    for (const nlohmann::json& edge : json.at("edges"))
      out.edges.at(std::stoul(edge.at("id").get<std::string>())) =
          curve(edge.at("pos").get<std::string>(), out.height);
  return out;
}

}  // namespace

std::vector<Layout> lay_out(std::span<const Diagram> diagrams) {
  const fs::path program = find_dot();
  const Workspace workspace;
  const fs::path input = workspace.file("graphs.dot"), output = workspace.file("graphs.json"),
                 errors = workspace.file("errors");
  std::ofstream text(input);
  for (const Diagram& diagram : diagrams) text << dot_text(diagram);
  text.close();
  const int status = std::system(fmt::format("{} -Tjson0 {} > {} 2> {}", quoted(program),
                                             quoted(input), quoted(output), quoted(errors))
                                     .c_str());
  const auto failed = [&](const std::string& what) {
    throw_user_error("T0891", "Graphviz could not lay out the graphs: " + what,
                     "'dot -V' says which version is installed; 2.40 or newer is needed");
  };
  if (!text || status != 0) failed(read_file(errors));
  std::istringstream stream(read_file(output));
  std::vector<Layout> out;
  try {
    for (const Diagram& diagram : diagrams) {
      nlohmann::json json;
      stream >> json;
      out.push_back(read_layout(diagram, json));
    }
  } catch (const std::exception& error) {
    failed(error.what());
  }
  return out;
}

}  // namespace treadle
