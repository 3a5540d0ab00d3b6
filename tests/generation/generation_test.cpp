// Generating token by token against the whole model, and the search against
// trying everything.
#include <algorithm>
#include <cmath>
#include <map>

#include "driver/decoding.h"
#include "driver/generator.h"
#include "driver/parameters.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "tests/catch.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

using Tokens = std::vector<std::int32_t>;

constexpr const char* recurrent =
    "model M(text: token(5)[T], s: state LSTM[3, 4] = zeros) {\n"
    "  param table: real[5, 3] ~ normal(0, 1)\n"
    "  hs, s = scan LSTM[3, 4] over table[text] from s\n"
    "  return logits: dense[5](hs) * 3, state: s\n"
    "}\n";
constexpr const char* transformer =
    "model M(text: token(5)[T]) {\n"
    "  param table: real[5, 4] ~ normal(0, 1)\n"
    "  x = (stack 2 of EncoderLayer[2])(sinusoidal_positions(table[text]), mask: "
    "causal_mask[T]())\n"
    "  return logits: dense[5](x) * 3\n"
    "}\n";
constexpr const char* both_directions =
    "model M(text: token(5)[T]) {\n"
    "  param table: real[5, 4] ~ normal(0, 1)\n"
    "  return logits: dense[5](BiRNN[4](table[text]))\n"
    "}\n";

Graph model(const char* text) { return program(text).model("M", Mode::eval); }

std::vector<double> whole(const Graph& graph, const NamedTensors& parameters, const Tokens& read) {
  Tensor tokens(DType::i32, {static_cast<std::int64_t>(read.size())});
  for (std::size_t i = 0; i < read.size(); ++i)
    tokens.set_integer(static_cast<std::int64_t>(i), read[i]);
  std::vector<Tensor> inputs;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    const std::string name = node.attributes.string("name");
    if (node.op == Op::parameter)
      inputs.push_back(parameters.at(name));
    else if (name == "text")
      inputs.push_back(tokens);
    else
      inputs.emplace_back(node.types[0].dtype, evaluate_shape(node.types[0], {}));
  }
  const Tensor logits = evaluate(graph, inputs)[0];
  std::vector<double> out;
  for (std::int64_t i = logits.size() - 5; i < logits.size(); ++i) out.push_back(logits.get(i));
  return out;
}

void require_equal(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == Approx(b[i]).epsilon(1e-9).margin(1e-9));
}

}  // namespace

TEST_CASE("sequences side by side give what each prefix gives on its own") {
  for (const char* text : {recurrent, transformer, both_directions}) {
    INFO(text);
    const Graph graph = model(text);
    const NamedTensors parameters = initial_parameters(graph, 3);
    Generator generator(graph, parameters);
    CHECK(generator.blocked().has_value() == (text == both_directions));
    std::vector<Tokens> read(2);
    generator.begin(2);
    // Long enough for the caches to grow twice; on the way one sequence becomes
    // two, and two change places.
    for (std::int32_t t = 0; t < 70; ++t) {
      if (t == 5) {
        const std::vector<std::int64_t> from{0, 1, 0};
        generator.select(from);
        read = {read[0], read[1], read[0]};
      }
      if (t == 40) {
        const std::vector<std::int64_t> from{2, 1};
        generator.select(from);
        read = {read[2], read[1]};
      }
      Tokens tokens;
      for (std::size_t i = 0; i < read.size(); ++i) {
        tokens.push_back((3 * t + static_cast<std::int32_t>(i) * t * t) % 5);
        read[i].push_back(tokens.back());
      }
      const auto logits = generator.next(tokens);
      if (t % 9 != 0 && t != 5 && t != 69) continue;
      for (std::size_t i = 0; i < read.size(); ++i)
        require_equal(logits[i], whole(graph, parameters, read[i]));
    }
  }
}

TEST_CASE("prompts of different lengths continue as each does alone") {
  const Graph graph = model(transformer);
  Generator generator(graph, initial_parameters(graph, 4));
  DecodingOptions options;
  options.max = 12;
  options.stop = 3;
  options.greedy = true;
  const std::vector<Tokens> prompts{{1, 2, 4, 0}, {2}, {0, 4}};
  const auto together = sample(generator, prompts, {}, options, nullptr);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Tokens seen;
    const auto alone = sample(generator, {prompts[i]}, {}, options,
                              [&](std::size_t, std::int32_t token) { seen.push_back(token); });
    CHECK(alone[0].tokens == together[i].tokens);
    CHECK(seen == alone[0].tokens);
    CHECK(alone[0].log_probability == Approx(together[i].log_probability));
    CHECK(std::count(seen.begin(), seen.end(), 3) == 0);
  }
  // top_k 1 is greedy, and so is a top_p that one token fills.
  options.greedy = false;
  options.top_k = 1;
  CHECK(sample(generator, {prompts[0]}, {}, options, nullptr)[0].tokens == together[0].tokens);
  options.top_k = 0;
  options.top_p = 1e-9;
  CHECK(sample(generator, {prompts[0]}, {}, options, nullptr)[0].tokens == together[0].tokens);
}

