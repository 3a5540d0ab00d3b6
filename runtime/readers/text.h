// Texts as class indices.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ir/tensor.h"
#include "runtime/vocabulary.h"

namespace treadle {

struct EncodedText {
  Vocabulary vocabulary;
  Tensor tokens;  // i32[length]
};

// A whole file as one sequence, with the vocabulary of what it holds. T0930
// not UTF-8 (for characters); T0931 nothing in it. The file may be gzip.
EncodedText read_text(const std::filesystem::path& path, TokenUnit unit = TokenUnit::character);

// A text under a vocabulary that exists; T0932 for a token outside it. `name` is
// what messages call the text.
Tensor encode_text(std::string_view text, const Vocabulary& vocabulary,
                   const std::string& name = "the text");

// Its lines without their ends (LF or CR LF), with or without those that hold
// nothing. T0931 when there is none.
enum class BlankLines : std::uint8_t { skip, keep };
std::vector<std::string> read_lines(const std::filesystem::path& path,
                                    BlankLines blank = BlankLines::skip);

// A vocabulary file: a token a line, in the order of their classes; marks such
// as <unk> are lines like others. T0530 where a line is blank, repeats another
// or is not one token, and when there is no line.
Vocabulary read_vocabulary(const std::filesystem::path& path, TokenUnit unit);

// Sequences of different lengths, one after another without padding.
struct EncodedLines {
  Vocabulary vocabulary;
  Tensor tokens;                      // i32[sum of the lengths]
  std::vector<std::int64_t> offsets;  // sequence i is tokens[offsets[i] .. offsets[i + 1])
};

// Line by line, as names or sentences are kept.
EncodedLines read_line_sequences(const std::filesystem::path& path,
                                 TokenUnit unit = TokenUnit::character);
// With `front` and `back` as the classes in front of each line and behind it.
// Mistakes name the line; `name` is what they call the data.
struct LineEnds {
  std::optional<std::int32_t> front = {}, back = {};
};
EncodedLines encode_lines(const std::vector<std::string>& lines, const Vocabulary& vocabulary,
                          const LineEnds& ends = {}, const std::string& name = "line");

// T0927 unless every element of the integer tensor is in [0, classes); names
// the first offender and its index. `name` is what messages call the data.
void require_class_indices(const Tensor& labels, std::int64_t classes, std::string_view name);

}  // namespace treadle
