// IR in, IR out: each file of tests/passes/golden holds passes, a graph, and
// the graph that they make of it. With TREADLE_UPDATE_GOLDEN=1 the last part is
// written anew.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "driver/compile.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "passes/pass_manager.h"
#include "runtime/file.h"
#include "tests/catch.h"

using namespace treadle;

namespace {
constexpr std::string_view arrow = "=>\n";
}

TEST_CASE("every pass makes of a graph what its golden file says") {
  const std::filesystem::path folder =
      std::filesystem::path(TREADLE_SOURCE_DIR) / "tests/passes/golden";
  std::string covered;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path().filename().string());
    const std::string text = read_file(entry.path());
    const std::size_t first = text.find('\n') + 1, middle = text.find(arrow);
    REQUIRE(text.starts_with("# passes: "));
    REQUIRE(middle != std::string::npos);
    const std::string pipeline = text.substr(10, first - 11);
    const std::string before = text.substr(first, middle - first);
    const Graph graph = parse_graph(before);
    CHECK(print(graph) == before);
    PassObserver observer;
    observer.verify_each = true;
    const std::string after =
        print(run_pipeline(graph, parse_pipeline(pipeline), observer, {backend_models()}));
    CHECK(print(parse_graph(after)) == after);
    if (std::getenv("TREADLE_UPDATE_GOLDEN") != nullptr)
      std::ofstream(entry.path(), std::ios::binary) << text.substr(0, middle) << arrow << after;
    else
      CHECK(text.substr(middle + arrow.size()) == after);
    covered += pipeline + " ";
  }
  for (const Pass& pass : all_passes()) {
    INFO(pass.name);
    CHECK(covered.find(pass.name) != std::string::npos);
  }
}
