// Recomputation: the same values, the same gradients, less memory.
#include "passes/recompute.h"

#include <cmath>

#include "driver/compile.h"
#include "driver/gradcheck.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "runtime/resident_memory.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::string reader(const std::string& scan) {
  return "model M(x: real[T, 3], w: real[T, 4]) {\n  y, s = scan " + scan +
         "\n  return loss: sum(y * w) + sum(sin(y[0]))\n}\n";
}
const std::vector<std::string> scans = {
    "LSTM[3, 4] over x",
    "reverse GRU[3, 4] over x",
    "stack (LSTM[3, 4], GRU[4, 4]) over x",
    "PeepholeLSTM[3, 4] over x",
};

Graph gradient(const Graph& loss, const DimEnv& sizes, std::vector<RecomputeChoice>* choices) {
  Graph work = batch(loss);
  Builder b(work);
  work.set_outputs({{"loss", b.reduce_sum(work.output("loss"), {0})}});
  return differentiate(recompute(work, sizes, choices));
}

Graph model(const std::string& text, DType real = DType::f64) {
  return program(text, real).model("M", Mode::train);
}

}  // namespace

TEST_CASE("with a budget values are the same bits and gradients the same at every length") {
  const DimEnv sizes{{"B", 3}, {"T", 60}};
  Team team(2), one(1);
  for (const std::string& scan : scans) {
    INFO(scan);
    const Graph plain = gradient(model(reader(scan)), sizes, nullptr);
    std::vector<RecomputeChoice> choices;
    const Graph cut = gradient(model(reader(scan + " remat(budget: 40 KiB)")), sizes, &choices);
    REQUIRE(choices.size() == 1);
    CHECK(choices[0].chunk > 1);
    CHECK(choices[0].chunked > choices[0].chunk);
    CHECK(choices[0].chunked < 60);
    CHECK(choices[0].kept <= 40 * 1024);
    CHECK(choices[0].whole > 40 * 1024);
    const auto program = compile(cut, {});
    for (const std::int64_t length : {1, 5, 37, 60, 61}) {
      INFO("T = " << length);
      const std::vector<Tensor> inputs = inputs_for(plain, {{"B", 3}, {"T", length}});
      const std::vector<Tensor> expected = evaluate(plain, inputs);
      const std::vector<Tensor> found = evaluate(cut, inputs);
      CHECK(found[0].get(0) == expected[0].get(0));
      require_close(plain, found, expected, 1e-12);
      require_close(plain, evaluate(optimise(cut), inputs), expected, 1e-11);
      const std::vector<Tensor> compiled = run_with(*program, inputs, team);
      require_close(plain, compiled, expected, 1e-11);
      require_close(plain, run_with(*program, inputs, one), compiled, 0);  // any threads
    }
  }
}

TEST_CASE("derivatives of second order go through recomputation") {
  const DimEnv sizes{{"T", 40}};
  const Graph cut = recompute(model(reader("LSTM[3, 4] over x remat(budget: 6 KiB)")), sizes);
  CHECK(count_ops(cut, Op::scan) == 2);
  GradcheckOptions options;
  options.order = 2;
  for (const GradcheckRow& row : gradcheck(cut, inputs_for(cut, sizes), options)) {
    INFO(row.name << " order " << row.order << ": error " << row.error << " of " << row.largest);
    CHECK(row.passed);
  }
}

TEST_CASE("a budget that holds everything changes nothing, one that holds nothing is a mistake") {
  const DimEnv sizes{{"B", 3}, {"T", 60}};
  std::vector<RecomputeChoice> choices;
  const Graph loss = batch(model(reader("LSTM[3, 4] over x remat(budget: 64 MiB)")));
  const Graph kept = recompute(loss, sizes, &choices);
  CHECK(count_ops(kept, Op::scan) == 1);
  REQUIRE(choices.size() == 1);
  CHECK(choices[0].chunk == 0);
  std::string code;
  try {
    recompute(batch(model(reader("LSTM[3, 4] over x remat(budget: 1 KiB)"))), sizes);
  } catch (const UserError& error) {
    code = error.diagnostics().front().code;
  }
  CHECK(code == "T0377");
}

