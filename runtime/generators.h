// Data that the project makes itself, each set a function of its arguments.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ir/tensor.h"

namespace treadle {

// The adding problem (Hochreiter and Schmidhuber 1997; in the form of Bai et
// al. 2018): row t is (value in [0, 1), mark); one mark in each half of the
// sequence; the target is the sum of the two marked values. Always answering 1
// gives a squared error of 1/6. T0985 unless T >= 2 and n >= 1.
struct AddingProblem {
  Tensor sequences;  // f32[n, T, 2]
  Tensor targets;    // f32[n]
};
AddingProblem adding_problem(std::int64_t length, std::int64_t n, std::uint64_t seed);

// Copy memory (the same papers): ten symbols of 1 .. 8, then 0 for T - 1
// steps, then 9 eleven times; the target is 0 but for the last ten steps,
// which repeat the symbols. Ten classes. T0985 unless T >= 1 and n >= 1.
struct CopyMemory {
  Tensor sequences;  // i32[n, T + 20]
  Tensor targets;    // i32[n, T + 20]
};
CopyMemory copy_memory(std::int64_t delay, std::int64_t n, std::uint64_t seed);

// Linear data of which few columns matter: rows of standard normal numbers,
// target = row . truth + noise * normal. `truth` has `nonzero` entries of
// size 1 to 2 and either sign, the rest is 0; it depends on width and nonzero
// alone, rows and noise on the seed too. T0985 unless
// 0 <= nonzero <= width, width >= 1 and n >= 1.
struct SparseLine {
  Tensor rows;     // f64[n, width]
  Tensor targets;  // f64[n]
  Tensor truth;    // f64[n, width], the same row each time
};
SparseLine sparse_line(std::int64_t width, std::int64_t nonzero, std::int64_t n, double noise,
                       std::uint64_t seed);

// Points of a curve: places uniform in [-1, 1), target = sin(pi place) + noise *
// normal. T0985 unless n >= 1.
struct NoisyWave {
  Tensor places;   // f64[n]
  Tensor targets;  // f64[n]
};
NoisyWave noisy_wave(std::int64_t n, double noise, std::uint64_t seed);

// Ten kinds of drawn strokes, 16 x 16, moved, turned, scaled and with noise:
// what `mnist` is for recurrent networks that read rows, without a download.
// Classes come in a random order. T0985 unless n >= 1.
struct StrokeImages {
  Tensor images;  // f32[n, 16, 16], 0 (paper) to 1 (ink)
  Tensor labels;  // i32[n], 0 .. 9
};
StrokeImages stroke_images(std::int64_t n, std::uint64_t seed);

// Sentences of a small probabilistic grammar, one a line, at least `length`
// characters cut to just that many: lower-case words, spaces, commas, full
// stops and line ends. T0985 unless length >= 1.
std::string grammar_text(std::int64_t length, std::uint64_t seed);

// Sentences of seven words and more, "anna saw the old lamp near the dogs and it was
// lost": two or three nouns that "she", "he", "it" and "they" stand for, each for
// a different one, and such a pronoun. Word i of `refers` is the noun that a
// pronoun stands for, and any other word itself. T0985 unless n >= 1.
struct PronounSentences {
  std::vector<std::string> text, refers;  // words, one space between them
};
PronounSentences pronoun_sentences(std::int64_t n, std::uint64_t seed);

}  // namespace treadle
