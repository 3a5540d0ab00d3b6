// The three backends against each other: LLVM, oneDNN for every product it can
// run, and the reference evaluator.
#include <filesystem>
#include <numeric>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "ir/builder.h"
#include "ir/eval/evaluate.h"
#include "passes/differentiate.h"
#include "passes/expand_composites.h"
#include "passes/fuse_pointwise.h"
#include "passes/place.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ops/support.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

int claimed_products(const Graph& graph) {
  int count = 0;
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::matmul && node.attributes.has(backend_attribute)) ++count;
    if (node.op == Op::scan) count += claimed_products(*node.regions[0]);
  }
  return count;
}

enum class Layout { plain, transposed_a, transposed_b, batched };

// C[M, N] (or C[G, M, N]) with symbolic extents, as the layout reads A and B.
Graph product_graph(Layout layout) {
  Graph graph;
  Builder b(graph);
  const Dim m = Dim::symbol("M"), n = Dim::symbol("N"), k = Dim::symbol("K"), g = Dim::symbol("G");
  const bool at = layout == Layout::transposed_a, bt = layout == Layout::transposed_b;
  if (layout == Layout::batched) {
    const Value a = b.input("a", {DType::f32, {g, m, k}});
    const Value w = b.input("b", {DType::f32, {g, k, n}});
    graph.add_output("c", b.matmul(a, w, {2}, {1}, {0}, {0}));
    return graph;
  }
  const Value a = b.input("a", {DType::f32, at ? Dims{k, m} : Dims{m, k}});
  const Value w = b.input("b", {DType::f32, bt ? Dims{n, k} : Dims{k, n}});
  graph.add_output("c", b.matmul(a, w, {at ? 0 : 1}, {bt ? 1 : 0}));
  return graph;
}

}  // namespace

TEST_CASE("oneDNN's products are the reference's, whatever their layout and size") {
  Team one(1), two(2), three(3);
  for (const Layout layout :
       {Layout::plain, Layout::transposed_a, Layout::transposed_b, Layout::batched}) {
    const Graph graph = product_graph(layout);
    const Graph placed = place_all(graph, onednn_model());
    REQUIRE(claimed_products(placed) == 1);
    const auto program = compile_llvm(placed, {}, {{}, {}, make_onednn_runner, {}, {}});
    for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1},
                                                                          {1, 65, 3},
                                                                          {17, 5, 64},
                                                                          {64, 48, 33},
                                                                          {130, 96, 16},
                                                                          {519, 7, 9},
                                                                          {0, 4, 3},
                                                                          {3, 0, 2},
                                                                          {3, 4, 0}}) {
      INFO("layout " << static_cast<int>(layout) << ": " << m << " x " << n << " x " << k);
      const std::vector<Tensor> inputs =
          inputs_for(graph, {{"M", m}, {"N", n}, {"K", k}, {"G", 3}});
      const std::vector<Tensor> found = run_with(*program, inputs, one);
      require_close(graph, found, evaluate(graph, inputs), 1e-5);
      CHECK(same_bits(run_with(*program, inputs, two)[0], found[0]));
      CHECK(same_bits(run_with(*program, inputs, three)[0], found[0]));
    }
  }
}

TEST_CASE("each op agrees across the three backends in f32") {
  Team team(2);
  int claimed = 0;
  for (Case c : all_cases()) {
    for (ProbeOperand& operand : c.probe.operands)
      if (operand.type.dtype == DType::f64) operand.type.dtype = DType::f32;
    Graph graph;
    try {
      graph = case_graph(c);
    } catch (const UserError&) {
      continue;  // an op that asks for f64
    }
    INFO(c.name());
    const std::vector<Tensor> inputs = draw_operands(c, 7);
    const std::vector<Tensor> expected = evaluate(graph, inputs);
    const Graph lowered = fuse_pointwise(expand_composites(graph));
    require_close(graph, run_with(*compile_llvm(lowered, {}), inputs, team), expected, 1e-5);
    const Graph placed = place_all(lowered, onednn_model());
    if (claimed_products(placed) == 0) continue;
    ++claimed;
    const auto program = compile_llvm(placed, {}, {{}, {}, make_onednn_runner, {}, {}});
    require_close(graph, run_with(*program, inputs, team), expected, 1e-5);
  }
  CHECK(claimed > 0);
}

