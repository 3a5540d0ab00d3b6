// Sequences of rows of numbers, one sequence after another in a text file.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ir/tensor.h"

namespace treadle {

struct Frames {
  Tensor rows;                        // [sum of the lengths, columns]
  std::vector<std::int64_t> offsets;  // sequence i is rows offsets[i] .. offsets[i + 1] - 1
};

// A row a line, its numbers between blanks. A blank line, or a row of nothing
// but 1.0 (as in the UCI archive's Japanese Vowels), ends a sequence; nothing is
// left between two ends. T0921 names the line that holds something else, T0922
// the one that is not as wide as the first; T0965 when there is no row.
Frames read_frames(std::string_view text, const std::string& name, DType dtype);

}  // namespace treadle
