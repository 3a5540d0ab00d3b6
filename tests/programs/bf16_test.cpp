// -p bf16: values of f32, products of bfloat16 operands summed in f32.
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>

#include "backends/llvm/generate_code_internal.h"
#include "driver/compile.h"
#include "driver/gradcheck.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "passes/batch.h"
#include "passes/bf16_products.h"
#include "passes/differentiate.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"
#include "passes/pass_manager.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/bfloat16.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

CompileOptions bf16_on(const std::string& backend, const std::string& features = "") {
  CompileOptions out;
  out.backend = backend;
  out.features = features;
  out.bf16_products = true;
  return out;
}

// As on a processor that has instructions for it.
CompileOptions in_pairs(const std::string& backend, const std::string& features = "") {
  CompileOptions out = bf16_on(backend, features);
  out.bf16_pairs = true;
  return out;
}

std::vector<Tensor> run_on(const Graph& graph, const CompileOptions& options,
                           const std::vector<Tensor>& inputs, int threads = 1) {
  Team team(threads);
  return run_with(*compile(graph, {}, options), inputs, team);
}

// ---- rounding ----

// Every bfloat16, and f32 values between it and the next one: next to it, next to
// the middle, and the middle itself.
Tensor around_every_bfloat16() {
  constexpr std::uint32_t low[] = {0, 1, 0x1234, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
  Tensor out(DType::f32, {0x10000 * 7});
  float* to = out.as<float>().data();
  for (std::uint32_t high = 0; high < 0x10000; ++high)
    for (const std::uint32_t bits : low) *to++ = std::bit_cast<float>(high << 16 | bits);
  return out;
}

std::int64_t count_wrong(const Tensor& found, const Tensor& x) {
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const float y = found.as<float>()[static_cast<std::size_t>(i)];
    const double expected = nearest_bfloat16(x.get(i));
    const bool same = std::isnan(expected) ? std::isnan(y)
                                           : static_cast<double>(y) == expected &&
                                                 std::signbit(y) == std::signbit(expected);
    // A NaN is one in the upper half, too.
    wrong += same && (std::bit_cast<std::uint32_t>(y) & 0xFFFF) == 0 ? 0 : 1;
  }
  return wrong;
}

// ---- one product ----

// y = x W, and the gradients of sum(y dy) by both.
Graph product_with_gradients(std::int64_t k, std::int64_t n) {
  Graph graph;
  Builder b(graph);
  const Dim B = Dim::symbol("B");
  const Value x = b.input("x", {DType::f32, {B, k}}), w = b.input("W", {DType::f32, {k, n}});
  const Value dy = b.input("dy", {DType::f32, {B, n}});
  const Value y = b.matmul(x, w, {1}, {0});
  b.output("y", y);
  b.output("loss", b.reduce_sum(b.mul(y, dy), {0, 1}));
  return differentiate(graph, {"loss", {"x", "W"}, "grad:"});
}

using Element = std::function<double(std::int64_t row, std::int64_t column)>;
using Rounding = double (*)(double);

// Is `found` the product of a and b, rounded, but for the rounding of `terms` sums
// and products of f32, in any order?
bool is_product(const Tensor& found, std::int64_t terms, const Element& a, const Element& b,
                Rounding rounding) {
  const std::int64_t columns = found.shape()[1];
  for (std::int64_t i = 0; i < found.shape()[0]; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      double sum = 0, size = 0;
      for (std::int64_t k = 0; k < terms; ++k) {
        const double term = rounding(a(i, k)) * rounding(b(k, j));
        sum += term;
        size += std::abs(term);
      }
      const double bound = static_cast<double>(terms + 1) * 0x1p-24 * size * 1.001;
      if (!(std::abs(found.get(i * columns + j) - sum) <= bound)) return false;
    }
  return true;
}

Element rows(const Tensor& t) {
  return [&t](std::int64_t i, std::int64_t j) { return t.get(i * t.shape()[1] + j); };
}
Element columns(const Tensor& t) {
  return [&t](std::int64_t i, std::int64_t j) { return t.get(j * t.shape()[1] + i); };
}

