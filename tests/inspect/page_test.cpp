// `dump --format html` and `dump --stage kernels`: what stands in them.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "driver/inspect/graphviz.h"
#include "driver/inspect/kernels.h"
#include "driver/inspect/page.h"
#include "driver/inspect/views.h"
#include "ir/text_parser.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using nlohmann::json;
using treadle::test::Run;
using treadle::test::run;

namespace {

std::string example(const std::string& name) {
  return std::string(TREADLE_SOURCE_DIR) + "/examples/" + name;
}

// What the page of examples/my_cell.tdl holds.
const json& page_data() {
  static const json data = [] {
    const InspectedProgram program = load_inspected(example("my_cell.tdl"), {});
    return json::parse(inspection_data(program, compile_stages(program)));
  }();
  return data;
}

const json& stage(const json& data, const std::string& name) {
  for (const json& candidate : data.at("stages"))
    if (candidate.at("name") == name) return candidate;
  FAIL("no stage " + name);
  return data;
}

std::set<std::string> shown_nodes(const json& views) {
  std::set<std::string> out;
  for (const json& view : views)
    for (const json& box : view.at("boxes"))
      if (box.contains("node") && box.at("kind") != "outside") out.insert(box.at("node"));
  return out;
}

}  // namespace

TEST_CASE("the page loads nothing and holds the whole program") {
  const Run result = run("dump " + example("my_cell.tdl") + " --format html");
  REQUIRE(result.status == 0);
  const std::string& page = result.output;
  CHECK(page.starts_with("<!doctype html>"));
  CHECK(page.find("my_cell.tdl: train Mine</title>") != std::string::npos);
  for (const char* outside : {"src=", "href=", "@import", "url(", "https://", "fetch("})
    CHECK(page.find(outside) == std::string::npos);
  // The one address is the name of SVG's elements, which nobody loads.
  std::size_t addresses = 0;
  for (std::size_t at = 0; (at = page.find("http://", at)) != std::string::npos; ++at) ++addresses;
  CHECK(addresses == 1);
  // Nothing in the data can end its element.
  const std::size_t data = page.find("id=\"data\">") + 10;
  CHECK(page.compare(page.find('<', data), 9, "</script>") == 0);
  CHECK(json::accept(page.substr(data, page.find('<', data) - data)));
  CHECK(page.find("@DATA@") == std::string::npos);
}

TEST_CASE("each stage has its nodes, each node a box, and unchanged stages are those before") {
  const json& data = page_data();
  CHECK(data.at("files")[0].at("text") == read_file(example("my_cell.tdl")));
  CHECK(data.at("extents") == json{{"B", 32}});
  std::vector<std::string> names;
  for (const json& entry : data.at("stages")) {
    names.push_back(entry.at("name"));
    INFO(names.back());
    if (entry.at("unchanged") == true) {
      CHECK_FALSE(entry.contains("nodes"));
      continue;
    }
    const std::set<std::string> shown = shown_nodes(entry.at("views"));
    for (const auto& [path, node] : entry.at("nodes").items()) {
      // Sources that nothing reads, and constants of folded groups' readers, stand nowhere.
      const std::string family = node.at("family");
      if (family != "linalg" && family != "control" && family != "reduce") continue;
      if (node.at("op") == "argument" || node.at("op") == "dimension") continue;
      INFO(path);
      CHECK(shown.contains(path));
    }
  }
  CHECK(names == std::vector<std::string>{"one example", "batched", "training step", "simplify",
                                          "hoist-scan", "fuse-gates", "simplify", "join-stacks",
                                          "fuse-attention", "expand-composites", "simplify",
                                          "sink-transposes", "join-gradients", "carry-sums",
                                          "chain-products", "fuse-pointwise", "place"});
}

TEST_CASE("a node says its place, its types and what it costs") {
  const json& data = page_data();
  int sigmoids = 0;
  for (const auto& [path, node] : stage(data, "batched").at("nodes").items()) {
    if (node.at("op") != "sigmoid") continue;
    ++sigmoids;
    CHECK(node.at("types") == json{"f32[B, 24]"});
    CHECK(node.at("flops") == "24*B");
    CHECK(node.at("bytes") == "192*B");
    CHECK(node.at("times") == "16");
    const int line = node.at("place")[1];
    CHECK((line == 13 || line == 14));
    CHECK(node.at("change") == "changed");  // it was f32[24]
  }
  CHECK(sigmoids == 2);
}

