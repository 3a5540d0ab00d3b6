// Attention as the pass makes it against attention as it was written.
#include <array>
#include <map>

#include "driver/compile.h"
#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/ops/attention.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/fuse_attention.h"
#include "passes/simplify.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

// A model of queries, keys and values whose result is y.
std::string model(const std::string& y, const std::string& inputs = {}) {
  return "model M(q: real[N, T, D], k: real[N, S, D], v: real[N, S, E]" + inputs + ") {\n" + y +
         "\n}";
}
std::string attend(const std::string& more, const std::string& inputs = {}) {
  return model("  return y: attention(q, k, v" + more + ")", inputs);
}

const std::map<std::string, std::string> programs = {
    {"plain", attend("")},
    {"causal", attend(", mask: causal_mask[T, S](), scale: 0.3")},
    {"window", attend(", mask: window_mask[3, T, S]()")},
    {"the first and the last queries see more",
     model("  from_middle = spread(iota(T), S) - 32\n"
           "  seen = max(from_middle, -from_middle) >= iota(S)\n"
           "  return y: attention(q, k, v, mask: seen)")},
    {"length", attend(", mask: length_mask[S](count)", ", count: i32")},
    {"mask", attend(", mask: keep", ", keep: mask[T, S]")},
    {"bias", attend(", bias: bias", ", bias: real[T, S]")},
    {"bias of each head",
     attend(", bias: bias, mask: keep", ", bias: real[N, T, S], keep: mask[T, S]")},
    {"bias that stands turned", attend(", bias: transpose(bias)", ", bias: real[N, S, T]")},
    {"two biases and positions",
     attend(", bias: exp(bias) + more, mask: keep or causal_mask[T, S]()",
            ", bias: real[T, S], more: real[N, T, S], keep: mask[T, S]")},
    {"weights scaled by a matrix",
     model("  w = softmax(q @ transpose(k)) * by\n  return y: where(keep, w, 0.0) @ v",
           ", by: real[T, S], keep: mask[N, T, S]")},
    {"alibi", attend(", bias: alibi[N, T, S](), mask: causal_mask[T, S]()")},
    {"rows that see nothing", attend(", mask: spread(iota(T), S) > iota(S) + 2")},
    {"bias of nothing", attend(", bias: where(spread(iota(T), S) != 1, 0.0, -infinity)")},
    {"dropout", attend(", drop: 0.4, mask: causal_mask[T, S]()")},
    {"capped scores by hand",
     model("  scores = tanh(q @ transpose(k) * 0.2) * 5\n  return y: softmax(scores) @ v")},
};

// y and the gradients of a sum of it by q, k and v, for a batch.
Graph with_gradients(const std::string& text, DType real) {
  const Graph one = program(text, real).model("M", Mode::train);
  Graph loss = asymmetric_loss(one);
  Graph many = batch(loss);
  Builder b(many);
  const Value total = b.reduce_sum(many.output("loss"), {0});
  many.set_outputs({{"loss", total}});
  DifferentiateOptions options;
  options.wrt = {"q", "k", "v"};
  return simplify(differentiate(many, options));
}

Graph forward_only(const std::string& text, DType real) {
  return simplify(batch(program(text, real).model("M", Mode::train)));
}

// Does any value have an axis of queries and one of keys?
bool has_matrix(const Graph& graph) {
  for (const Node& node : graph.nodes())
    for (const Type& type : node.types) {
      const auto has = [&](const char* name) {
        return std::find(type.dims.begin(), type.dims.end(), Dim::symbol(name)) != type.dims.end();
      };
      if (node.op != Op::input && has("T") && has("S")) return true;
    }
  return false;
}

struct Extents {
  std::int64_t batch, heads, queries, keys, width, value_width;
  DimEnv env() const {
    return {{"B", batch}, {"N", heads}, {"T", queries},
            {"S", keys},  {"D", width}, {"E", value_width}};
  }
};

const std::vector<Extents> small = {{1, 1, 1, 1, 1, 1},
                                    {2, 3, 2, 3, 4, 5},
                                    {1, 2, 7, 5, 3, 17},
                                    {1, 1, 5, 17, 8, 1},
                                    {2, 1, 17, 16, 2, 9}};
// Around the edges of the tiles, which have more keys without a mask in a gradient; the last two
// have values that fill panels, and behind them vectors and a part of one.
const std::vector<Extents> large = {
    {1, 2, 63, 65, 4, 3},  {2, 1, 64, 64, 3, 8},     {1, 1, 70, 97, 5, 4},  {1, 1, 130, 33, 2, 2},
    {1, 1, 66, 150, 3, 5}, {1, 1, 100, 131, 18, 35}, {1, 1, 97, 80, 6, 117}};

