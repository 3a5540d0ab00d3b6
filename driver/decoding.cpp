#include "driver/decoding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/random.h"

namespace treadle {
namespace {

// Indices of the `count` largest values, the largest first; of equals the first
// one first.
std::vector<std::int32_t> largest(std::span<const double> values, std::size_t count) {
  std::vector<std::int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const double x = values[static_cast<std::size_t>(a)];
                      const double y = values[static_cast<std::size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  order.resize(count);
  return order;
}

// The logits of the tokens that may be chosen.
std::span<const double> allowed(std::span<const double> logits, const DecodingOptions& options) {
  const auto classes = static_cast<std::size_t>(options.classes);
  return classes > 0 && classes < logits.size() ? logits.first(classes) : logits;
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
  const bool greedy = options.greedy || options.temperature <= 0;
  const std::vector<std::int32_t> order =
      largest(logits, greedy              ? 1
                      : options.top_k > 0 ? static_cast<std::size_t>(options.top_k)
                                          : logits.size());
  if (greedy) return order.front();
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
                                 const std::function<void(std::size_t, std::int32_t)>& on_token,
                                 std::span<const std::size_t> numbers) {
  std::vector<Continuation> out(prompts.size());
  std::vector<RandomStream> random;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::size_t number = numbers.empty() ? i : numbers[i];
    random.emplace_back(options.seed,
                        number == 0 ? hash_text("generate") : mix(hash_text("generate"), number));
  }
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
        const std::span<const double> known = allowed(logits[k], options);
        const std::int32_t token = choose(known, options, random[i].next_uniform());
        out[i].log_probability += log_probabilities(known)[static_cast<std::size_t>(token)];
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

namespace {

// The search for one sequence.
class Beam {
 public:
  explicit Beam(const DecodingOptions& options) : options_(options) {}

  bool finished() const { return finished_; }
  std::size_t rows() const { return finished_ ? 0 : live_.size(); }
  const std::vector<Continuation>& live() const { return live_; }

  // One more token for the hypotheses, from the logits of what follows each.
  // Returns of each new hypothesis which old one it goes on from.
  std::vector<std::size_t> grow(std::span<const std::vector<double>> logits) {
    const auto width = static_cast<std::size_t>(options_.beam);
    std::vector<Continuation> next;
    std::vector<std::size_t> from;
    for (const Candidate& candidate : candidates(logits)) {
      if (next.size() == width) break;
      Continuation c = live_[candidate.row];
      c.log_probability = candidate.total;
      if (options_.stop == candidate.token) {
        c.stopped = true;
        done_.push_back(std::move(c));
        continue;
      }
      c.tokens.push_back(candidate.token);
      next.push_back(std::move(c));
      from.push_back(candidate.row);
    }
    live_ = std::move(next);
    keep_best(done_);
    if (none_can_win()) live_.clear();
    finished_ = live_.empty();
    return from;
  }

  std::vector<Continuation> best() && {
    done_.insert(done_.end(), live_.begin(), live_.end());
    keep_best(done_);
    return std::move(done_);
  }

 private:
  struct Candidate {
    double total;
    std::size_t row;
    std::int32_t token;
  };

  // The best followers of all hypotheses. Of one row `width` that go on and one
  // that stops are more than enough.
  std::vector<Candidate> candidates(std::span<const std::vector<double>> logits) const {
    std::vector<Candidate> out;
    for (std::size_t row = 0; row < live_.size(); ++row) {
      const std::vector<double> p = log_probabilities(allowed(logits[row], options_));
      for (const std::int32_t token : largest(p, static_cast<std::size_t>(options_.beam) + 1))
        out.push_back(
            {live_[row].log_probability + p[static_cast<std::size_t>(token)], row, token});
    }
    std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
      return a.total > b.total ||
             (a.total == b.total && std::pair(a.row, a.token) < std::pair(b.row, b.token));
    });
    return out;
  }

  void keep_best(std::vector<Continuation>& all) const {
    std::stable_sort(all.begin(), all.end(), [&](const Continuation& a, const Continuation& b) {
      return worth(a, options_.length_penalty) > worth(b, options_.length_penalty);
    });
    if (all.size() > static_cast<std::size_t>(options_.beam))
      all.resize(static_cast<std::size_t>(options_.beam));
  }

  // Probabilities only fall: with a penalty up to 1 or without one a live
  // hypothesis can at best keep what it has, spread over the longest length.
  bool none_can_win() const {
    if (done_.size() < static_cast<std::size_t>(options_.beam)) return false;
    const double longest = static_cast<double>(std::max<std::int64_t>(options_.max, 1));
    const double divisor =
        options_.length_penalty > 0 ? std::pow(longest, options_.length_penalty) : 1;
    return std::all_of(live_.begin(), live_.end(), [&](const Continuation& c) {
      return c.log_probability / divisor <= worth(done_.back(), options_.length_penalty);
    });
  }

  const DecodingOptions& options_;
  std::vector<Continuation> live_{1}, done_;
  bool finished_ = false;
};

}  // namespace

std::vector<std::vector<Continuation>> beam_search(Generator& generator, std::int64_t sequences,
                                                   std::span<const std::int32_t> prompt,
                                                   const NamedTensors& given,
                                                   const DecodingOptions& options) {
  generator.begin(sequences, given);
  const auto count = static_cast<std::size_t>(sequences);
  std::vector<std::vector<double>> logits;
  for (const std::int32_t token : prompt)
    logits = generator.next(std::vector<std::int32_t>(count, token));
  if (const std::size_t known = allowed(logits[0], options).size();
      static_cast<std::size_t>(options.beam) > known)
    throw_user_error("T0882",
                     fmt::format("a beam of {} is wider than the vocabulary, which has {} tokens",
                                 options.beam, known),
                     "make it as wide as the vocabulary at most");
  std::vector<Beam> beams(count, Beam(options));
  for (std::int64_t length = 0; length < options.max; ++length) {
    std::vector<std::int64_t> from;
    std::vector<std::int32_t> tokens;
    std::size_t first = 0;
    for (Beam& beam : beams) {
      const std::size_t rows = beam.rows();
      if (rows == 0) continue;
      const auto parents = beam.grow(std::span(logits).subspan(first, rows));
      for (std::size_t k = 0; k < beam.rows(); ++k) {
        from.push_back(static_cast<std::int64_t>(first + parents[k]));
        tokens.push_back(beam.live()[k].tokens.back());
      }
      first += rows;
    }
    if (from.empty() || length + 1 == options.max) break;
    generator.select(from);
    logits = generator.next(tokens);
  }
  std::vector<std::vector<Continuation>> out;
  for (Beam& beam : beams) out.push_back(std::move(beam).best());
  return out;
}

}  // namespace treadle
