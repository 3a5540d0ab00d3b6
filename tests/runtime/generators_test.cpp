#include "runtime/generators.h"

#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("adding problem: one mark a half, the target is the sum of the marked") {
  for (const std::int64_t length : {2, 5, 50}) {
    const AddingProblem data = adding_problem(length, 200, 1);
    double square = 0;
    for (std::int64_t i = 0; i < 200; ++i) {
      std::array<int, 2> marks{};
      float sum = 0;
      for (std::int64_t t = 0; t < length; ++t) {
        const double value = data.sequences.get((i * length + t) * 2);
        REQUIRE((value >= 0 && value < 1));
        if (data.sequences.get((i * length + t) * 2 + 1) == 0) continue;
        ++marks[t < length / 2 ? 0 : 1];
        sum += static_cast<float>(value);
      }
      CHECK(marks == std::array<int, 2>{1, 1});
      CHECK(data.targets.get(i) == sum);
      square += (sum - 1) * (sum - 1);
    }
    CHECK(square / 200 == Approx(1.0 / 6).epsilon(0.35));
  }
}

TEST_CASE("copy memory: ten symbols, asked for at the end") {
  const CopyMemory data = copy_memory(5, 50, 3);
  REQUIRE(data.sequences.shape() == Shape{50, 25});
  for (std::int64_t i = 0; i < 50; ++i)
    for (std::int64_t t = 0; t < 25; ++t) {
      const std::int64_t x = data.sequences.get_integer(i * 25 + t);
      const std::int64_t y = data.targets.get_integer(i * 25 + t);
      if (t < 10) CHECK((x >= 1 && x <= 8));
      if (t >= 10 && t < 14) CHECK(x == 0);
      if (t >= 14) CHECK(x == 9);
      CHECK(y == (t < 15 ? 0 : data.sequences.get_integer(i * 25 + t - 15)));
    }
}

TEST_CASE("strokes: every class, in range, and told apart by their nearest mean") {
  const StrokeImages train = stroke_images(3000, 1);
  const StrokeImages test = stroke_images(500, 2);
  std::vector<double> means(10 * 256, 0.0);
  std::array<int, 10> counts{};
  for (std::int64_t i = 0; i < 3000; ++i) {
    const auto label = static_cast<std::size_t>(train.labels.get_integer(i));
    REQUIRE(label < 10);
    ++counts[label];
    for (std::size_t p = 0; p < 256; ++p) {
      const double v = train.images.get(i * 256 + static_cast<std::int64_t>(p));
      REQUIRE((v >= 0 && v <= 1));
      means[label * 256 + p] += v;
    }
  }
  for (const int count : counts) CHECK(count > 200);
  int right = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    std::size_t best = 0;
    double least = 1e9;
    for (std::size_t c = 0; c < 10; ++c) {
      double d = 0;
      for (std::size_t p = 0; p < 256; ++p)
        d += std::pow(means[c * 256 + p] / counts[c] -
                          test.images.get(i * 256 + static_cast<std::int64_t>(p)),
                      2);
      if (d < least) best = c;
      least = std::min(least, d);
    }
    right += static_cast<std::int64_t>(best) == test.labels.get_integer(i) ? 1 : 0;
  }
  // Harder than a mean can do, easier than chance.
  CHECK(right > 200);
  CHECK(right < 475);
}

