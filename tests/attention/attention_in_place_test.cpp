// Attention reads its operands where they stand and writes its results where they are read:
// heads side by side, q, k and v in one product.
#include <set>
#include <string>
#include <vector>

#include "backends/llvm/generate_code_internal.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "ir/op_def.h"
#include "passes/batch.h"
#include "passes/simplify.h"
#include "passes/training_step.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

TrainingStep step_of(const std::string& model) {
  return make_training_step(mean_square_of(model), {});
}

// Does a kernel nothing but put elements elsewhere?
bool only_copies(const treadle::Step& step) {
  if (step.kind == treadle::Step::Kind::copy) return true;
  if (step.kind != treadle::Step::Kind::fused) return false;
  const Graph& body = *step.graph->node(step.node).regions[0];
  return std::all_of(body.nodes().begin(), body.nodes().end(), [](const Node& node) {
    return node.op == Op::argument || node.op == Op::slice || node.op == Op::reshape ||
           node.op == Op::transpose || node.op == Op::reverse || node.op == Op::concat;
  });
}

struct Attentions {
  int copies = 0;                 // of what depends on the batch
  std::vector<treadle::Step> in;  // attention and its gradient
};
Attentions attentions_of(const Graph& graph) {
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  Attentions out;
  for (const treadle::Step& step : plan.steps) {
    if (step.kind == treadle::Step::Kind::attention) out.in.push_back(step);
    const bool batched = std::any_of(step.out.begin(), step.out.end(), [&](const Location& place) {
      return plan.buffers[static_cast<std::size_t>(place.buffer)].elements.mentions("B");
    });
    if (only_copies(step) && batched) ++out.copies;
  }
  return out;
}

void check_results(const TrainingStep& step) {
  const std::unique_ptr<Program> program = compile_step(step, {"llvm", {}, {}});
  for (const DimEnv& extents :
       {DimEnv{{"B", 1}, {"T", 1}, {"S", 1}}, DimEnv{{"B", 3}, {"T", 7}, {"S", 5}},
        DimEnv{{"B", 2}, {"T", 70}, {"S", 131}}})
    require_same_for_threads(step.graph, *program, step_inputs(step.graph, extents), 1e-10);
}

struct Case {
  std::string name;
  int copies = 0;
  std::string model;
};

std::string of_rows(const std::string& body, const std::string& inputs = {}) {
  return "model M(x: real[T, 6]" + inputs + ") {\n" + body + "\n}\n";
}

}  // namespace

TEST_CASE("queries, keys and values are read where one product wrote them") {
  const TrainingStep step =
      step_of(of_rows("  param W: real[6, 36] ~ xavier\n"
                      "  param O: real[12, 6] ~ xavier\n"
                      "  q, k, v = split(x @ W, 3)\n"
                      "  return y: unheads(attention(heads[3](q), heads[3](k), heads[3](v))) @ O"));
  const Graph graph = lower(step.graph);
  const Attentions found = attentions_of(graph);
  REQUIRE(found.in.size() == 2);
  const treadle::Step &forward = found.in[0], &gradient = found.in[1];
  for (const treadle::Step& attention : found.in) {
    INFO(to_string(attention.graph->node(attention.node).op));
    const Dim time = Dim::symbol("T");
    for (const std::size_t operand : {0U, 1U, 2U}) {
      const RowsView& rows = attention.rows[operand];
      CHECK(attention.in[operand] == forward.in[0]);
      CHECK(rows.offset == Dim(static_cast<std::int64_t>(12 * operand)));
      CHECK(rows.row_stride == Dim(36));
      CHECK(rows.batch_strides == Dims{time * Dim(36), 4});
    }
  }
  // Its result, for the next product, the gradient of the result, and those of q, k and v.
  CHECK(found.copies == 0);
  CHECK(forward.rows[3].row_stride == Dim(12));
  CHECK(gradient.rows[3].row_stride == Dim(12));
  CHECK(gradient.in[4] == forward.out[0]);
  CHECK(gradient.rows[4].row_stride == Dim(12));
  for (const std::size_t result : {0U, 1U, 2U}) {
    CHECK(gradient.out[result] == gradient.out[0]);
    CHECK(gradient.rows[5 + result].row_stride == Dim(36));
  }
  check_results(step);
}