TEST_CASE("choices follow the probabilities") {
  const std::vector<double> logits{std::log(0.1), std::log(0.6), std::log(0.3)};
  const auto share = [&](const DecodingOptions& options, std::int32_t token) {
    int count = 0;
    for (int i = 0; i < 1000; ++i) count += choose(logits, options, (i + 0.5) / 1000) == token;
    return count / 1000.0;
  };
  DecodingOptions options;
  CHECK(share(options, 0) == Approx(0.1).margin(1e-3));
  CHECK(share(options, 1) == Approx(0.6).margin(1e-3));
  options.top_k = 2;
  CHECK(share(options, 2) == Approx(1.0 / 3).margin(2e-3));
  options.top_k = 0;
  options.top_p = 0.7;
  CHECK(share(options, 0) == 0);
  CHECK(share(options, 2) == Approx(1.0 / 3).margin(2e-3));
  options.top_p = 1;
  options.temperature = 0.5;  // squares them
  CHECK(share(options, 1) == Approx(0.36 / 0.46).margin(2e-3));
  options.temperature = 0;
  CHECK(share(options, 1) == 1);
}

namespace {

// Every sequence of up to `left` tokens, worth what beam_search says it is.
void try_all(const Graph& graph, const NamedTensors& parameters, const Tokens& read, Tokens tokens,
             double log_probability, std::int64_t left, const DecodingOptions& options,
             std::vector<std::pair<double, Tokens>>& found) {
  const auto worth = [&](double p, std::size_t length) {
    return p / std::pow(static_cast<double>(length), options.length_penalty);
  };
  if (left == 0) {
    found.emplace_back(worth(log_probability, tokens.size()), tokens);
    return;
  }
  Tokens all = read;
  all.insert(all.end(), tokens.begin(), tokens.end());
  const std::vector<double> p = log_probabilities(whole(graph, parameters, all));
  for (std::int32_t token = 0; token < 5; ++token) {
    const double total = log_probability + p[static_cast<std::size_t>(token)];
    if (options.stop == token) {
      found.emplace_back(worth(total, tokens.size() + 1), tokens);
      continue;
    }
    tokens.push_back(token);
    try_all(graph, parameters, read, tokens, total, left - 1, options, found);
    tokens.pop_back();
  }
}

}  // namespace

TEST_CASE("a beam finds what trying everything finds, and a beam of one is greedy") {
  for (const char* text : {recurrent, transformer}) {
    const Graph graph = model(text);
    const NamedTensors parameters = initial_parameters(graph, 5);
    Generator generator(graph, parameters);
    const Tokens prompt{1, 4};
    for (const double penalty : {0.0, 0.6, 1.0}) {
      DecodingOptions options;
      options.max = 2;  // of two tokens a beam of five sees all
      options.beam = 5;
      options.stop = 2;
      options.length_penalty = penalty;
      std::vector<std::pair<double, Tokens>> all;
      try_all(graph, parameters, prompt, {}, 0, options.max, options, all);
      std::sort(all.begin(), all.end(),
                [](const auto& a, const auto& b) { return a.first > b.first; });
      const auto found = beam_search(generator, 1, prompt, {}, options)[0];
      REQUIRE(found.size() == 5);
      for (std::size_t i = 0; i < found.size(); ++i) {
        INFO(i << " with penalty " << penalty);
        CHECK(found[i].tokens == all[i].second);
      }
    }
    DecodingOptions options;
    options.max = 9;
    options.beam = 1;
    const auto found = beam_search(generator, 1, prompt, {}, options)[0];
    options.greedy = true;
    const auto greedy = sample(generator, {prompt}, {}, options, nullptr);
    CHECK(found[0].tokens == greedy[0].tokens);
    CHECK(found[0].log_probability == Approx(greedy[0].log_probability));
  }
}

TEST_CASE("what cannot be generated is said") {
  const auto code_of = [](const std::function<void()>& action) -> std::string {
    try {
      action();
    } catch (const UserError& error) {
      return error.diagnostics().at(0).code;
    }
    return "";
  };
  const Graph graph = model(
      "model M(text: token(5)[T], memory: real[S, 4]) {\n"
      "  param table: real[5, 4] ~ normal(0, 1)\n"
      "  x = MultiHead[2](learned_positions[6](table[text]), mask: causal_mask[T]())\n"
      "  return logits: dense[5](MultiHead[2](x, memory: memory))\n"
      "}\n");
  Generator generator(graph, initial_parameters(graph, 1));
  CHECK(generator.given_inputs() == std::vector<std::string>{"memory"});
  CHECK(code_of([&] { generator.begin(1); }) == "T0880");
  CHECK(code_of([&] {
          generator.begin(2, {{"memory", Tensor(DType::f64, {1, 3, 4})}});
        }) == "T0880");
  const NamedTensors memory{{"memory", Tensor(DType::f64, {1, 3, 4})}};
  generator.begin(1, memory);
  const Tokens token{2};
  for (int t = 0; t < 6; ++t) CHECK(code_of([&] { generator.next(token); }).empty());
  CHECK(code_of([&] { generator.next(token); }) == "T0881");
  DecodingOptions options;
  options.beam = 6;
  CHECK(code_of([&] { beam_search(generator, 1, token, memory, options); }) == "T0882");
  CHECK(code_of([&] {
          const Graph numbers = model("model M(x: real[T, 3]) { return y: x }\n");
          Generator(numbers, {});
        }) == "T0844");
}
