// A batch of examples of different lengths is what its examples are one by one.
#include <algorithm>

#include "driver/compile.h"
#include "ir/eval/evaluate.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "ir/verify.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/join_stacks.h"
#include "passes/simplify.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ragged/support.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

struct Model {
  std::string name, text;
  bool two_symbols = false;
};

// Every output counts in the loss with other weights, so that no two can be
// mixed up.
const std::vector<Model> models{
    {"the last state of a scan", R"(
model M(x: real[T, 3]) {
  _, (h, c) = scan LSTM[3, 4] over x
  return loss: sum(h * cos(real(iota(4)))) + sum(square(c))
})"},
    {"every row of a scan", R"(
model M(x: real[T, 3]) {
  hs, _ = scan GRU[3, 4] over x
  return loss: sum(hs * cos(real(iota(4))))
})"},
    {"from the last row to the first", R"(
model M(x: real[T, 3], h: real[4]) {
  hs, last = scan reverse RNN[3, 4] over x from h
  return loss: sum(square(hs)) + sum(last * cos(real(iota(4))))
})"},
    {"in both directions", R"(
model M(x: real[T, 3]) {
  forward, (a, _) = scan LSTM[3, 4] over x
  back, (b, _) = scan reverse LSTM[3, 4] over x
  return loss: mean(square(concat(forward, back))) + sum(a * cos(real(iota(4))) * b)
})"},
    {"a stack", R"(
model M(x: real[T, 3]) {
  hs, _ = scan stack 2 of LSTM[3, 3] over x
  return loss: sum(mean(hs, axis: 0) * cos(real(iota(3))))
})"},
    {"gates with weights of their own", R"(
cell gated[I, H](x: real[I], h: real[H]) {
  param Wk, Wn: real[I, H] ~ xavier
  param Uk, Un: real[H, H] ~ orthogonal
  param bk, bn: real[H]    ~ zeros
  k = sigmoid(x @ Wk + h @ Uk + bk)
  h = k * h + (1 - k) * tanh(x @ Wn + (k * h) @ Un + bn)
  yield h, h
}
model M(x: real[T, 3]) {
  hs, _ = scan stack 2 of gated[3, 3] over x
  back, last = scan reverse gated[3, 4] over hs
  return loss: sum(hs * cos(real(iota(3)))) + sum(square(back)) + sum(last)
})"},
    {"a token's loss", R"(
dim V = 5
model M(text: token(V)[T], next: token(V)[T]) {
  hs, _ = scan LSTM[3, 4] over embedding[3, V](text)
  return loss: cross_entropy(dense[V](hs), next)
})"},
    {"sums and means", R"(
model M(x: real[T, 3]) {
  y = x * real(length(x))
  return loss: sum(mean(square(y), axis: 0)) + mean(sum(y, axis: 1) * real(iota(T))) / (1 + real(length(x)))
})"},
    {"over the time axis", R"(
model M(x: real[T, 3]) {
  weights = softmax(x, axis: 0)
  return loss: sum(weights * x * x) + sum(max(x, axis: 0)) + mean(x[1:] - x[:-1])
})"},
    {"attention", R"(
model M(x: real[T, 3]) {
  q, k, v = split(dense[12](x), 3)
  a = softmax(q @ transpose(k) / 2)
  return loss: mean(square(dense[3](a @ v)))
})"},
    {"causal attention", R"(
model M(x: real[T, 3]) {
  q, k, v = split(dense[12](x), 3)
  scores = q @ transpose(k)
  column = real(iota(T)) + scores * 0
  a = softmax(where(column > transpose(column), scores - 100000, scores))
  return loss: sum(square(a @ v) * cos(real(iota(4))))
})"},
    {"pooling by attention", R"(
model M(x: real[T, 3]) {
  param q: real[3] ~ normal(0, 1)
  a = softmax(x @ q)
  return loss: sum(square(a @ x))
})"},
    {"encoder and decoder", R"(
model M(source: real[S, 3], target: real[T, 3]) {
  _, h = scan GRU[3, 4] over source
  hs, _ = scan GRU[3, 4] over target from h
  return loss: mean(square(dense[3](hs) - target))
})",
     true},
    {"a decoder that attends to its source", R"(
cell Attending[S](x: real[3], (h, memory): (real[4], real[S, 4])) {
  param U: real[4, 4] ~ xavier
  param W: real[7, 4] ~ xavier
  a = softmax(memory @ (h @ U))
  h = tanh(concat(x, a @ memory) @ W)
  yield h, (h, memory)
}

model M(source: real[S, 3], target: real[T, 3]) {
  memory, h = scan GRU[3, 4] over source
  hs, _ = scan Attending over target from (h, memory)
  return loss: mean(square(dense[3](hs) - target))
})",
     true},
    {"one sequence behind another", R"(
model M(source: real[S, 3], target: real[T, 3]) {
  both = concat(source, reverse(target), axis: 0)
  hs, h = scan GRU[3, 4] over both
  return loss: mean(square(hs[1:] - hs[:-1])) + sum(h) * real(length(both))
})",
     true},
    {"dropout", R"(
model M(x: real[T, 3]) {
  hs, _ = scan GRU[3, 4] over dropout(x, rate: 0.4)
  return loss: mean(square(dropout(hs)))
})"},
    {"attention to another sequence", R"(
model M(source: real[S, 3], target: real[T, 3]) {
  q, k = dense[4](target), tanh(dense[4](source))
  a = softmax(q @ transpose(k))
  return loss: mean(square(a @ source - target))
})",
     true},
    {"a decoder that looks at its source at each step", R"(
dim V = 5
cell Looking[S](x: real[3], (h, context, memory): (real[4], real[4], real[S, 4])) {
  param W, U: real[4, 5] ~ xavier
  param v: real[5] ~ normal(0, 1)
  scores = tanh(memory @ W + h @ U) @ v
  context = dropout(softmax(scores), rate: 0.2) @ memory
  h = tanh(dense[4](concat(x, context, h)) / (1 + real(length(memory))))
  top = max(memory * h, axis: 0)
  yield concat(h, context) + mean(memory), (h, where(top > -infinity, top, 0) + context, memory)
}

model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  let words = embedding[3, V]
  memory, h = scan GRU[3, 4] over words(source)
  hs, (last, _, _) = scan Looking over words(target) from (h, h, memory)
  return loss: cross_entropy(dense[V](hs), next) + sum(square(last))
})",
     true},
    {"three steps, each of which looks at a sequence", R"(
cell Looking[T](x: real[3], (h, memory): (real[4], real[T, 4])) {
  h = tanh(dense[4](concat(x, softmax(memory @ h) @ memory, h)))
  yield h, (h, memory)
}

model M(x: real[T, 3], queries: real[3, 3]) {
  memory, h = scan GRU[3, 4] over x
  hs, _ = scan Looking over queries from (h, memory)
  return loss: sum(square(hs) * cos(real(iota(4))))
})"},
    {"a step that needs its source as long as it is", R"(
cell Looking[S](x: real[3], (h, memory): (real[4], real[S, 4])) {
  a = exp(log_softmax(memory @ h))
  h = tanh(dense[4](concat(x, a @ memory, h)))
  yield h, (h, memory)
}

model M(source: real[S, 3], target: real[T, 3]) {
  memory, h = scan GRU[3, 4] over source
  hs, _ = scan Looking over target from (h, memory)
  return loss: mean(square(dense[3](hs) - target))
})",
     true},
    {"a stack that starts where another ended", R"(
dim V = 5
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  let layers = stack 2 of LSTM[3, 3]
  memory, ends = scan layers over dropout(embedding[3, V](source), rate: 0.3)
  back, first = scan reverse GRU[3, 4] over memory
  let decoder = stack 2 of LSTM[3, 3]
  hs, _ = scan decoder over embedding[3, V](target) from ends
  q = dense[4](hs)
  context = softmax(q @ transpose(back)) @ back
  return loss: cross_entropy(dense[V](tanh(concat(hs, context, transpose(spread(first, T))))), next)
})",
     true},
    {"a transformer", R"(
dim V = 5
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  let words = embedding[4, V]
  y = Transformer[1, 2](
    sinusoidal_positions(words(source)),
    sinusoidal_positions(words(target)),
    drop: 0.2
  )
  return loss: cross_entropy(dense[V](y), next)
})",
     true},
    {"a transformer that turns its rows", R"(
model M(source: real[S, 4], target: real[T, 4]) {
  y = Transformer[1, 2](source, target, rotary: true, pre_norm: false)
  return loss: sum(mean(square(y - target), axis: 1))
})",
     true},
};