// Of a length, a part of the keys.
std::vector<Tensor> inputs_of(const Graph& graph, const Extents& x) {
  std::vector<Tensor> inputs = inputs_for(graph, x.env());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (graph.node(graph.inputs()[i]).attributes.string("name") == "count")
      for (std::int64_t b = 0; b < x.batch; ++b) inputs[i].set_integer(b, (x.keys + 1) / 2 + b);
  return inputs;
}

std::vector<std::vector<Tensor>> by_threads(Program& program, const std::vector<Tensor>& inputs) {
  std::vector<std::vector<Tensor>> out;
  for (const int threads : {1, 2, 3}) {
    Team team(threads);
    out.push_back(run_with(program, inputs, team));
  }
  return out;
}

void require_compiled(const Graph& graph, const std::vector<Extents>& extents, double tolerance) {
  const auto program = compile(graph, {}, {"llvm", {}, {}});
  for (const Extents& x : extents) {
    INFO("B " << x.batch << " N " << x.heads << " T " << x.queries << " S " << x.keys << " D "
              << x.width << " E " << x.value_width);
    const std::vector<Tensor> inputs = inputs_of(graph, x);
    const auto found = by_threads(*program, inputs);
    require_close(graph, found[0], evaluate(graph, inputs), tolerance);
    for (std::size_t i = 0; i < found[0].size(); ++i) {
      CHECK(same_bits(found[1][i], found[0][i]));
      CHECK(same_bits(found[2][i], found[0][i]));
    }
  }
}

}  // namespace

TEST_CASE("attention and its gradient by their definition are what was written") {
  for (const auto& [name, text] : programs) {
    INFO(name);
    const Graph written = with_gradients(text, DType::f64);
    std::vector<AttentionReport> reports;
    const Graph fused = fuse_attention(written, &reports);
    REQUIRE(reports.size() == 1);
    INFO(reports[0].text);
    CHECK(reports[0].text == "forward and backward");
    CHECK(count_ops(fused, Op::attention) == 1);
    CHECK(count_ops(fused, Op::attention_gradient) == 1);
    CHECK(count_ops(fused, Op::softmax) == 0);
    CHECK_FALSE(has_matrix(fused));
    for (const Extents& x : small) {
      const std::vector<Tensor> inputs = inputs_of(written, x);
      require_close(written, evaluate(fused, inputs), evaluate(written, inputs), 1e-10);
    }
  }
}

TEST_CASE("compiled attention and its gradient equal the evaluator's, for any threads") {
  for (const auto& [name, text] : programs) {
    INFO(name);
    require_compiled(with_gradients(text, DType::f64), small, 1e-10);
    require_compiled(with_gradients(text, DType::f64), large, 1e-10);
    require_compiled(with_gradients(text, DType::f32), large, 2e-5);
    require_compiled(forward_only(text, DType::f32), large, 1e-5);
  }
}

TEST_CASE("one example without heads is attention too, in a scan as well") {
  const std::string one =
      "model M(q: real[T, D], k: real[S, D], v: real[S, E]) {\n"
      "  return y: attention(q, k, v, mask: causal_mask[T, S]())\n}";
  DifferentiateOptions options;
  options.wrt = {"q", "k", "v"};
  const Graph gradient =
      differentiate(asymmetric_loss(program(one).model("M", Mode::train)), options);
  CHECK(count_ops(fuse_attention(simplify(gradient)), Op::attention_gradient) == 1);
  require_compiled(gradient, large, 1e-10);
  const std::string repeated =
      "cell Layer(row: real[4], x: real[3, 4]) {\n"
      "  x = x + attention(x, x, x * row)\n  yield sum(x), x\n}\n"
      "model M(rows: real[T, 4], x: real[3, 4]) {\n"
      "  sums, x = scan Layer over rows from x\n  return y: sums, x: x\n}";
  const Graph steps = simplify(program(repeated).model("M", Mode::eval));
  const Graph fused = fuse_attention(steps);
  CHECK(count_ops(scan_body(fused, 0), Op::attention) == 1);
  require_compiled(steps, {{1, 1, 5, 1, 1, 1}}, 1e-10);
}

TEST_CASE("compiled attention is the same for processors with shorter vectors") {
  for (const char* features : {"avx2", "sse"}) {
    INFO(features);
    Team team(2);
    for (const char* name : {"causal", "dropout", "the first and the last queries see more"}) {
      INFO(name);
      const Graph graph = with_gradients(programs.at(name), DType::f32);
      const auto program = compile(graph, {}, {"llvm", features, {}});
      for (const Extents& x : {large[2], large.back()}) {
        const std::vector<Tensor> inputs = inputs_of(graph, x);
        require_close(graph, run_with(*program, inputs, team), evaluate(graph, inputs), 2e-5);
      }
    }
  }
}