TEST_CASE("the least residuals of a step are fewer, and the gradients the same bits") {
  // i * g, tanh(c) and their like can be computed from the gates again
  const Graph loss = batched_gradient(model(reader(scans[0])));
  Graph marked = model(reader(scans[0]));
  Graph least_loss = batch(marked);
  {
    Graph work;
    work.stage = least_loss.stage;
    Builder b(work);
    std::map<Value, Value> map;
    for (NodeId id = 0; id < least_loss.size(); ++id) {
      Node node = least_loss.node(id);
      if (node.op == Op::scan) node.attributes.set("least_residuals", true);
      std::vector<Value> operands;
      for (const Value v : node.operands) operands.push_back(map.at(v));
      const Value first = b.clone(node, std::move(operands));
      for (std::uint32_t i = 0; i < node.types.size(); ++i) map[{id, i}] = {first.node, i};
    }
    work.set_outputs({{"loss", b.reduce_sum(map.at(least_loss.output("loss")), {0})}});
    least_loss = work;
  }
  const Graph least = differentiate(least_loss);
  const auto kept = [](const Graph& graph) {
    std::int64_t elements = 0;
    for (const Node& node : graph.nodes()) {
      if (node.op != Op::scan) continue;
      for (const Type& type : node.types) elements += type.count().evaluate({{"B", 1}, {"T", 10}});
      break;  // the forward one
    }
    return elements;
  };
  CHECK(kept(least) < kept(loss));
  const std::vector<Tensor> inputs = inputs_for(loss, {{"B", 3}, {"T", 7}});
  require_close(loss, evaluate(least, inputs), evaluate(loss, inputs), 0);
}

TEST_CASE("a step's memory is what was predicted, a fraction with a budget") {
  const DimEnv sizes{{"B", 16}, {"T", 2000}};
  const auto text = [](const std::string& more, const std::string& seen) {
    return "model M(x: real[T, 16]) {\n  _, (h, _) = scan LSTM[16, 64] over x" + more +
           "\n  return loss: sum(square(" + seen + "))\n}\n";
  };
  Team team(2);
  struct Bytes {
    double predicted = 0, measured = 0;
  };
  const auto bytes = [&](const std::string& program_text) {
    const Graph graph = gradient(model(program_text, DType::f32), sizes, nullptr);
    const auto program = compile(graph, {}, {"llvm", {}, {}});
    const std::vector<Tensor> inputs = inputs_for(graph, sizes);
    Bytes out;
    out.predicted = static_cast<double>(program->workspace_bytes(sizes, team.size()));
    REQUIRE(reset_peak_resident());
    const std::size_t before = peak_resident_bytes();
    run_with(*program, inputs, team);
    out.measured = static_cast<double>(peak_resident_bytes()) - static_cast<double>(before);
    INFO(program_text << out.predicted << " predicted, " << out.measured << " measured");
    CHECK(out.measured == Approx(out.predicted).epsilon(0.1));
    return out;
  };
  const Bytes plain = bytes(text("", "h"));
  const Bytes cut = bytes(text(" remat(budget: 8 MiB)", "h"));
  CHECK(cut.predicted < plain.predicted / 5);
  CHECK(cut.measured < plain.measured / 5);
  // nothing is kept for a gradient that is not wanted
  const Bytes stopped = bytes(
      "model M(x: real[T, 16]) {\n  param w: real[64] ~ ones\n"
      "  _, (h, _) = scan LSTM[16, 64] over x\n"
      "  return loss: sum(w * stop_gradient(h))\n}\n");
  CHECK(stopped.predicted < plain.predicted / 2);
  CHECK(stopped.measured < plain.measured / 2);
}

TEST_CASE("a part of a model is computed again as a whole, random draws included") {
  const DimEnv sizes{{"B", 4}, {"T", 50}};
  const auto text = [](bool again) {
    std::string out =
        "block wide[M](x: real[..., M]) {\n"
        "  return dense[M](dropout(tanh(dense[16*M](x)), rate: 0.2)) * 0.5 + x\n}\n"
        "model M(x: real[T, 8]) {\n";
    for (int i = 0; i < 10; ++i)
      out += again ? "  x = remat(wide(x), budget: 1 KiB)\n" : "  x = wide(x)\n";
    return out + "  return loss: sum(square(x))\n}\n";
  };
  const Graph plain = gradient(model(text(false)), sizes, nullptr);
  std::vector<RecomputeChoice> choices;
  const Graph cut = gradient(model(text(true)), sizes, &choices);
  CHECK(choices.size() == 10);
  const std::vector<Tensor> inputs = inputs_for(plain, sizes);
  const std::vector<Tensor> expected = evaluate(plain, inputs);
  const std::vector<Tensor> found = evaluate(cut, inputs);
  CHECK(found[0].get(0) == expected[0].get(0));
  require_close(plain, found, expected, 1e-12);
  Team team(2);
  const auto without = compile(plain, {}), with = compile(cut, {});
  require_close(plain, run_with(*with, inputs, team), expected, 1e-11);
  CHECK(static_cast<double>(with->workspace_bytes(sizes, team.size())) <
        0.6 * static_cast<double>(without->workspace_bytes(sizes, team.size())));
  // a large budget keeps everything, and evaluation has nothing to keep
  std::string large = text(true);
  for (std::size_t at = 0; (at = large.find("1 KiB", at)) != std::string::npos;)
    large.replace(at, 5, "9 MiB");
  choices.clear();
  gradient(model(large), sizes, &choices);
  REQUIRE(choices.size() == 10);
  CHECK(choices[0].chunk == 0);
  CHECK(count_ops(program(text(true)).model("M", Mode::eval), Op::scan) == 0);
}
