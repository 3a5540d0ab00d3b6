// Sequences made from sources, token by token, against the whole model.
#include <cmath>

#include "driver/generator.h"
#include "driver/parameters.h"
#include "driver/translation.h"
#include "ir/eval/evaluate.h"
#include "tests/catch.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

constexpr std::int32_t begin = 0, end = 1;
constexpr std::size_t classes = 5;

constexpr const char* recurrent =
    "model M(source: token(6)[S], target: token(5)[T]) {\n"
    "  param from: real[6, 4] ~ normal(0, 1)\n"
    "  param to: real[5, 4] ~ normal(0, 1)\n"
    "  ahead, last = scan GRU[4, 2] over from[source]\n"
    "  back, first = scan reverse GRU[4, 2] over from[source]\n"
    "  memory = concat(ahead, back, axis: -1)\n"
    "  h, _ = scan GRU[4, 4] over to[target] from concat(last, first)\n"
    "  param fits: real[4, 4] ~ xavier\n"
    "  seen = softmax(h @ fits @ transpose(memory)) @ memory\n"
    "  return logits: dense[5](tanh(dense[4](concat(h, seen, axis: -1)))) * 4\n"
    "}\n";
constexpr const char* transformer =
    "model M(source: token(6)[S], target: token(5)[T]) {\n"
    "  param from: real[6, 4] ~ normal(0, 1)\n"
    "  param to: real[5, 4] ~ normal(0, 1)\n"
    "  x = Transformer[2, 2](sinusoidal_positions(from[source]), "
    "sinusoidal_positions(to[target]))\n"
    "  return logits: dense[5](x) * 2\n"
    "}\n";
// The derived step does not exist: everything is read again for each token.
constexpr const char* unmasked =
    "model M(source: token(6)[S], target: token(5)[T]) {\n"
    "  param from: real[6, 4] ~ normal(0, 1)\n"
    "  param to: real[5, 4] ~ normal(0, 1)\n"
    "  x = MultiHead[2](to[target], memory: from[source])\n"
    "  return logits: dense[5](MultiHead[2](x)) * 4\n"
    "}\n";
// The attention stands in the recurrence [Bahdanau et al. 2015].
constexpr const char* attending =
    "cell Attending[S](x: real[4], (h, memory): (real[4], real[S, 4])) {\n"
    "  seen = softmax(memory @ dense[4](h)) @ memory\n"
    "  h = tanh(dense[4](concat(x, seen)) + dense[4](h))\n"
    "  yield h, (h, memory)\n"
    "}\n"
    "model M(source: token(6)[S], target: token(5)[T]) {\n"
    "  param from: real[6, 4] ~ normal(0, 1)\n"
    "  param to: real[5, 4] ~ normal(0, 1)\n"
    "  memory, last = scan GRU[4, 4] over from[source]\n"
    "  h, _ = scan Attending over to[target] from (last, memory)\n"
    "  return logits: dense[5](h) * 4\n"
    "}\n";

Tensor row(const Tokens& tokens) {
  Tensor out(DType::i32, {static_cast<std::int64_t>(tokens.size())});
  std::copy(tokens.begin(), tokens.end(), out.as<std::int32_t>().begin());
  return out;
}

// The logits behind the last token of `target`.
std::vector<double> whole(const Graph& graph, const NamedTensors& parameters, const Tokens& source,
                          const Tokens& target) {
  std::vector<Tensor> inputs;
  for (const NodeId id : graph.inputs()) {
    const std::string name = graph.node(id).attributes.string("name");
    inputs.push_back(name == "source"   ? row(source)
                     : name == "target" ? row(target)
                                        : parameters.at(name));
  }
  const Tensor logits = evaluate(graph, inputs)[0];
  std::vector<double> out;
  for (std::int64_t i = logits.size() - static_cast<std::int64_t>(classes); i < logits.size(); ++i)
    out.push_back(logits.get(i));
  return out;
}

struct Best {
  double worth = -INFINITY;
  Tokens tokens;
};

// The best of all sequences of up to `left` more tokens.
void try_all(const std::function<std::vector<double>(const Tokens&)>& logits, const Tokens& read,
             double total, std::int64_t left, Best& best) {
  const auto length = static_cast<double>(read.size() - 1);
  const auto consider = [&](double worth) {
    if (worth > best.worth) best = {worth, Tokens(read.begin() + 1, read.end())};
  };
  if (left == 0) return consider(total / length);
  const std::vector<double> p = log_probabilities(logits(read));
  consider((total + p[end]) / (length + 1));
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(classes); ++token) {
    if (token == end) continue;
    Tokens more = read;
    more.push_back(token);
    try_all(logits, more, total + p[static_cast<std::size_t>(token)], left - 1, best);
  }
}

