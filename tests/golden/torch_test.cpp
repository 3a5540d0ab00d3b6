// The library's cells against PyTorch's layers (make_fixtures.py).
#include "driver/compile.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "ir/eval/evaluate.h"
#include "runtime/safetensors.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/fixtures.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;

namespace {

Graph model_of(const std::string& kind, DType real) {
  auto file = std::make_shared<SourceFile>();
  file->path = "fixture.tdl";
  const std::string cell = kind + "[3, 4]";
  file->text = "model M(x: real[T, 3], s: state " + cell + " = zeros) {\n  y, s = scan " + cell +
               " over x from s\n  return y: y, state: s\n}\n";
  ElaborateOptions options;
  options.real = real;
  return elaborate_or_throw(std::make_shared<const syntax::Module>(parse_or_throw(std::move(file))),
                            options)
      .model("M", Mode::eval);
}

// "lstm.W" -> "W", "s" and "s.0" -> "s0", "state.1" -> "final1".
std::string fixture_name(std::string name) {
  const bool gradient = name.starts_with("grad:");
  if (gradient) name = name.substr(5);
  if (name == "s" || name.starts_with("s."))
    name = "s" + (name == "s" ? std::string("0") : name.substr(2));
  else if (name.starts_with("state"))
    name = "final" + (name == "state" ? std::string("0") : name.substr(6));
  else if (const std::size_t dot = name.find('.'); dot != std::string::npos)
    name = name.substr(dot + 1);
  return (gradient ? "grad." : "") + name;
}

}  // namespace

TEST_CASE("RNN, LSTM and GRU equal PyTorch's: outputs, final states, all gradients") {
  const NamedTensors file =
      read_safetensors(std::string(TREADLE_SOURCE_DIR) + "/tests/golden/recurrent.safetensors");
  std::map<std::string, Tensor> fixtures(file.tensors.begin(), file.tensors.end());
  Team team(2);
  for (const std::string kind : {"RNN", "LSTM", "GRU"})
    for (const DType real : {DType::f32, DType::f64}) {
      const std::string prefix = kind + "." + std::string(to_string(real)) + ".";
      const double tolerance = real == DType::f32 ? 1e-5 : 1e-10;
      const Graph graph = test::with_gradients(model_of(kind, real));
      std::vector<Tensor> inputs;
      std::vector<const Tensor*> pointers;
      for (const NodeId id : graph.inputs())
        inputs.push_back(
            fixtures.at(prefix + fixture_name(graph.node(id).attributes.string("name"))));
      for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
      const std::vector<Tensor> reference = evaluate(graph, inputs);
      const std::vector<Tensor> compiled = run(*compile(graph, {}), pointers, team);
      int compared = 0;
      for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
        const std::string& name = graph.outputs()[i].name;
        if (name == "loss") continue;
        const Tensor& expected = fixtures.at(prefix + fixture_name(name));
        std::string why;
        const bool same = test::close(reference[i], expected, tolerance, &why);
        INFO(prefix << name << ": " << why);
        CHECK(same);
        const bool same_compiled = test::close(compiled[i], expected, tolerance, &why);
        INFO("compiled: " << why);
        CHECK(same_compiled);
        ++compared;
      }
      CHECK(compared == (kind == "LSTM" ? 9 : kind == "GRU" ? 8 : 7));
    }
}

TEST_CASE("both directions and the binary cross entropy equal PyTorch's, with all gradients") {
  const NamedTensors file =
      read_safetensors(std::string(TREADLE_SOURCE_DIR) + "/tests/golden/recurrent.safetensors");
  std::map<std::string, Tensor> fixtures(file.tensors.begin(), file.tensors.end());
  Team team(2);
  for (const auto& [prefix, text] : std::map<std::string, std::string>{
           {"BiRNN.", "model M(x: real[T, 3]) { return y: BiRNN[4](x) }"},
           {"BiLSTM.", "model M(x: real[T, 3]) { return y: BiLSTM[4](x) }"},
           {"BiGRU.", "model M(x: real[T, 3]) { return y: BiGRU[4](x) }"},
           {"bce.",
            "model M(x: real[7], target: real[7]) { return y: binary_cross_entropy(x, target) }"},
       }) {
    const Graph graph = test::with_gradients(test::program(text).model("M", Mode::eval));
    std::vector<Tensor> inputs;
    std::vector<const Tensor*> pointers;
    for (const NodeId id : graph.inputs()) {
      const std::string name = prefix + graph.node(id).attributes.string("name");
      INFO(name);
      REQUIRE(fixtures.contains(name));
      inputs.push_back(fixtures.at(name));
    }
    for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
    const std::vector<Tensor> reference = evaluate(graph, inputs);
    const std::vector<Tensor> compiled = run(*compile(graph, {}), pointers, team);
    for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
      const std::string name = prefix + graph.outputs()[i].name;
      if (!fixtures.contains(name)) continue;
      std::string why;
      const bool same = test::close(reference[i], fixtures.at(name), 1e-10, &why) &&
                        test::close(compiled[i], fixtures.at(name), 1e-10, &why);
      INFO(name << ": " << why);
      CHECK(same);
      fixtures.erase(name);
    }
  }
  // Nothing that PyTorch gave is left uncompared.
  for (const auto& [name, tensor] : fixtures) {
    INFO(name);
    CHECK_FALSE((name.starts_with("Bi") && name.find("grad:") != std::string::npos));
    CHECK_FALSE((name.starts_with("bce.grad:")));
  }
}