TEST_CASE("a transformer's training step is the same with attention in tiles and without") {
  const std::string text =
      "model M(tokens: token(11)[T], memory: real[S, 4]) {\n"
      "  param table: real[11, 8] ~ normal(0, 1)\n"
      "  x = learned_positions[9](table[tokens])\n"
      "  x = EncoderLayer[2](x, mask: causal_mask[T](), rotary: true)\n"
      "  x = x + MultiHead[4](layer_norm(x), memory: memory, drop: 0.3)\n"
      "  x = EncoderLayer[2](x, mask: causal_mask[T](), bias: alibi[2, T](), pre_norm: false)\n"
      "  return loss: cross_entropy(dense[11](x), tokens)\n}";
  OptimizerSettings settings;
  settings.clip_norm = 0.5;
  const Graph off = make_training_step(program(text).model("M", Mode::train), settings).graph;
  const Graph on = lower(off);
  std::vector<AttentionReport> reports;
  fuse_attention(simplify(off), &reports);
  REQUIRE(reports.size() == 3);
  for (const AttentionReport& report : reports) CHECK(report.text == "forward and backward");
  CHECK(count_ops(on, Op::attention_gradient) == 3);
  const auto compiled = compile(off, {}, {"llvm", {}, {}});
  Team team(2);
  for (const auto& [batch, rows, keys] :
       std::vector<std::array<std::int64_t, 3>>{{1, 1, 1}, {3, 5, 2}, {2, 9, 7}}) {
    const std::vector<Tensor> inputs = step_inputs(off, {{"B", batch}, {"T", rows}, {"S", keys}});
    const std::vector<Tensor> expected = evaluate(off, inputs);
    require_close(off, evaluate(on, inputs), expected, 1e-10);
    require_close(off, run_with(*compiled, inputs, team), expected, 1e-10);
  }
}

TEST_CASE("the memory of attention and its gradient grows with T, not with its square") {
  for (const char* name : {"plain", "causal", "bias of nothing", "dropout"}) {
    INFO(name);
    const auto program =
        compile(with_gradients(programs.at(name), DType::f32), {}, {"llvm", {}, {}});
    const auto bytes = [&](std::int64_t rows) {
      return static_cast<double>(
          program->workspace_bytes(Extents{1, 2, rows, rows, 16, 16}.env(), 1));
    };
    const double matrix = 4096.0 * 4096.0 * sizeof(float);
    CHECK(bytes(4096) < matrix / 4);
    CHECK(bytes(8192) < 2.1 * bytes(4096));
  }
}

TEST_CASE("a softmax that is no attention, or whose weights are needed, stays") {
  const std::map<std::string, std::string> reasons = {
      {model("  w = softmax(q @ transpose(k))\n  return y: w @ v, w: w"),
       "the weights are an output"},
      {model("  w = softmax(q @ transpose(k))\n  return y: w @ v, z: mean(w, axis: -1)"),
       "the weights are read by mean"},
      {model("  s = q @ transpose(k)\n  return y: softmax(s) @ v, s: s"),
       "the scores are an output"},
      {model("  return y: softmax(q) @ transpose(k), z: v"), "it is not pointwise in a product"},
      {model("  return y: softmax(q @ transpose(k) + q @ transpose(exp(k))) @ v"),
       "it depends on several products"},
      {model("  return y: square(softmax(q @ transpose(k))) @ v"),
       "what is done to the weights is not linear"},
      {model("  return y: exp(softmax(mean(q @ transpose(k), axis: -1))), z: v"),
       "it is not pointwise in a product"},
  };
  for (const auto& [text, reason] : reasons) {
    INFO(text);
    const Graph graph = forward_only(text, DType::f64);
    std::vector<AttentionReport> reports;
    const Graph same = fuse_attention(graph, &reports);
    CHECK(same_graph(same, graph));
    REQUIRE(reports.size() == 1);
    CHECK_FALSE(reports[0].fused);
    CHECK(reports[0].text.substr(0, reports[0].text.find(" at ")) == reason);
  }
  // The gradient of a learned bias is as large as the matrix.
  const std::string learned =
      "model M(q: real[T, 4], k: real[9, 4], v: real[9, 4]) {\n  param b: real[9] ~ zeros\n"
      "  return y: attention(q, k, v, bias: b)\n}";
  Graph loss = asymmetric_loss(program(learned).model("M", Mode::train));
  std::vector<AttentionReport> reports;
  fuse_attention(simplify(batched_gradient(loss)), &reports);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].text.starts_with("the gradient of the scores is read by reduce_sum"));
}