const std::vector<std::vector<std::int64_t>> lengths{
    {5, 3, 3, 0}, {4, 4, 4}, {1}, {0, 0}, {7, 2, 1}};

Lengths lengths_of(const Model& model, std::vector<std::int64_t> first) {
  Lengths out;
  if (model.two_symbols) {
    std::vector<std::int64_t> other;
    for (std::size_t i = 0; i < first.size(); ++i)
      other.push_back(static_cast<std::int64_t>((3 * i + 2) % 5));
    out.emplace("S", first);
    first = other;
  }
  out.emplace("T", first);
  return out;
}

std::string text_of(const std::vector<std::int64_t>& numbers) {
  std::string out;
  for (const std::int64_t number : numbers) out += std::to_string(number) + " ";
  return out;
}

}  // namespace

TEST_CASE("truncated backpropagation cuts every example at its own steps") {
  const std::string text = R"(
model M(x: real[T, 3]) {
  hs, h = scan GRU[3, 4] over x
  back, first = scan reverse GRU[4, 4] over hs
  return loss: sum(square(back)) + sum(h * first)
})";
  const Graph loss = truncate_bptt(program(text).model("M", Mode::train), 2);
  for (const std::vector<std::int64_t>& own : lengths) {
    const RaggedCase ragged(loss, {{"T", own}});
    INFO("lengths " << text_of(own));
    require_close(ragged.batch(), evaluate(ragged.batch(), ragged.inputs()), ragged.expected(),
                  1e-10);
  }
}

