// Choosing tokens from a model's logits: sampling and beam search.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "driver/generator.h"

namespace treadle {

struct DecodingOptions {
  bool greedy = false;               // always the likeliest
  double temperature = 1;            // divides the logits; 0 is greedy
  std::int64_t top_k = 0;            // only the k likeliest; 0: all
  double top_p = 1;                  // only the likeliest that together have this probability
  std::int64_t max = 256;            // tokens at most
  std::optional<std::int32_t> stop;  // ends a sequence; not part of it
  std::uint64_t seed = 0;
  std::int64_t classes = 0;   // tokens are the first so many of the model's; 0: all
  std::int64_t beam = 0;      // 0: sampling
  double length_penalty = 1;  // see beam_search
};

struct Continuation {
  std::vector<std::int32_t> tokens;
  double log_probability = 0;  // of the tokens, natural; the stop token's included
  bool stopped = false;
};

// log softmax, in f64.
std::vector<double> log_probabilities(std::span<const double> logits);

// One choice: the temperature divides the logits, top_k and top_p [Holtzman et
// al. 2020] leave the likeliest, `uniform` in [0, 1) picks among them.
std::int32_t choose(std::span<const double> logits, const DecodingOptions& options, double uniform);

// Continues the prompts (each of one token or more) side by side; the draws for
// a prompt depend on its number (its place, or `numbers[place]`), not on the
// others. `given` as for Generator::begin. `on_token(i, token)` is called as soon
// as token is chosen.
std::vector<Continuation> sample(Generator& generator,
                                 const std::vector<std::vector<std::int32_t>>& prompts,
                                 const NamedTensors& given, const DecodingOptions& options,
                                 const std::function<void(std::size_t, std::int32_t)>& on_token,
                                 std::span<const std::size_t> numbers = {});

// For each of `sequences` sequences, which begin with the same prompt and differ
// in what is `given`: the best continuations that a search with `options.beam`
// hypotheses finds, best first, at most that many. A hypothesis is worth
// log_probability / length^length_penalty; its length counts the stop token.
// T0882 when the beam is wider than the vocabulary.
std::vector<std::vector<Continuation>> beam_search(Generator& generator, std::int64_t sequences,
                                                   std::span<const std::int32_t> prompt,
                                                   const NamedTensors& given,
                                                   const DecodingOptions& options);

}  // namespace treadle