TEST_CASE("fuse-gates: three products leave a loop and one is new") {
  const json& data = page_data();
  const auto products = [&](const char* name, const char* key, const json& value) {
    int count = 0;
    for (const auto& [path, node] : stage(data, name).at("nodes").items())
      if (node.at("op") == "matmul" && path.find('/') != std::string::npos && node.contains(key) &&
          node.at(key) == value)
        ++count;
    return count;
  };
  CHECK(products("hoist-scan", "leaves", true) >= 2);
  CHECK(stage(data, "fuse-gates").at("removed") > 0);
  CHECK(stage(data, "fuse-gates").at("added") > 0);
}

TEST_CASE("the kernels do all the products' work, and each product's lines are known") {
  const json& data = page_data();
  double kernels = 0, nodes = 0;
  for (const json& kernel : data.at("kernels")) {
    if (kernel.at("kind") != "matmul") continue;
    CHECK_FALSE(kernel.at("lines").empty());
    const auto value = [&](const char* key) {
      return *value_of(Dim::parse(kernel.at(key).get<std::string>()), {{"B", 32}});
    };
    kernels += value("times") * value("flops");
  }
  for (const auto& [path, node] : stage(data, "fuse-pointwise").at("nodes").items())
    if (node.at("op") == "matmul" || node.at("op") == "matmul_add")
      nodes += *value_of(Dim::parse(node.at("flops").get<std::string>()), {{"B", 32}}) *
               *value_of(Dim::parse(node.value("times", "1")), {});
  CHECK(kernels == nodes);
  CHECK(kernels > 1e6);
}

TEST_CASE("-D gives dims and symbols values; other names are the user's mistake") {
  const std::string kernels = "dump " + example("demo.tdl") + " --stage kernels ";
  const Run wide = run(kernels + "-D H=8 -D B=64");
  REQUIRE(wide.status == 0);
  CHECK(wide.output.find("f32[B, 8]") != std::string::npos);
  CHECK(wide.output.find("B = 64\n") != std::string::npos);
  CHECK(run(kernels).output.find("B = 32\n") != std::string::npos);  // the train block's
  test::check_fails(kernels + "-D BATCH=3", "T0892", "its symbols are B");
}

TEST_CASE("the table of kernels has numbers where the dims have values") {
  const Graph graph = parse_graph(R"(graph @main stage(optimised) {
    %0 = input {dims = <B, 8>, dtype = f32, name = "x"} : f32[B, 8]
    %1 = parameter {dims = <8, 4>, dtype = f32, initialiser = "xavier", name = "W"} : f32[8, 4]
    %2 = matmul(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 4]
    return "y" = %2
  })");
  const std::vector<KernelRow> rows = compiled_kernels(graph, {});
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].kind == "pack");
  CHECK(rows[1].kind == "matmul");
  const Dim B = Dim::symbol("B");
  CHECK(rows[1].flops == B * Dim(64));
  CHECK(rows[1].bytes == B * Dim(48) + Dim(128));
  CHECK(*intensity(rows[1], {{"B", 10}}) == Approx(640.0 / 608));
  CHECK_FALSE(intensity(rows[1], {}).has_value());
  const std::string bound = kernel_table(rows, {{"B", 10}}), open = kernel_table(rows, {});
  CHECK(bound.find("64*B = 640") != std::string::npos);
  CHECK(bound.find("1.05") != std::string::npos);
  CHECK(open.find("64*B = ") == std::string::npos);
  CHECK(open.find("a step: 64*B flops") != std::string::npos);
}

TEST_CASE("numbers are short") {
  CHECK(short_number(0) == "0");
  CHECK(short_number(999) == "999");
  CHECK(short_number(0.125) == "0.12");
  CHECK(short_number(1000) == "1.00 k");
  CHECK(short_number(999999) == "1.00 M");
  CHECK(short_number(23456789) == "23.5 M");
}

TEST_CASE("Graphviz puts clusters around their nodes and edges between theirs") {
  Diagram diagram;
  diagram.nodes = {{60, 20, -1}, {80, 36, 1}, {80, 36, 0}, {60, 20, -1}};
  diagram.edges = {{0, 1}, {1, 2}, {2, 3}};
  diagram.clusters = {{-1, 120}, {0, 40}};
  const std::vector<Layout> layouts = lay_out(std::vector{diagram, Diagram{}, diagram});
  REQUIRE(layouts.size() == 3);
  CHECK(layouts[1].nodes.empty());
  const Layout& layout = layouts[2];
  const auto inside = [&](std::size_t node, std::size_t cluster) {
    const Point at = layout.nodes[node];
    const Layout::Box& box = layout.clusters[cluster];
    return at.x - 40 >= box.left && at.x + 40 <= box.right && at.y - 18 >= box.top &&
           at.y + 18 <= box.bottom;
  };
  CHECK(inside(1, 1));
  CHECK(inside(1, 0));
  CHECK(inside(2, 0));
  CHECK_FALSE(inside(2, 1));
  CHECK(layout.clusters[0].right - layout.clusters[0].left >= 120);
  for (std::size_t i = 0; i + 1 < 4; ++i) CHECK(layout.nodes[i].y < layout.nodes[i + 1].y);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(layout.edges[i].front().y ==
          Approx(layout.nodes[i].y + diagram.nodes[i].height / 2).margin(1));
    CHECK(layout.edges[i].back().y ==
          Approx(layout.nodes[i + 1].y - diagram.nodes[i + 1].height / 2).margin(1));
  }
}