TEST_CASE("equal lengths and no mark: the batch is dense, as ever") {
  const Graph loss = program(models[0].text).model("M", Mode::train);
  CHECK(to_string(batch(loss).type(batch(loss).input("x"))) == "f64[B, T, 3]");
  const Graph marked = batch(mark_ragged(loss, {"T"}));
  CHECK(to_string(marked.type(marked.input("x"))) == "f64[T.rows, 3]");
}

TEST_CASE(
    "a step that sees rows takes those of all examples, unless it does what padding would spoil") {
  const auto padded = [](const std::string& name) {
    for (const Model& model : models)
      if (model.name == name) {
        const Graph loss = program(model.text).model("M", Mode::train);
        const Graph whole = batch(mark_ragged(loss, {"S", "T"}));
        return whole.input("padded(S)").valid() || whole.input("padded(T)").valid();
      }
    throw std::logic_error("no model " + name);
  };
  CHECK(padded("a decoder that attends to its source"));
  CHECK(padded("three steps, each of which looks at a sequence"));
  CHECK(padded("a decoder that looks at its source at each step"));
  CHECK(!padded("a step that needs its source as long as it is"));
}

TEST_CASE("only an input's first dimension may differ between examples") {
  for (const char* type : {"real[3, T]", "real[T, T]", "real[3, T, 2]"}) {
    const std::string text = std::string("model M(x: ") + type + ") { return loss: sum(x) }";
    const Graph marked = mark_ragged(program(text).model("M", Mode::train), {"T"});
    INFO(type);
    try {
      batch(marked);
      FAIL("accepted");
    } catch (const UserError& error) {
      CHECK(error.diagnostics().at(0).code == "T0520");
    }
  }
}

TEST_CASE("a batch of examples of different lengths is its examples one by one") {
  for (const Model& model : models) {
    const Graph loss = program(model.text).model("M", Mode::train);
    std::unique_ptr<Program> compiled;
    for (const std::vector<std::int64_t>& own : lengths) {
      const RaggedCase ragged(loss, lengths_of(model, own));
      INFO(model.name << ", lengths " << text_of(own));
      verify(ragged.batch());
      CHECK(print(parse_graph(print(ragged.batch()))) == print(ragged.batch()));
      require_close(ragged.batch(), evaluate(ragged.batch(), ragged.inputs()), ragged.expected(),
                    1e-10);
      const Graph better = optimise(ragged.batch());
      verify(better);
      require_close(better, evaluate(better, ragged.inputs()), ragged.expected(), 1e-10);
      const Graph joined = join_stacks(better);
      verify(joined);
      require_close(joined, evaluate(joined, ragged.inputs()), ragged.expected(), 1e-10);
      if (!compiled) compiled = compile(ragged.batch(), {});
      std::vector<Tensor> alone;
      for (const int threads : {1, 2, 3}) {
        Team team(threads);
        std::vector<Tensor> found = run_with(*compiled, ragged.inputs(), team);
        require_close(ragged.batch(), found, ragged.expected(), 1e-10);
        if (threads == 1) alone = std::move(found);
        for (std::size_t i = 0; threads > 1 && i < found.size(); ++i)
          CHECK(same_bits(found[i], alone[i]));
      }
    }
  }
}

TEST_CASE("packed rows of gates go into a loop, and out of that of its gradient, as one") {
  const Model& model = *std::find_if(models.begin(), models.end(), [](const Model& m) {
    return m.name == "gates with weights of their own";
  });
  const Graph loss = program(model.text).model("M", Mode::train);
  const Graph better = optimise(RaggedCase(loss, lengths_of(model, {2, 5})).batch());
  // Slices that products read are read in place.
  const auto copies = [](const Graph& graph) {
    int count = 0;
    for (const Node& node : graph.nodes()) {
      if (node.op == Op::concat && node.types[0].dims[0] == Dim::symbol("T.rows")) ++count;
      if (node.op != Op::scan) continue;
      for (const Value v : node.operands)
        if (graph.node(v.node).op == Op::slice) ++count;
    }
    return count;
  };
  // Two slices a loop, and what the products behind the loops multiply, each once.
  CHECK(copies(better) == 7);
  CHECK(copies(simplify(join_stacks(better))) == 0);
}
