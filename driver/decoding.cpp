#include "driver/decoding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/random.h"

namespace treadle {
namespace {

// Indices of `values`, the largest first; of equals the first one first.
template <typename Index>
std::vector<Index> descending(std::span<const double> values) {
  std::vector<Index> order(values.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  return order;
}

double worth(const Continuation& c, double length_penalty) {
  const auto length = static_cast<double>(c.tokens.size() + (c.stopped ? 1 : 0));
  return c.log_probability / std::pow(std::max(1.0, length), length_penalty);
}

}  // namespace

std::vector<double> log_probabilities(std::span<const double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - top);
  std::vector<double> out;
  for (const double x : logits) out.push_back(x - top - std::log(sum));
  return out;
}

std::int32_t choose(std::span<const double> logits, const DecodingOptions& options,
                    double uniform) {
  std::vector<std::int32_t> order = descending<std::int32_t>(logits);
  if (options.greedy || options.temperature <= 0) return order.front();
  if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < order.size())
    order.resize(static_cast<std::size_t>(options.top_k));
  std::vector<double> weights;
  const double top = logits[static_cast<std::size_t>(order.front())];
  for (const std::int32_t i : order)
    weights.push_back(std::exp((logits[static_cast<std::size_t>(i)] - top) / options.temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    kept += weights[i];
    if (kept >= options.top_p * total) {
      weights.resize(i + 1);
      break;
    }
  }
  total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double left = uniform * total;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if ((left -= weights[i]) < 0) return order[i];
  return order[weights.size() - 1];
}

std::vector<Continuation> sample(Generator& generator,
                                 const std::vector<std::vector<std::int32_t>>& prompts,
                                 const NamedTensors& given, const DecodingOptions& options,
                                 const std::function<void(std::size_t, std::int32_t)>& on_token) {
  std::vector<Continuation> out(prompts.size());
  std::vector<RandomStream> random;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    random.emplace_back(options.seed,
                        i == 0 ? hash_text("generate") : mix(hash_text("generate"), i));
  generator.begin(static_cast<std::int64_t>(prompts.size()), given);
  // The sequences that go on, and the token that each of them reads next.
  std::vector<std::size_t> running(prompts.size());
  std::iota(running.begin(), running.end(), std::size_t{0});
  std::vector<std::size_t> read(prompts.size(), 0);
  while (!running.empty()) {
    std::vector<std::int32_t> tokens;
    for (const std::size_t i : running)
      tokens.push_back(read[i] < prompts[i].size() ? prompts[i][read[i]] : out[i].tokens.back());
    const std::vector<std::vector<double>> logits = generator.next(tokens);
    std::vector<std::int64_t> staying;
    std::vector<std::size_t> still;
    for (std::size_t k = 0; k < running.size(); ++k) {
      const std::size_t i = running[k];
      bool done = false;
      if (++read[i] >= prompts[i].size()) {
        const std::int32_t token = choose(logits[k], options, random[i].next_uniform());
        out[i].log_probability += log_probabilities(logits[k])[static_cast<std::size_t>(token)];
        out[i].stopped = options.stop == token;
        if (!out[i].stopped) {
          out[i].tokens.push_back(token);
          if (on_token) on_token(i, token);
        }
        done = out[i].stopped || static_cast<std::int64_t>(out[i].tokens.size()) >= options.max;
      }
      if (done) continue;
      staying.push_back(static_cast<std::int64_t>(k));
      still.push_back(i);
    }
    if (still.size() < running.size() && !still.empty()) generator.select(staying);
    running = std::move(still);
  }
  return out;
}

std::vector<Continuation> beam_search(Generator& generator, std::span<const std::int32_t> prompt,
                                      const NamedTensors& given, const DecodingOptions& options) {
  generator.begin(1, given);
  std::vector<std::vector<double>> logits;
  for (const std::int32_t token : prompt) logits = generator.next(std::span(&token, 1));
  const auto width = static_cast<std::size_t>(options.beam);
  if (width > logits[0].size())
    throw_user_error("T0882",
                     fmt::format("a beam of {} is wider than the vocabulary, which has {} tokens",
                                 width, logits[0].size()),
                     "make it as wide as the vocabulary at most");
  const auto better = [&](const Continuation& a, const Continuation& b) {
    return worth(a, options.length_penalty) > worth(b, options.length_penalty);
  };
  std::vector<Continuation> live(1), done;
  for (std::int64_t length = 0; length < options.max; ++length) {
    // The best followers of all live hypotheses, as (hypothesis, token).
    std::vector<double> totals;
    for (std::size_t h = 0; h < live.size(); ++h)
      for (const double p : log_probabilities(logits[h]))
        totals.push_back(live[h].log_probability + p);
    const std::size_t classes = logits[0].size();
    std::vector<Continuation> next;
    std::vector<std::int64_t> from;
    for (const std::size_t i : descending<std::size_t>(totals)) {
      if (next.size() == width) break;
      Continuation c = live[i / classes];
      c.log_probability = totals[i];
      const auto token = static_cast<std::int32_t>(i % classes);
      if (options.stop == token) {
        c.stopped = true;
        done.push_back(std::move(c));
        continue;
      }
      c.tokens.push_back(token);
      next.push_back(std::move(c));
      from.push_back(static_cast<std::int64_t>(i / classes));
    }
    std::stable_sort(done.begin(), done.end(), better);
    if (done.size() > width) done.resize(width);
    live = std::move(next);
    // Probabilities only fall: with a penalty up to 1 or without one a live
    // hypothesis can at best keep what it has, spread over the longest length.
    const auto hope = [&](const Continuation& c) {
      const double longest = static_cast<double>(std::max<std::int64_t>(options.max, 1));
      const double divisor =
          options.length_penalty > 0 ? std::pow(longest, options.length_penalty) : 1;
      return c.log_probability / divisor;
    };
    if (done.size() == width && std::all_of(live.begin(), live.end(), [&](const Continuation& c) {
          return hope(c) <= worth(done.back(), options.length_penalty);
        })) {
      live.clear();
      break;
    }
    if (length + 1 == options.max || live.empty()) break;
    generator.select(from);
    std::vector<std::int32_t> tokens;
    for (const Continuation& c : live) tokens.push_back(c.tokens.back());
    logits = generator.next(tokens);
  }
  done.insert(done.end(), live.begin(), live.end());
  std::stable_sort(done.begin(), done.end(), better);
  if (done.size() > width) done.resize(width);
  return done;
}

}  // namespace treadle