TEST_CASE("a large graph is folded by source lines, its scans stay") {
  const Graph graph = load_inspected(example("my_cell.tdl"), {}).graph;
  const std::vector<View> open = make_views(graph, 1000), folded = make_views(graph, 10);
  CHECK(open[0].boxes.size() > folded[0].boxes.size());
  CHECK(open[1].key == "overview");
  CHECK(open[1].boxes.size() == folded[0].boxes.size());
  const auto scans = [](const View& view) {
    int count = 0;
    for (const ViewBox& box : view.boxes) count += box.title.starts_with("scan") ? 1 : 0;
    return count;
  };
  CHECK(scans(open[0]) == 1);
  CHECK(open[0].clusters.size() == 1);
  CHECK(scans(folded[0]) == 1);
  CHECK(folded[0].clusters.empty());
  std::size_t held = 0;
  for (const ViewBox& box : folded[0].boxes) held += box.holds.size();
  CHECK(held > 20);
}

TEST_CASE("a line that is run twice has two boxes, so that no box waits for itself") {
  const auto folder = test::fresh_folder("inspect_layers");
  std::ofstream(folder / "layers.tdl") << R"(dim M = 4
block layer[M](x: real[T, M]) {
  return tanh(square(x) + exp(x) * sin(x))
}
model Twice(x: real[T, M]) {
  return y: layer(relu(layer(x)))
}
)";
  const Graph graph = load_inspected((folder / "layers.tdl").string(), {}).graph;
  const std::vector<View> views = make_views(graph, 1);
  std::set<std::string> titles;
  for (const ViewBox& box : views[0].boxes) titles.insert(box.title);
  CHECK(titles.contains("layers.tdl:3"));
  CHECK(titles.contains("layers.tdl:3 (2)"));
  // The second one reads the first one and not the other way.
  const auto title = [&](int box) { return views[0].boxes[static_cast<std::size_t>(box)].title; };
  for (const Diagram::Edge& edge : views[0].diagram.edges) {
    const bool backwards =
        title(edge.from) == "layers.tdl:3 (2)" && title(edge.to) == "layers.tdl:3";
    CHECK_FALSE(backwards);
  }
}

TEST_CASE("a diagram with thousands of long edges is laid out all the same") {
  Diagram diagram;
  constexpr int length = 150;
  for (int i = 0; i < length; ++i) {
    diagram.nodes.push_back({60, 20, -1});
    if (i > 0) diagram.edges.push_back({i - 1, i});
    if (i > 1) diagram.edges.push_back({0, i});
  }
  const std::vector<Layout> layouts = lay_out(std::vector{diagram});
  for (int i = 1; i < length; ++i)
    CHECK(layouts[0].nodes[static_cast<std::size_t>(i)].y >
          layouts[0].nodes[static_cast<std::size_t>(i - 1)].y);
  CHECK(layouts[0].edges.back().size() >= 4);
}

TEST_CASE("-o writes a file; without Graphviz the mistake has a code") {
  const auto folder = test::fresh_folder("inspect");
  const std::string page = (folder / "page.html").string();
  const Run written = run("dump " + example("my_cell.tir") + " --format html -o " + page);
  REQUIRE(written.status == 0);
  CHECK(written.output.empty());
  CHECK(read_file(page).starts_with("<!doctype html>"));
  const Run missing = test::shell("PATH=/nowhere " + std::string(TREADLE_EXECUTABLE) + " dump " +
                                  example("my_cell.tir") + " --format html 2>&1");
  CHECK(missing.status == 1);
  CHECK(missing.output.find("error[T0890]") != std::string::npos);
  std::filesystem::create_directory(folder / "bin");
  test::shell("printf '#!/bin/sh\\necho broken >&2\\nexit 3\\n' > " +
              (folder / "bin/dot").string() + " && chmod +x " + (folder / "bin/dot").string());
  const Run broken = test::shell("PATH=" + (folder / "bin").string() + ":$PATH " +
                                 std::string(TREADLE_EXECUTABLE) + " dump " +
                                 example("my_cell.tir") + " --format html 2>&1");
  CHECK(broken.status == 1);
  CHECK(broken.output.find("error[T0891]") != std::string::npos);
  CHECK(broken.output.find("broken") != std::string::npos);
}