TEST_CASE("each example agrees across the three backends, gradients included") {
  const std::filesystem::path folder = std::filesystem::path(TREADLE_SOURCE_DIR) / "examples";
  Team team(2), one(1);
  int examples = 0, claimed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".tdl") continue;
    INFO(entry.path().filename().string());
    ElaborateOptions options;
    options.dims = {{"H", 7}, {"M", 4}, {"L", 1}, {"V", 9}, {"W", 7}};
    const Experiment experiment = load_experiment(entry.path().string(), options);
    REQUIRE(experiment.find_train() != nullptr);
    const Graph graph = batched_gradient(experiment.loss(*experiment.find_train(), Mode::train));
    DimEnv env;
    for (const std::string& symbol : graph.symbols()) env[symbol] = symbol == "B" ? 3 : 5;
    const std::vector<Tensor> inputs = inputs_for(graph, env);
    const std::vector<Tensor> expected = evaluate(graph, inputs);
    for (const char* backend : {"llvm", "onednn", "auto", "reference"}) {
      INFO(backend);
      const auto program = compile(graph, {}, {backend, {}, {}});
      const std::vector<Tensor> found = run_with(*program, inputs, team);
      require_close(graph, found, expected, 2e-5);
      const std::vector<Tensor> alone = run_with(*program, inputs, one);
      for (std::size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], alone[i]));
    }
    claimed += claimed_products(place_all(lower(graph), onednn_model()));
    ++examples;
  }
  CHECK(examples >= 5);
  CHECK(claimed >= 4 * examples);
}

namespace {
// Takes so many seconds for everything.
class FixedModel final : public BackendModel {
 public:
  FixedModel(std::string_view name, double seconds) : name_(name), seconds_(seconds) {}
  std::string_view name() const override { return name_; }
  bool claims(const Graph& graph, NodeId id) const override {
    return graph.type(graph.node(id).operands[0]).dims[0].constant() != 5;
  }
  double seconds(const Graph&, NodeId, const DimEnv&) const override { return seconds_; }

 private:
  std::string_view name_;
  double seconds_;
};
}  // namespace

TEST_CASE("place takes the backend that is predicted to be faster and can run the node") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", {DType::f32, {4, 4}}), y = b.input("y", {DType::f32, {5, 4}});
  graph.add_output("x", b.matmul(x, x, {1}, {0}));
  graph.add_output("y", b.matmul(y, x, {1}, {0}));
  const FixedModel slow("slow", 2), almost("almost", 1.92), fast("fast", 1), faster("faster", 0.5);
  const auto backends = [&](std::vector<const BackendModel*> models) {
    const Graph placed = place(graph, models);
    std::string out;
    for (const Node& node : placed.nodes())
      if (node.op == Op::matmul) out += node.attributes.string(backend_attribute, "-") + " ";
    return out;
  };
  CHECK(backends({&slow}) == "- - ");
  CHECK(backends({&slow, &fast}) == "fast - ");
  CHECK(backends({&fast, &slow}) == "- - ");
  CHECK(backends({&slow, &almost}) == "- - ");  // not worth it
  CHECK(backends({&almost, &slow, &fast, &faster}) == "faster - ");
  CHECK(backends({&slow, &fast, &faster}) == "faster - ");
  CHECK(same_graph(place(place(graph, std::vector<const BackendModel*>{&slow, &fast}),
                         std::vector<const BackendModel*>{&slow}),
                   place(graph, std::vector<const BackendModel*>{&slow, &fast})));
}