const std::vector<Tokens> sources{{3, 1, 4}, {5}, {2, 2, 0, 1, 5}, {}, {1, 4, 3}, {0}, {4, 4, 1}};

}  // namespace

TEST_CASE("each token of a translation follows from its source and the tokens before it") {
  for (const char* text : {recurrent, transformer, unmasked, attending}) {
    INFO(text);
    const Graph graph = program(text).model("M", Mode::eval);
    const NamedTensors parameters = initial_parameters(graph, 3);
    Generator generator(graph, parameters);
    CHECK(generator.blocked().has_value() == (text == unmasked));
    CHECK(generator.given_inputs() == std::vector<std::string>{"source"});
    // Two sources of one length side by side, and one of them twice on the way.
    Tensor given(DType::i32, {2, 3});
    for (std::size_t i = 0; i < 6; ++i)
      given.as<std::int32_t>()[i] = i < 3 ? sources[0][i] : sources[4][i - 3];
    generator.begin(2, {{"source", given}});
    std::vector<std::size_t> which{0, 4};
    std::vector<Tokens> read(2);
    for (std::int32_t t = 0; t < 36; ++t) {
      if (t == 3) {
        generator.select(std::vector<std::int64_t>{1, 0, 1});
        which = {4, 0, 4};
        read = {read[1], read[0], read[1]};
      }
      Tokens tokens;
      for (std::size_t i = 0; i < read.size(); ++i) {
        tokens.push_back((2 * t + static_cast<std::int32_t>(i) * t) % 5);
        read[i].push_back(tokens.back());
      }
      const auto logits = generator.next(tokens);
      if (t > 5 && t != 35) continue;
      for (std::size_t i = 0; i < read.size(); ++i) {
        const auto expected = whole(graph, parameters, sources[which[i]], read[i]);
        for (std::size_t k = 0; k < classes; ++k)
          CHECK(logits[i][k] == Approx(expected[k]).epsilon(1e-10).margin(1e-10));
      }
    }
  }
}

TEST_CASE("sources of different lengths are translated as each is alone") {
  for (const char* text : {recurrent, transformer, unmasked, attending}) {
    INFO(text);
    const Graph graph = program(text).model("M", Mode::eval);
    const NamedTensors parameters = initial_parameters(graph, 7);
    Generator generator(graph, parameters);
    for (const std::int64_t beam : {0, 5}) {
      DecodingOptions options;
      options.max = beam == 0 ? 6 : 2;
      options.stop = end;
      options.greedy = true;
      options.beam = beam;
      std::vector<std::size_t> order;
      const auto together =
          translate(generator, "source", sources, {begin}, options,
                    [&](std::size_t i, const Continuation&) { order.push_back(i); });
      REQUIRE(together.size() == sources.size());
      for (std::size_t i = 0; i < sources.size(); ++i) {
        INFO("source " << i << ", beam " << beam);
        CHECK(order[i] == i);
        const auto logits = [&](const Tokens& read) {
          return whole(graph, parameters, sources[i], read);
        };
        if (beam > 0) {  // of two tokens a beam of five sees all
          Best best;
          try_all(logits, {begin}, 0, options.max, best);
          CHECK(together[i].tokens == best.tokens);
          continue;
        }
        Tokens read{begin};
        double total = 0;
        bool stopped = false;
        while (!stopped && static_cast<std::int64_t>(read.size()) <= options.max) {
          const std::vector<double> p = log_probabilities(logits(read));
          const auto next = std::max_element(p.begin(), p.end()) - p.begin();
          total += p[static_cast<std::size_t>(next)];
          stopped = next == end;
          if (!stopped) read.push_back(static_cast<std::int32_t>(next));
        }
        CHECK(together[i].tokens == Tokens(read.begin() + 1, read.end()));
        CHECK(together[i].stopped == stopped);
        CHECK(together[i].log_probability == Approx(total).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("what is drawn for a source depends on its number alone; some classes are no tokens") {
  const Graph graph = program(recurrent).model("M", Mode::eval);
  Generator generator(graph, initial_parameters(graph, 7));
  DecodingOptions options;
  options.max = 8;
  options.seed = 5;
  const auto together = translate(generator, "source", sources, {begin}, options);
  auto others = sources;
  for (const std::size_t i : {1U, 2U, 3U, 5U}) others[i] = {2};
  const auto again = translate(generator, "source", others, {begin}, options);
  for (const std::size_t i : {0U, 4U, 6U}) CHECK(together[i].tokens == again[i].tokens);
  CHECK(together[1].tokens != again[1].tokens);
  options.classes = 2;
  for (const std::int64_t beam : {0, 2}) {
    options.beam = beam;
    for (const Continuation& c : translate(generator, "source", sources, {begin}, options))
      for (const std::int32_t token : c.tokens) CHECK(token < 2);
  }
}
