// Music as lists of pitches: what sounds at each step, from JSON.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/readers/frames.h"

namespace treadle {

// The keys of a piano, as MIDI numbers.
constexpr std::int64_t lowest_pitch = 21, highest_pitch = 108;
constexpr std::int64_t piano_keys = highest_pitch - lowest_pitch + 1;

struct Chords {
  std::vector<std::uint8_t> pitches;    // of all steps, one step after another
  std::vector<std::int64_t> steps;      // step t has pitches steps[t] .. steps[t + 1] - 1
  std::vector<std::int64_t> sequences;  // sequence i has steps sequences[i] .. [i + 1] - 1
};

// One part of a JSON object {"train": [sequence, ...], "test": ...}; a sequence
// is a list of steps, a step a list of pitches, which may be empty. What else
// stands in the object is passed over. Memory stays below four times the text.
// T0860: it is not JSON (names the byte); T0861: a value of another form (names
// its place, train[3][5]); T0862: a pitch that no piano has; T0863: there is no
// such part; T0864: it stands there twice; T0965: it has no sequence.
Chords read_chords(std::string_view json, const std::string& name, const std::string& part);

// A row of 88 numbers for each step, 1 where a key sounds, else 0. The first
// `skipped` and the last `dropped` steps of each sequence are left out (of a
// shorter one, all). T0865, before memory is taken, for more than 2^22 steps;
// T0965 when nothing is left.
Frames piano_roll(const Chords& chords, std::int64_t skipped, std::int64_t dropped, DType dtype,
                  const std::string& name);

}  // namespace treadle
