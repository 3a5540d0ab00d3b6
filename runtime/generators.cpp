#include "runtime/generators.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <string_view>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/random.h"

namespace treadle {
namespace {

void require_at_least(std::int64_t value, std::int64_t least, std::string_view what) {
  if (value < least)
    throw_user_error("T0985", fmt::format("{} is {}, at least {} is needed", what, value, least));
}

// Example i's own stream: a longer set begins with a shorter one.
RandomStream example_stream(std::string_view name, std::uint64_t seed, std::int64_t i) {
  return {seed, mix(hash_text(name), static_cast<std::uint64_t>(i))};
}

class Sentences {
 public:
  explicit Sentences(RandomStream random) : random_(random) {}

  // sentence = clause (", and " clause)? ".\n"
  std::string next() {
    std::string out = clause();
    if (random_.next_uniform() < 0.3) out += ", and " + clause();
    return out + ".\n";
  }

 private:
  std::string_view pick(std::initializer_list<std::string_view> words) {
    return words.begin()[random_.next_below(words.size())];
  }

  // clause = noun_phrase verb_phrase, agreeing in number
  std::string clause() {
    const bool plural = random_.next_uniform() < 0.4;
    return noun_phrase(plural) + " " + verb_phrase(plural);
  }

  std::string noun_phrase(bool plural) {
    std::string out(plural ? pick({"the", "some", "many"}) : pick({"the", "a", "every"}));
    if (random_.next_uniform() < 0.4) out += fmt::format(" {}", pick({"red", "small", "quiet"}));
    out += fmt::format(" {}", pick({"weaver", "loom", "thread", "shuttle", "pedal", "cat"}));
    return plural ? out + "s" : out;
  }

  std::string verb_phrase(bool plural) {
    const double kind = random_.next_uniform();
    const std::string ending = plural ? "" : "s";
    if (kind < 0.3) return std::string(pick({"sleep", "turn", "sing"})) + ending;
    const bool object_plural = random_.next_uniform() < 0.4;
    std::string out(pick({"see", "pull", "hold", "find"}));
    out += ending + " " + noun_phrase(object_plural);
    if (kind > 0.8) out += fmt::format(" {} the room", pick({"in", "near"}));
    return out;
  }

  RandomStream random_;
};

}  // namespace

AddingProblem adding_problem(std::int64_t length, std::int64_t n, std::uint64_t seed) {
  require_at_least(length, 2, "the length of the adding problem");
  require_at_least(n, 1, "the number of examples");
  AddingProblem out{Tensor(DType::f32, {n, length, 2}), Tensor(DType::f32, {n})};
  const auto rows = out.sequences.as<float>();
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random = example_stream("adding", seed, i);
    const auto at = [&](std::int64_t t) { return static_cast<std::size_t>((i * length + t) * 2); };
    for (std::int64_t t = 0; t < length; ++t)
      rows[at(t)] = static_cast<float>(random.next_below(1 << 24)) * 0x1p-24F;
    const std::int64_t half = length / 2;
    const auto first =
        static_cast<std::int64_t>(random.next_below(static_cast<std::uint64_t>(half)));
    const auto second = half + static_cast<std::int64_t>(
                                   random.next_below(static_cast<std::uint64_t>(length - half)));
    rows[at(first) + 1] = rows[at(second) + 1] = 1;
    out.targets.as<float>()[static_cast<std::size_t>(i)] = rows[at(first)] + rows[at(second)];
  }
  return out;
}

CopyMemory copy_memory(std::int64_t delay, std::int64_t n, std::uint64_t seed) {
  require_at_least(delay, 1, "the delay of copy memory");
  require_at_least(n, 1, "the number of examples");
  constexpr std::int64_t symbols = 10;
  const std::int64_t length = delay + 2 * symbols;
  CopyMemory out{Tensor(DType::i32, {n, length}), Tensor(DType::i32, {n, length})};
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random = example_stream("copy", seed, i);
    const auto row = static_cast<std::size_t>(i * length);
    const auto sequence = out.sequences.as<std::int32_t>().subspan(row, length);
    const auto target = out.targets.as<std::int32_t>().subspan(row, length);
    for (std::int64_t k = 0; k < symbols; ++k) {
      const auto symbol = static_cast<std::int32_t>(1 + random.next_below(8));
      sequence[static_cast<std::size_t>(k)] = symbol;
      target[static_cast<std::size_t>(length - symbols + k)] = symbol;
    }
    std::fill(sequence.end() - symbols - 1, sequence.end(), 9);
  }
  return out;
}

SparseLine sparse_line(std::int64_t width, std::int64_t nonzero, std::int64_t n, double noise,
                       std::uint64_t seed) {
  require_at_least(n, 1, "the number of examples");
  require_at_least(width, 1, "the width");
  require_at_least(nonzero, 0, "the number of entries that are not zero");
  require_at_least(width, nonzero, "the width");
  std::vector<double> truth(static_cast<std::size_t>(width));
  RandomStream places(static_cast<std::uint64_t>(nonzero), "sparse truth");
  for (std::int64_t placed = 0; placed < nonzero;) {
    double& entry = truth[places.next_below(static_cast<std::uint64_t>(width))];
    if (entry != 0) continue;
    entry = (1 + places.next_uniform()) * (places.next_uniform() < 0.5 ? -1 : 1);
    ++placed;
  }
  SparseLine out{Tensor(DType::f64, {n, width}), Tensor(DType::f64, {n}),
                 Tensor(DType::f64, {n, width})};
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random = example_stream("sparse", seed, i);
    double sum = 0;
    for (std::int64_t k = 0; k < width; ++k) {
      const double x = random.next_normal(), weight = truth[static_cast<std::size_t>(k)];
      out.rows.set(i * width + k, x);
      out.truth.set(i * width + k, weight);
      sum += x * weight;
    }
    out.targets.set(i, sum + noise * random.next_normal());
  }
  return out;
}

NoisyWave noisy_wave(std::int64_t n, double noise, std::uint64_t seed) {
  require_at_least(n, 1, "the number of examples");
  NoisyWave out{Tensor(DType::f64, {n}), Tensor(DType::f64, {n})};
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random = example_stream("wave", seed, i);
    const double place = 2 * random.next_uniform() - 1;
    out.places.set(i, place);
    out.targets.set(i, std::sin(std::numbers::pi * place) + noise * random.next_normal());
  }
  return out;
}

std::string grammar_text(std::int64_t length, std::uint64_t seed) {
  require_at_least(length, 1, "the length of the text");
  Sentences sentences(RandomStream(seed, "grammar"));
  std::string out;
  while (static_cast<std::int64_t>(out.size()) < length) out += sentences.next();
  out.resize(static_cast<std::size_t>(length));
  return out;
}

}  // namespace treadle