// ---- loops ----

constexpr const char* lstm = R"(
model Reader(x: real[T, 3]) {
  h, _ = scan LSTM[3, 4] over x
  return y: tanh(dense[2](h))
}
)";

std::size_t occurrences(const std::string& text, std::string_view part) {
  std::size_t out = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++out;
  return out;
}

Graph lstm_gradient(DType real) {
  return batched_gradient(asymmetric_loss(program(lstm, real).model("Reader", Mode::eval)));
}

// The same with everything moved by `factor` before it is rounded.
Graph nudged(const Graph& graph, double factor) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op == Op::scan) {
      copy_node(b, with_regions(node, [&](const Graph& g) { return nudged(g, factor); }), id, map);
      return true;
    }
    if (node.op != Op::cast || node.types[0].dtype != DType::bf16) return false;
    const Value x = map[node.operands[0]];
    map.set({id, 0}, b.cast(b.mul(x, b.constant(b.type(x), factor)), DType::bf16));
    return true;
  });
}

bool same_bits(const std::vector<Tensor>& x, const std::vector<Tensor>& y) {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!treadle::same_bits(x[i], y[i])) return false;
  return x.size() == y.size();
}

// Inputs with which nothing that is rounded is so near to the middle of two bfloat16
// that sums in another order would round it the other way.
std::vector<Tensor> far_from_ties(const Graph& rounded, const DimEnv& env) {
  constexpr double margin = 0x1p-18;
  const Graph above = nudged(rounded, 1 + margin), below = nudged(rounded, 1 - margin);
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::vector<Tensor> inputs = random_inputs(rounded, env, seed);
    const std::vector<Tensor> as_it_is = evaluate(rounded, inputs);
    if (same_bits(evaluate(above, inputs), as_it_is) &&
        same_bits(evaluate(below, inputs), as_it_is))
      return inputs;
  }
  FAIL("each of 200 seeds has a value next to a tie");
  return {};
}

}  // namespace

TEST_CASE("the pipeline of bf16 is that of training with one pass more") {
  std::string names;
  for (const PassCall& call : parse_pipeline(bf16_pipeline))
    if (call.pass->name != "bf16-products")
      names += (names.empty() ? "" : ",") + std::string(call.pass->name);
  CHECK(names == training_pipeline);
  CHECK(names.size() < bf16_pipeline.size());
}

TEST_CASE("a cast to bf16 gives the nearest bfloat16, ties to even, on every processor") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", {DType::f32, {Dim::symbol("N")}});
  b.output("y", b.cast(b.cast(x, DType::bf16), DType::f32));
  const std::vector<Tensor> inputs{around_every_bfloat16()};
  CHECK(count_wrong(evaluate(graph, inputs)[0], inputs[0]) == 0);
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("compiled, features '" << mask << "'");
    CHECK(count_wrong(run_on(graph, {"llvm", mask, {}}, inputs)[0], inputs[0]) == 0);
  }
}

TEST_CASE("a product and its gradients are of bfloat16 operands, summed in f32") {
  for (const auto& [m, k, n] : std::vector<std::tuple<std::int64_t, std::int64_t, std::int64_t>>{
           {1, 7, 5}, {3, 33, 17}, {40, 64, 48}}) {
    const Graph graph = product_with_gradients(k, n);
    const std::vector<Tensor> inputs = random_inputs(graph, {{"B", m}}, 3);
    const Tensor &x = inputs[0], &w = inputs[1], &dy = inputs[2];
    const auto are_products = [&, k = k, m = m, n = n](const std::vector<Tensor>& found,
                                                       Rounding rounding) {
      return std::vector<bool>{is_product(found[0], k, rows(x), rows(w), rounding),
                               is_product(found[2], n, rows(dy), columns(w), rounding),
                               is_product(found[3], m, columns(x), rows(dy), rounding)};
    };
    const std::vector<bool> all{true, true, true}, none{false, false, false};
    for (const CompileOptions& options :
         {bf16_on("llvm"), bf16_on("llvm", "avx2"), bf16_on("llvm", "sse"), bf16_on("onednn"),
          bf16_on("auto"), bf16_on("reference"), in_pairs("llvm"), in_pairs("llvm", "avx2"),
          in_pairs("llvm", "sse"), in_pairs("auto"), in_pairs("onednn")}) {
      INFO(m << " x " << k << " x " << n << " on " << options.backend << " " << options.features);
      const std::vector<Tensor> found = run_on(graph, options, inputs);
      CHECK(are_products(found, nearest_bfloat16) == all);
      CHECK(are_products(found, [](double x) { return x; }) == none);
    }
  }
}

