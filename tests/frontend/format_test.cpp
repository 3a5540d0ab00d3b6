#include "frontend/format.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "frontend/lexer.h"
#include "frontend/parser.h"
#include "runtime/file.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

SourceFilePtr source(const std::string& text) {
  return std::make_shared<const SourceFile>(SourceFile{"test.tdl", text});
}

// The program without its layout; empty when it does not parse.
std::string dump_of(const std::string& text) {
  std::vector<Diagnostic> mistakes;
  const syntax::Module module = parse(source(text), mistakes);
  return mistakes.empty() ? "program\n" + dump(module) : "";
}

std::multiset<std::string> comments_of(const std::string& text) {
  std::vector<Diagnostic> mistakes;
  std::multiset<std::string> out;
  for (const syntax::Comment& comment : lex(source(text), mistakes).comments)
    out.insert(comment.text);
  return out;
}

std::string format(const std::string& text) { return format_program(text, "test.tdl"); }

// Same program, same comments, a fixed point, and clean lines.
void check_formatting(const std::string& text) {
  const std::string out = format(text);
  INFO(out);
  CHECK(dump_of(out) == dump_of(text));
  CHECK(comments_of(out) == comments_of(text));
  CHECK(format(out) == out);
  CHECK(out.find(" \n") == std::string::npos);
  CHECK(out.find("\n\n\n") == std::string::npos);
}

// Every operator, statement, clause and bracket of the language, with comments
// in all kinds of places.
const std::string untidy = R"(import   "x.tdl"; dim A = 1 ;  ## none
dim B = 2   # one
dim LONG = 64   # two


## Doc.
block Many[M, N, cell C = LSTM[2 * M, N]](x: real[T, M], memory: real[S, M] = x, mask: mask[T, S] = none, other: (real[H], (real[2 * H + 1], token(V)[T - 1]))) where M%N==0 {  # head

  # first

  param Wq, Wk, Wv, Wo: real[M, M]~xavier
  param b:real[...,M]
  # between
  param gain: real[M] ~ ones(scale: 2, # scale
     shift: 3)
  q,k,v=heads(x@Wq,N),heads(memory@Wk,N),heads(memory@Wv,N); a=softmax(masked(q@transpose(k)/sqrt(M/N),mask))
  let shared   = dense[4]
  leak         = sigmoid( x )
  a_long_name_for_a_result, b = some_function(argument_number_one + argument_number_two * 3, (a, ), q[1][0], x[1:], x[:n-1], x[a:b * 2 + 1])
  y = (a_rather_long_operand_of_a_sum + another_rather_long_operand_of_a_sum * yet_another_operand - the_last) if training and not (x or -y ** - 2 == 3) else -x[ - 1]
  zz, (s, _) = scan reverse stack 3 of LSTM [ H,H ] over ( (x), y) from (h, c) unroll 4
  zz, s = scan stack (f,g,) over (x,) unroll
  z = f(a # here
    , b # there
     # three
    + test
    # four
    , # five
    d, # six
    )
  return unheads(a@v) @ Wo, state : s   # r
  # before the brace

  # last
}  # after the brace
block f(x: real[N]) { return x }
test "a" { gradcheck Adder ( H : 3, T : 5 ) , order : 2 ; expect a == b }
test "abcd" { }
train M "title" {
  data text("input.txt"), window 128 , lanes 32,
     more 3   # hi
  shuffle   # yes
  # c
  loss   (a + b) * 2, per token f(x), perplexity=exp(loss), remat(budget: 64   MiB)
  report a,
    perplexity = exp(loss),
}
# end)";

const std::string tidy = R"(import "x.tdl"
dim A = 1      ## none
dim B = 2      # one
dim LONG = 64  # two