TEST_CASE("grammar text: sentences of few characters") {
  const std::string text = grammar_text(20'000, 5);
  CHECK(text.size() == 20'000);
  const std::set<char> letters(text.begin(), text.end());
  CHECK(letters.size() > 15);
  CHECK(letters.size() < 31);
  const std::string first = text.substr(0, text.find('\n'));
  CHECK(first.ends_with("."));
}

TEST_CASE("generated data is a function of the seed, and a longer set begins with a shorter") {
  CHECK(same_bits(stroke_images(20, 1).images, stroke_images(20, 1).images));
  CHECK_FALSE(same_bits(stroke_images(20, 1).images, stroke_images(20, 2).images));
  CHECK(grammar_text(100, 1) == grammar_text(200, 1).substr(0, 100));
  CHECK(grammar_text(100, 1) != grammar_text(100, 2));
  const Tensor few = adding_problem(10, 2, 1).targets;
  const Tensor many = adding_problem(10, 4, 1).targets;
  CHECK(few.get(1) == many.get(1));
  CHECK_FALSE(same_bits(copy_memory(3, 4, 1).targets, copy_memory(3, 4, 2).targets));
}

TEST_CASE("sparse lines: the same few weights for every seed, targets that they explain") {
  const SparseLine data = sparse_line(50, 4, 30, 0.0, 1), other = sparse_line(50, 4, 30, 0.0, 2);
  CHECK(same_bits(data.truth, other.truth));
  CHECK_FALSE(same_bits(data.rows, other.rows));
  int nonzero = 0;
  for (std::int64_t k = 0; k < 50; ++k) {
    const double weight = std::abs(data.truth.get(k));
    if (weight == 0) continue;
    ++nonzero;
    CHECK(weight >= 1);
    CHECK(weight < 2);
  }
  CHECK(nonzero == 4);
  for (std::int64_t i = 0; i < 30; ++i) {
    double sum = 0;
    for (std::int64_t k = 0; k < 50; ++k) sum += data.rows.get(i * 50 + k) * data.truth.get(k);
    CHECK(data.targets.get(i) == Approx(sum));
  }
  double off = 0;
  const SparseLine noisy = sparse_line(50, 4, 2000, 0.5, 1), quiet = sparse_line(50, 4, 2000, 0, 1);
  for (std::int64_t i = 0; i < 2000; ++i)
    off += std::pow(noisy.targets.get(i) - quiet.targets.get(i), 2) / 2000;
  CHECK(std::sqrt(off) == Approx(0.5).epsilon(0.05));
}

TEST_CASE("in a sentence one noun fits the pronoun, and that is what it refers to") {
  const std::map<std::string, std::string> kinds{
      {"anna", "she"},   {"ella", "she"},  {"mia", "she"},   {"ruth", "she"},
      {"ben", "he"},     {"carl", "he"},   {"hugo", "he"},   {"tom", "he"},
      {"boat", "it"},    {"book", "it"},   {"kite", "it"},   {"lamp", "it"},
      {"birds", "they"}, {"cats", "they"}, {"dogs", "they"}, {"twins", "they"}};
  const auto words = [](const std::string& text) {
    std::istringstream in(text);
    return std::vector<std::string>{std::istream_iterator<std::string>(in), {}};
  };
  const PronounSentences data = pronoun_sentences(500, 1);
  std::set<std::string> meant;
  for (std::size_t i = 0; i < 500; ++i) {
    const std::vector<std::string> text = words(data.text[i]), refers = words(data.refers[i]);
    INFO(data.text[i]);
    REQUIRE(text.size() == refers.size());
    CHECK(text.size() >= 7);
    int pronouns = 0;
    for (std::size_t t = 0; t < text.size(); ++t) {
      if (text[t] == refers[t]) continue;
      ++pronouns;
      REQUIRE(kinds.contains(refers[t]));
      CHECK(kinds.at(refers[t]) == text[t]);
      meant.insert(refers[t]);
      int fitting = 0;
      for (const std::string& word : text)
        if (const auto kind = kinds.find(word); kind != kinds.end() && kind->second == text[t])
          ++fitting;
      CHECK(fitting == 1);
    }
    CHECK(pronouns == 1);
  }
  CHECK(meant.size() == 16);
  CHECK(pronoun_sentences(3, 1).text ==
        std::vector<std::string>(data.text.begin(), data.text.begin() + 3));
  CHECK(pronoun_sentences(3, 2).text != pronoun_sentences(3, 1).text);
}

TEST_CASE("a noisy wave is a sine and noise") {
  const NoisyWave quiet = noisy_wave(2000, 0, 1), noisy = noisy_wave(2000, 0.3, 1);
  double off = 0, mean = 0;
  for (std::int64_t i = 0; i < 2000; ++i) {
    CHECK(std::abs(quiet.places.get(i)) <= 1);
    CHECK(quiet.targets.get(i) ==
          Approx(std::sin(3.14159265358979 * quiet.places.get(i))).margin(1e-9));
    off += std::pow(noisy.targets.get(i) - quiet.targets.get(i), 2) / 2000;
    mean += quiet.places.get(i) / 2000;
  }
  CHECK(std::sqrt(off) == Approx(0.3).epsilon(0.05));
  CHECK(std::abs(mean) < 0.05);
}

TEST_CASE("generated data: sizes that make no sense") {
  CHECK(error_code([] { sparse_line(3, 4, 1, 0, 1); }) == "T0985");
  CHECK(error_code([] { sparse_line(0, 0, 1, 0, 1); }) == "T0985");
  CHECK(error_code([] { noisy_wave(0, 0, 1); }) == "T0985");
  CHECK(error_code([] { pronoun_sentences(0, 1); }) == "T0985");
  CHECK(error_code([] { adding_problem(1, 5, 1); }) == "T0985");
  CHECK(error_code([] { adding_problem(10, 0, 1); }) == "T0985");
  CHECK(error_code([] { copy_memory(0, 5, 1); }) == "T0985");
  CHECK(error_code([] { stroke_images(0, 1); }) == "T0985");
  CHECK(error_code([] { grammar_text(0, 1); }) == "T0985");
}