TEST_CASE("an LSTM and its gradient in bf16 are those of the evaluator with the same rounding") {
  const Graph graph = lstm_gradient(DType::f32);
  const std::vector<Tensor> inputs = far_from_ties(optimise(graph, true), {{"B", 2}, {"T", 4}});
  const std::vector<Tensor> expected = evaluate(optimise(graph, true), inputs);
  for (const CompileOptions& options :
       {bf16_on("llvm"), bf16_on("llvm", "avx2"), bf16_on("llvm", "sse"), bf16_on("auto"),
        in_pairs("llvm"), in_pairs("llvm", "avx2"), in_pairs("llvm", "sse"), in_pairs("auto")}) {
    INFO(options.backend << " " << options.features);
    require_close(graph, run_on(graph, options, inputs), expected, 1e-5);
  }
}

TEST_CASE("an LSTM and its gradient in bf16 are near those of f64, not as near as f32") {
  const Graph graph = lstm_gradient(DType::f32), wide = lstm_gradient(DType::f64);
  const std::vector<Tensor> inputs = random_inputs(graph, {{"B", 9}, {"T", 12}}, 5);
  std::vector<Tensor> wide_inputs;
  for (const Tensor& tensor : inputs) wide_inputs.push_back(tensor.cast(DType::f64));
  const std::vector<Tensor> expected = evaluate(wide, wide_inputs);
  const std::vector<Tensor> found = run_on(graph, bf16_on("auto"), inputs);
  // An operand is off by up to 2^-9; a gradient has passed a dozen products.
  require_close(graph, found, expected, 12 * 0x1p-9);
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO(graph.outputs()[i].name);
    if (found[i].size() > 1) CHECK_FALSE(close(found[i], expected[i], 1e-5));
  }
}

TEST_CASE("bf16 has the same bits for any number of threads") {
  const Graph graph = lstm_gradient(DType::f32);
  for (const std::int64_t rows : {3, 50}) {
    INFO(rows << " rows");
    const std::vector<Tensor> inputs = random_inputs(graph, {{"B", rows}, {"T", 6}}, 5);
    for (const CompileOptions& options : {bf16_on("auto"), in_pairs("auto")}) {
      const std::vector<Tensor> alone = run_on(graph, options, inputs);
      for (const int threads : {2, 3})
        CHECK(same_bits(run_on(graph, options, inputs, threads), alone));
    }
  }
}

TEST_CASE("products that round their operands themselves are those of rounded operands") {
  const Graph graph = hoist_scan(lstm_gradient(DType::f32));
  const Graph outside = bf16_products(graph), inside = bf16_products(graph, true);
  CHECK(print(outside).find("dtype = bf16") != std::string::npos);
  CHECK(print(inside).find("dtype = bf16") == std::string::npos);
  CHECK(print(parse_graph(print(inside))) == print(inside));
  const std::vector<Tensor> inputs = random_inputs(graph, {{"B", 3}, {"T", 4}}, 7);
  CHECK(same_bits(evaluate(inside, inputs), evaluate(outside, inputs)));
  CHECK_FALSE(same_bits(evaluate(inside, inputs), evaluate(graph, inputs)));
}

TEST_CASE("a product of f64 cannot ask for rounded operands") {
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", {DType::f64, {3, 3}});
  const Value y = b.matmul(x, x, {1}, {0});
  Node node = graph.node(y.node);
  node.attributes.set("operands", DType::bf16);
  CHECK_THROWS_AS(b.clone(node, {x, x}), UserError);
}