## Doc.
block Many[M, N, cell C = LSTM[2*M, N]](
  x: real[T, M],
  memory: real[S, M] = x,
  mask: mask[T, S] = none,
  other: (real[H], (real[2*H + 1], token(V)[T-1]))
) where M % N == 0 {  # head
  # first

  param Wq, Wk, Wv, Wo: real[M, M] ~ xavier
  param b: real[..., M]
  # between
  param gain: real[M] ~ ones(
    scale: 2,  # scale
    shift: 3
  )
  q, k, v = heads(x @ Wq, N), heads(memory @ Wk, N), heads(memory @ Wv, N)
  a = softmax(masked(q @ transpose(k) / sqrt(M / N), mask))
  let shared = dense[4]
  leak       = sigmoid(x)
  a_long_name_for_a_result, b = some_function(
    argument_number_one + argument_number_two * 3,
    (a,),
    q[1][0],
    x[1:],
    x[:n-1],
    x[a:b*2 + 1]
  )
  y = (
    a_rather_long_operand_of_a_sum +
      another_rather_long_operand_of_a_sum * yet_another_operand -
      the_last
  ) if training and not (x or -y ** -2 == 3) else
    -x[-1]
  zz, (s, _) = scan reverse stack 3 of LSTM[H, H] over ((x), y) from (h, c) unroll 4
  zz, s = scan stack (f, g) over (x,) unroll
  z = f(
    a,  # here
    b +  # there
      # three
      test,
    # four
    # five
    d  # six
  )
  return unheads(a @ v) @ Wo, state: s  # r
  # before the brace

  # last
}  # after the brace
block f(x: real[N]) { return x }
test "a"    { gradcheck Adder(H: 3, T: 5), order: 2; expect a == b }
test "abcd" {}
train M "title" {
  data   text("input.txt"), window 128, lanes 32, more 3  # hi
  shuffle                                                 # yes
  # c
  loss   (a + b) * 2, per token f(x), perplexity = exp(loss), remat(budget: 64 MiB)
  report a, perplexity = exp(loss)
}
# end
)";

std::vector<std::string> programs_of(const std::string& folder) {
  std::vector<std::string> out;
  const std::filesystem::path path = std::filesystem::path(TREADLE_SOURCE_DIR) / folder;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".tdl") out.push_back(read_file(entry.path()));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> good_programs() {
  std::vector<std::string> out = programs_of("examples");
  for (std::string& text : programs_of("frontend/std")) out.push_back(std::move(text));
  REQUIRE(out.size() >= 8);
  return out;
}

// A program cut into its tokens and what stands between them.
struct Pieces {
  std::vector<std::string> gaps, tokens;  // gaps[i] stands before tokens[i]

  explicit Pieces(const std::string& text) {
    std::vector<Diagnostic> mistakes;
    std::size_t at = 0;
    for (const Token& token : lex(source(text), mistakes).tokens) {
      if (token.kind == TokenKind::newline) continue;
      gaps.push_back(text.substr(at, token.range.begin - at));
      tokens.push_back(text.substr(token.range.begin, token.range.end - token.range.begin));
      at = token.range.end;
    }
  }
  std::string joined() const {
    std::string out;
    for (std::size_t i = 0; i < gaps.size(); ++i) out += gaps[i] + tokens[i];
    return out;
  }
};

// Replaces gaps at random by blanks, line ends, comments, `;` and last commas,
// wherever that leaves the program what it is.
std::string disordered(const std::string& text, unsigned seed, int& changes) {
  const std::vector<std::string> fillers = {"",
                                            " ",
                                            "   ",
                                            "\t",
                                            "\r\n",
                                            "\n",
                                            "\n\n\n",
                                            " # note\n",
                                            "\n# note\n",
                                            "##doc\n",
                                            "\n\n ## doc\n\n",
                                            ";",
                                            ";\n",
                                            ",",
                                            ",  # last\n",
                                            "\n;\n# x\n;# y\n"};
  std::mt19937 random(seed);
  Pieces pieces(text);
  const std::string program = dump_of(text);
  for (int i = 0; i < 60; ++i) {
    std::string& gap = pieces.gaps[random() % pieces.gaps.size()];
    const std::string before = gap;
    const std::string filler = fillers[random() % fillers.size()];
    gap = random() % 2 == 0 || before.find('#') != std::string::npos ? before + filler : filler;
    if (dump_of(pieces.joined()) == program)
      ++changes;
    else
      gap = before;
  }
  return pieces.joined();
}

// The program with names so long that most lines must break.
std::string lengthened(const std::string& text) {
  const std::set<std::string> fixed = {"over",  "from",  "reverse",  "unroll", "of",   "where",
                                       "state", "train", "generate", "test",   "eval", "import"};
  Pieces pieces(text);
  std::vector<Diagnostic> mistakes;
  std::size_t i = 0;
  for (const Token& token : lex(source(text), mistakes).tokens) {
    if (token.kind == TokenKind::newline) continue;
    if (token.kind == TokenKind::identifier && fixed.count(pieces.tokens[i]) == 0)
      pieces.tokens[i] += "_and_more_of_it";
    ++i;
  }
  return pieces.joined();
}

}  // namespace

TEST_CASE("the examples and the standard library are formatted") {
  for (const std::string& text : good_programs()) CHECK(format(text) == text);
}

TEST_CASE("an untidy program becomes tidy") {
  CHECK(format(untidy) == tidy);
  check_formatting(untidy);
}