TEST_CASE("queries, keys and values with biases are one value") {
  const auto values = [](const char* q, const char* k, const char* v) {
    const TrainingStep step =
        step_of(of_rows(std::string("  param W: real[6, 36] ~ xavier\n"
                                    "  param O: real[12, 6] ~ xavier\n"
                                    "  param b: real[12] ~ normal(0, 1)\n"
                                    "  param c: real[12] ~ normal(0, 1)\n"
                                    "  q, k, v = split(x @ W, 3)\n"
                                    "  return y: unheads(attention(heads[3](") +
                        q + "), heads[3](" + k + "), heads[3](" + v + "))) @ O"));
    check_results(step);
    const Attentions found = attentions_of(lower(step.graph));
    REQUIRE(found.in.size() == 2);
    std::set<int> buffers;
    for (const std::size_t operand : {0U, 1U, 2U}) {
      CHECK(found.in[0].in[operand] == found.in[1].in[operand]);
      buffers.insert(found.in[0].in[operand].buffer);
    }
    return buffers.size();
  };
  CHECK(values("q + b", "k", "v + c") == 1);
  CHECK(values("b + q", "k + c", "v + c") == 1);
  // One bias for three, and keys that something else reads without theirs.
  CHECK(values("q", "k", "v + c") == 2);
  CHECK(values("q + b", "k + c", "v + k") == 3);
}

// A head's rows of a few lines stand far apart, so that each would be waited for.
TEST_CASE("what the next unit reads and writes is asked for where rows stand apart") {
  const auto asks = [](const std::string& model) {
    const Graph graph = lower(step_of(model).graph);
    const Target target = host_target();
    const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(target));
    return program_assembly(target, plan).find("asking_strip") != std::string::npos;
  };
  CHECK(asks(of_rows("  return y: MultiHead[3](x, mask: causal_mask[T]())")));
  CHECK_FALSE(
      asks("model M(q: real[T, 4], k: real[T, 4], v: real[T, 4]) {\n"
           "  return y: dense[4](attention(q, k, v))\n}\n"));
}

TEST_CASE("products read the gradients by queries, keys and values where attention joined them") {
  const TrainingStep step = step_of(of_rows("  return y: MultiHead[3](dense[24](x))"));
  const Graph graph = lower(step.graph);
  const ProgramPlan plan = plan_program(graph, {}, matmul_tiles(host_target()));
  int joined = -1;  // the buffer
  for (const treadle::Step& attention : plan.steps)
    if (attention.kind == treadle::Step::Kind::attention) joined = attention.out[0].buffer;
  int parts = 0, with_sums = 0, kernels = 0;
  for (const treadle::Step& reader : plan.steps) {
    if (reader.direct && reader.in[1].buffer == joined) {
      ++parts;
      CHECK(reader.view_b.contract_stride == Dim(72));
      if (reader.out.size() == 2) ++with_sums;
    }
    if (reader.kind == treadle::Step::Kind::fused)
      for (const Location& place : reader.in)
        if (place.buffer == joined) ++kernels;
  }
  CHECK(parts == 1);
  CHECK(with_sums == 1);
  CHECK(kernels == 0);
  CHECK(attentions_of(graph).copies == 0);
  check_results(step);
}