TEST_CASE("a product that rounds its operands stays with LLVM, whatever it is in") {
  const Graph graph = lstm_gradient(DType::f32);
  for (const char* backend : {"auto", "llvm"}) {
    const std::string text = print(lower(graph, in_pairs(backend)));
    CHECK(text.find("backend = ") == std::string::npos);
    CHECK(occurrences(text, "operands = bf16") ==
          occurrences(text, "= matmul(") + occurrences(text, "= matmul_add("));
    CHECK(text.find("dtype = bf16") == std::string::npos);
  }
  // oneDNN would not round.
  const std::string text = print(lower(graph, in_pairs("onednn")));
  CHECK(text.find("operands = bf16") == std::string::npos);
  CHECK(text.find("dtype = bf16") != std::string::npos);
}

#if defined(__x86_64__)
TEST_CASE("with AVX512_BF16 products are VDPBF16PS, without a call out of the program") {
  Target target = make_target("");
  target.cpu = "cooperlake";
  target.features = "+avx2,+fma,+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx512bf16";
  target.vector_bytes = 64;
  target.vector_registers = 32;
  target.has_fma = target.has_bfloat16 = true;
  const Graph graph = lower(lstm_gradient(DType::f32), in_pairs("llvm"));
  const MatmulTiles tiles = matmul_tiles(target);
  const std::string text = program_assembly(target, plan_program(graph, {}, tiles));
  // A tile of eight rows by three vectors, four steps, and those of edges.
  CHECK(occurrences(text, "vdpbf16ps") > 96);
  CHECK(occurrences(text, "vcvtneps2bf16") > 0);
  CHECK(occurrences(text, "{1to16}") > 0);  // A's pair comes with the instruction
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t call = line.find("call");
    if (line.find_first_not_of(" \t") != call || call == std::string::npos) continue;
    const std::string callee = line.substr(line.find_last_of(" \t") + 1);
    if (callee.starts_with("*")) continue;  // a barrier, by way of the context
    INFO(line);
    CHECK(text.find("\n" + callee + ":") != std::string::npos);
  }
  target.cpu = "sapphirerapids";
  target.features += ",+amx-tile,+amx-bf16";
  target.has_amx = true;
  const MatmulTiles amx_tiles = matmul_tiles(target);
  const std::string amx = program_assembly(target, plan_program(graph, {}, amx_tiles));
  CHECK(occurrences(amx, "tdpbf16ps\t") == 4);
  CHECK(occurrences(amx, "tileloadd\t") == 8);
  CHECK(occurrences(amx, "tilestored\t") == 4);
  CHECK(occurrences(amx, "ldtilecfg\t") == 1);
  CHECK(occurrences(amx, "\ttilerelease") == 1);
  // The masks take it away again.
  CHECK_FALSE(make_target("avx2").has_amx);
  CHECK_FALSE(make_target("avx2").has_bfloat16);
  CHECK_FALSE(make_target("sse").has_bfloat16);
  CHECK(make_target("").has_bfloat16 ==
        (make_target("").features.find("+avx512bf16") != std::string::npos));
}
#endif

TEST_CASE("what stands in attention is not rounded, what leads to it is") {
  const Graph graph = batch(program(R"(
model Looking(x: real[T, 6]) {
  q, k, v = split(dense[24](x), 3)
  return y: softmax(q @ transpose(k) / sqrt(8)) @ v
}
)",
                                    DType::f32)
                                .model("Looking", Mode::eval));
  const Graph lowered = lower(graph, true);
  CHECK(count_ops(lowered, Op::attention) == 1);
  CHECK(count_ops(lowered, Op::matmul) == 1);
  const std::vector<Tensor> inputs = random_inputs(graph, {{"B", 3}, {"T", 7}}, 2);
  const std::vector<Tensor> found = run_on(graph, bf16_on("llvm"), inputs);
  require_close(graph, found, run_on(graph, bf16_on("reference"), inputs), 1e-5);
  require_close(graph, run_on(graph, in_pairs("llvm"), inputs), found, 1e-5);
  CHECK_FALSE(close(found[0], evaluate(graph, inputs)[0], 1e-4));
}
