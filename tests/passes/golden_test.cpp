// IR in, IR out: each file of tests/passes/golden holds passes, a graph, and
// the graph that they make of it. With TREADLE_UPDATE_GOLDEN=1 the last part is
// written anew.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "passes/pass_manager.h"
#include "runtime/file.h"
#include "tests/catch.h"

using namespace treadle;

namespace {
constexpr std::string_view arrow = "=>\n";

// Of one kind of machine, whatever the tests run on: AVX-512.
std::vector<std::shared_ptr<const ProductModel>> avx512_models() {
  return {make_llvm_model(MatmulTile{DType::f32, 8, 48, 3, 16}, llvm_step_seconds(64)),
          make_onednn_model(64, onednn_step_seconds(64))};
}
}  // namespace

TEST_CASE("every pass makes of a graph what its golden file says") {
  const std::filesystem::path folder =
      std::filesystem::path(TREADLE_SOURCE_DIR) / "tests/passes/golden";
  const auto owned = avx512_models();
  const std::vector<const BackendModel*> models{owned[0].get(), owned[1].get()};
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
        print(run_pipeline(graph, parse_pipeline(pipeline), observer, {models}));
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