TEST_CASE("attention reads and writes in place what stands as rows, and copies what does not") {
  const std::vector<Case> cases = {
      {"one head", 0,
       of_rows("  param W: real[6, 18] ~ xavier\n"
               "  q, k, v = split(x @ W, 3)\n  return y: attention(q, k, v)")},
      {"biases, causal", 0, of_rows("  return y: MultiHead[3](x, mask: causal_mask[T]())")},
      {"a head of one column", 0, of_rows("  return y: MultiHead[6](x, mask: causal_mask[T]())")},
      {"a bias in memory", 0,
       of_rows("  return y: MultiHead[2](x, bias: bias)", ", bias: real[T, T]")},
      {"dropout", 0, of_rows("  return y: MultiHead[2](x, drop: 0.3)")},
      {"positions turned", 0, of_rows("  return y: MultiHead[1](x, rotary: true)")},
      {"other lengths", 0,
       of_rows("  return y: MultiHead[3](x, memory: memory)", ", memory: real[S, 4]")},
      {"values of another width", 2,
       of_rows("  param W: real[6, 22] ~ xavier\n"
               "  all = transpose(x @ W)\n"
               "  q, k, v = transpose(all[:6]), transpose(all[6:12]), transpose(all[12:])\n"
               "  return y: attention(heads[2](q), heads[2](k), heads[2](v))")},
      {"rows that overlap, rows backwards", 0,
       of_rows("  param W: real[6, 6] ~ xavier\n"
               "  h = pad(x @ W, 1, 1)\n"
               "  q = reshape(windows(h, 3), T, 18)\n"
               "  return y: attention(reverse(x @ W), reverse(h[1:T + 1]), reverse(q))")},
      {"columns that do not stand side by side", 1,
       of_rows("  param W: real[6, 6] ~ xavier\n  h = tanh(x @ W)\n"
               "  return y: attention(transpose(reshape(h, T, 2, 3), 2, 0, 1),\n"
               "                      transpose(reshape(h, T, 2, 3), 2, 0, 1),\n"
               "                      transpose(reshape(h, T, 3, 2), 1, 0, 2))")},
      {"in the turns of a loop", 1,  // x by time
       "cell Layer(row: real[6], x: real[3, 6]) {\n"
       "  param W, O: real[6, 6] ~ xavier\n"
       "  q, k = heads[2](x * row), heads[2](x @ W)\n"
       "  x = tanh(x + unheads(attention(q, k, k)) @ O)\n"
       "  yield sum(x), x\n}\n" +
           of_rows("  xs, _ = scan Layer over x from first\n  return y: xs",
                   ", first: real[3, 6]")},
      {"keys that are the same for all heads", 0,
       of_rows("  param W: real[6, 6] ~ xavier\n  k = transpose(spread(x @ W, 2), 2, 0, 1)\n"
               "  return y: attention(k, k, k * 2)")},
  };
  for (const auto& [name, copies, model] : cases) {
    INFO(name);
    const TrainingStep step = step_of(model);
    const Graph graph = lower(step.graph);
    CHECK(attentions_of(graph).copies == copies);
    check_results(step);
  }
}

TEST_CASE("a result that a loop gives is written where it gives it") {
  const Graph one = program(
                        "cell Layer(row: real[6], x: real[3, 6]) {\n"
                        "  param W, O: real[6, 6] ~ xavier\n"
                        "  q, k = heads[2](x * row), heads[2](x @ W)\n"
                        "  h = attention(q, k, k)\n"
                        "  x = tanh(x + unheads(h) @ O)\n"
                        "  yield h, x\n}\n" +
                        of_rows("  hs, x = scan Layer over x from first\n"
                                "  return hs: hs, x: x",
                                ", first: real[3, 6]"))
                        .model("M", Mode::eval);
  const Graph graph = simplify(batch(one));
  const auto compiled = compile(graph, {}, {"llvm", {}, {}});
  for (const DimEnv& extents : {DimEnv{{"B", 1}, {"T", 1}}, DimEnv{{"B", 3}, {"T", 7}}})
    require_same_for_threads(graph, *compiled, inputs_for(graph, extents), 1e-10);
}
