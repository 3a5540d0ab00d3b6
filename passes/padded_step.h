// The step of a scan that sees whole rows of its example (a decoder that looks at
// its source), as a step on as many rows as the longest example has.
//
//   ^(%0 memory, %1 h)                      ^(%0 memory, %1 S, %2 h)
//     %2 = matmul(%0, %1) : f32[~S]    =>     %3 = matmul(%0, %2) : f32[S.longest]
//     %3 = softmax(%2) {axis = 0}             %4 = select(iota < %1, %3, -inf)
//     %4 = matmul(%3, %0) ...                 %5 = softmax(%4) ...
//
// Rows that an example has not are zeros in what comes from outside. A sum, a
// maximum, a softmax or a product over them is told how many there are; whatever
// else stands in them is finite and reaches nothing. So that examples of
// different lengths can take their steps together.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ir/builder.h"

namespace treadle {

struct PaddedStep {
  Region body;
  // The number of rows of each of these is a further constant, i32[], behind the
  // scan's own.
  std::vector<std::string> symbols;
};
// `longest` is the dimension that a ragged symbol becomes. None when the scan
// carries or hands out rows, or its step does anything to them of which this is
// not known to be right.
std::optional<PaddedStep> padded_step(const Node& scan,
                                      const std::function<Dim(const std::string&)>& longest);

}  // namespace treadle