TEST_CASE("wrong programs that parse keep their tree and comments") {
  int parsed = 0;
  for (const std::string& text : programs_of("tests/bad")) {
    if (dump_of(text).empty()) {
      CHECK_THROWS_AS(format(text), UserError);
      continue;
    }
    ++parsed;
    check_formatting(text);
  }
  CHECK(parsed >= 80);
}

TEST_CASE("whatever its layout, a program keeps its tree and comments") {
  std::vector<std::string> programs = good_programs();
  programs.push_back(untidy);
  for (std::size_t i = 0, count = programs.size(); i < count; ++i)
    programs.push_back(lengthened(programs[i]));
  int changes = 0;
  for (const std::string& text : programs)
    for (unsigned seed = 0; seed < 20; ++seed) {
      const std::string messy = disordered(text, seed, changes);
      INFO(messy);
      check_formatting(messy);
    }
  CHECK(changes > 5000);
}

TEST_CASE("programs made of other programs' tokens are formatted or refused") {
  std::vector<std::string> words;
  for (const std::string& text :
       {untidy, read_file(std::string(TREADLE_SOURCE_DIR) + "/examples/char_lm.tdl")})
    for (const std::string& token : Pieces(text).tokens) words.push_back(token);
  for (const char* bracket : {"(", ")", "[", "]", ",", ";", "-", "not", "(", ")", "test", "\n"})
    words.emplace_back(bracket);
  std::mt19937 random(7);
  int formatted = 0;
  for (int round = 0; round < 3000; ++round) {
    Pieces pieces(tidy);
    for (unsigned i = 0, count = 1 + random() % 3; i < count; ++i) {
      std::string& token = pieces.tokens[random() % pieces.tokens.size()];
      const std::string& word = words[random() % words.size()];
      token = random() % 3 == 0 ? word : random() % 2 == 0 ? token + " " + word : word + token;
    }
    const std::string text = pieces.joined();
    if (dump_of(text).empty()) continue;
    ++formatted;
    INFO(text);
    check_formatting(text);
  }
  CHECK(formatted > 100);
}

TEST_CASE("a line never begins with what would be read as a statement") {
  const std::string operand = "a_name_that_is_long_enough_to_break_the_line_somewhere_near";
  check_formatting("model M(x: real[4]) {\n  y = " + operand + " + " + operand +
                   " + (\n    test\n    if " + operand + " else " + operand + ")\n  z = f(" +
                   operand + ", " + operand + ", # c\n    train\n    and a)\n}\n");
  check_formatting("train M {\n  report " + operand + ", " + operand + ", loss = " + operand +
                   ",\n  test \"x\",;\n  epochs 3\n}\n");
  check_formatting("train " + operand + ",\n  b ,c, " + operand + " \"x\" { epochs 3 }\n");
}

TEST_CASE("a block for several models") {
  CHECK(format("train A ,\n  B,C {\n  epochs 3\n}") == "train A, B, C {\n  epochs 3\n}\n");
  CHECK(format("eval A,B  \"t\" { seed 1 }") == "eval A, B \"t\" { seed 1 }\n");
}

TEST_CASE("doc comments stay with their declaration, and others do not become one") {
  CHECK(format("## A.\ndim A; dim B") == "## A.\ndim A\ndim B\n");
  check_formatting("## A.\ndim A; dim B\ncell C(x: real) {\n  yield x\n  ## c\n}; dim D");
  check_formatting("dim A # a\n; ## not of B\ndim B");
  check_formatting("## not of A\n;dim A");
}

TEST_CASE("a body stays on its line only where it fits") {
  const std::string body =
      "a_name_that_is_long = another_name_that_is_long; return yet_another_name";
  CHECK(format("block f(x: real[N])    {return x}") == "block f(x: real[N]) { return x }\n");
  CHECK(format("block f(x: real[N], y: real[N], z: real[N]) { " + body + " }") ==
        "block f(x: real[N], y: real[N], z: real[N]) {\n"
        "  a_name_that_is_long = another_name_that_is_long\n  return yet_another_name\n}\n");
}

TEST_CASE("little and much") {
  CHECK(format("") == "");
  CHECK(format("\n\n \n") == "");
  CHECK(format("\n# only\n\n\n  # comments") == "# only\n\n# comments\n");
  CHECK(format("\xEF\xBB\xBF"
               "dim H = 3\r\n\r\n\r\ndim G\r\n") == "dim H = 3\n\ndim G\n");
  std::string sum = "x", nested = "x";
  for (int i = 0; i < 400; ++i) sum += i % 2 == 0 ? "+x" : "-x*x";
  for (int i = 0; i < 80; ++i) nested = "f(" + nested + ", 1)";
  check_formatting("model M(x: real) { return " + sum + " }");
  check_formatting("model M(x: real) { return " + nested + " }");
}
