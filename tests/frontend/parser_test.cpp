#include "frontend/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "ir/diagnostic.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

SourceFilePtr source(std::string text) {
  return std::make_shared<const SourceFile>(SourceFile{"test.tdl", std::move(text)});
}

std::string dump_of(const std::string& text) { return syntax::dump(parse_or_throw(source(text))); }

// "T0101 at 1:5" for each mistake.
std::vector<std::string> mistakes(const std::string& text) {
  std::vector<Diagnostic> diagnostics;
  parse(source(text), diagnostics);
  std::vector<std::string> out;
  for (const Diagnostic& d : diagnostics) {
    const LineColumn place = line_column(*d.range.file, d.range.begin);
    out.push_back(fmt::format("{} at {}:{}", d.code, place.line, place.column));
  }
  return out;
}

const std::string language_model = R"(# Next-character language model.
dim V = 65, E = 64, H = 256

cell LSTM[I, H](x: real[I], (h, c): (real[H], real[H])) {
  param W: real[I, 4*H] ~ xavier
  param U: real[H, 4*H] ~ orthogonal
  param b: real[4*H]    ~ zeros
  i, f, g, o = split(x @ W + h @ U + b, 4)
  c = sigmoid(f) * c + sigmoid(i) * tanh(g)
  h = sigmoid(o) * tanh(c)
  yield h, (h, c)
}

model CharLM(text: token(V)[T], s: state LSTM[E, H] = zeros) {
  param embedding: real[V, E] ~ normal(0, 0.02)
  hs, s = scan LSTM[E, H] over embedding[text] from s
  return logits: dense[V](hs), state: s
}

train CharLM {
  data      text("input.txt"), window 128, lanes 32     # each window gives text[128] and next[128]
  loss      cross_entropy(logits, next) + 1e-5 * l2(params)
  tbptt     carry state                # truncated BPTT: state crosses windows, gradient does not
  optimizer adamw(lr: cosine(2e-3, warmup: 100)), clip_norm 1.0
  epochs    10
  report    perplexity = exp(loss)
}

generate CharLM { from "\n"; temperature 0.8; top_k 40; max 500 }

test "gradients" { gradcheck CharLM(T: 5), order: 2 }
test "decoding"  { expect step(CharLM) == full(CharLM) }
)";

const std::string attention = R"(
block MultiHead[M, N](x: real[T, M], memory: real[S, M] = x, mask: mask[T, S] = none) where M % N == 0 {
  param Wq, Wk, Wv, Wo: real[M, M] ~ xavier
  q, k, v = heads(x @ Wq, N), heads(memory @ Wk, N), heads(memory @ Wv, N)
  a = softmax(masked(q @ transpose(k) / sqrt(M / N), mask))
  return unheads(a @ v) @ Wo
}
)";

}  // namespace

TEST_CASE("the programs of the language's description parse") {
  const syntax::Module module = parse_or_throw(source(language_model));
  CHECK(module.declarations.size() == 7);
  CHECK(parse_or_throw(source(attention)).declarations.size() == 1);
}

TEST_CASE("a train block keeps its clauses, words and names") {
  const syntax::Module module = parse_or_throw(source(language_model));
  const auto& train = std::get<syntax::ClauseBlock>(module.declarations[3].node);
  REQUIRE(train.clauses.size() == 6);
  const syntax::Clause& data = train.clauses[0];
  REQUIRE(data.items.size() == 3);
  CHECK(data.items[1].words.at(0).text == "window");
  CHECK(syntax::as<syntax::Number>(data.items[1].argument.value)->integer == 128);
  const syntax::Clause& carry = train.clauses[2];
  CHECK(carry.items[0].words.at(0).text == "carry");
  CHECK(syntax::as<syntax::Name>(carry.items[0].argument.value)->text == "state");
  const syntax::Clause& report = train.clauses[5];
  CHECK(report.items[0].argument.name->text == "perplexity");
  CHECK(report.items[0].name_equals);
}

TEST_CASE("operators group as in mathematics") {
  const auto same = [](const std::string& a, const std::string& b) {
    const std::string frame = "block f(x: real) {{ return {} }}";
    CHECK(dump_of(fmt::format(fmt::runtime(frame), a)) ==
          dump_of(fmt::format(fmt::runtime(frame), b)));
  };
  same("a + b * c", "a + (b * c)");
  same("a - b - c", "(a - b) - c");
  same("-a ** 2", "-(a ** 2)");
  same("a ** b ** c", "a ** (b ** c)");
  same("x @ W + h @ U + b", "((x @ W) + (h @ U)) + b");
  same("not a < b and c", "(not (a < b)) and c");
  same("a if p else b if q else c", "a if p else (b if q else c)");
}

TEST_CASE("scans and stacks") {
  const std::string text = dump_of(
      "model M(x: real[T, 3]) {\n"
      "  a, s = scan reverse GRU[3, 4] over (x, x[1:]) from zeros unroll 4\n"
      "  b, _ = scan stack (LSTM[3, 4], LSTM[4, 4]) over x\n"
      "  c, _ = scan stack 2 of LSTM[4, 4] over a\n"
      "  return a, b, c\n}\n");
  CHECK_FALSE(text.empty());
}

TEST_CASE("mistakes are reported where they stand, several in one file") {
  CHECK(mistakes("dim H = \n") == std::vector<std::string>{"T0102 at 1:9"});
  CHECK(mistakes("cel LSTM(x: real) { }\n") == std::vector<std::string>{"T0103 at 1:1"});
  CHECK(mistakes("block f(x: real) {\n  y = x +* 2\n  z = (x, \n  return y\n}\n").size() >= 2);
  CHECK(mistakes("block f(x) { return x }\n") == std::vector<std::string>{"T0101 at 1:10"});
  CHECK(mistakes("block f(x: real) { return a < b < c }\n") ==
        std::vector<std::string>{"T0107 at 1:33"});
  CHECK(mistakes("block f(x: real) {\n  return x\n").front() == "T0109 at 1:18");
}

TEST_CASE("too deep nesting is a mistake, not a crash") {
  const std::string deep(5000, '(');
  const std::vector<std::string> found = mistakes("block f(x: real) { return " + deep + " }\n");
  REQUIRE_FALSE(found.empty());
  CHECK(found[0].starts_with("T0106"));
  std::string chain = "x";
  for (int i = 0; i < 2000; ++i) chain += " + x";
  CHECK(mistakes("block f(x: real) { return " + chain + " }\n")[0].starts_with("T0106"));
}

TEST_CASE("no bytes crash the parser") {
  std::mt19937 engine(1);
  for (int round = 0; round < 3000; ++round) {
    std::string text = round % 2 == 0 ? language_model : attention;
    const std::size_t edits = 1 + engine() % 8;
    for (std::size_t i = 0; i < edits; ++i) {
      const std::size_t at = engine() % text.size();
      switch (engine() % 4) {
        case 0: text.erase(at, engine() % 9); break;
        case 1: text.insert(at, 1, "()[]{}=~,:;@*+-\"\n#x7"[engine() % 20]); break;
        case 2: text[at] = static_cast<char>(engine() % 256); break;
        default: text.insert(at, text.substr(engine() % text.size(), engine() % 20)); break;
      }
      if (text.empty()) text = "x";
    }
    std::vector<Diagnostic> diagnostics;
    const syntax::Module module = parse(source(text), diagnostics);
    CHECK(diagnostics.size() <= max_reported_errors + 20);
    CHECK(module.declarations.size() < 1000);
  }
}
