// Forward mode: tangents as ordinary nodes.
//
// The tangent of a scan is a scan that carries tangents beside the values
// (Williams and Zipser 1989, with one direction instead of all).
#pragma once
#include <map>
#include <span>
#include <vector>

#include "ir/builder.h"

namespace treadle {

struct Direction {
  Value value;
  Value tangent;  // of the same type
};

// Adds to b's graph how each of `wanted` changes when every seed's value moves
// along its tangent; an invalid Value is no change at all. A value that is a
// seed and depends on another one moves by both. A scan that values and
// tangents pass through is there twice afterwards; `instead` receives which
// output of the new one stands for which of the old one: see `use_instead`.
using ValuePairs = std::map<Value, Value>;
std::vector<Value> tangents(Builder& b, std::span<const Direction> seeds,
                            std::span<const Value> wanted, ValuePairs& instead);

// The graph with each use of a key of `instead` replaced by its value, in an
// order in which that can be; dead nodes go. Where no such order exists (what is
// read instead depends on what it replaces) the graph stays as it is.
Graph use_instead(const Graph& graph, const ValuePairs& instead);

}  // namespace treadle
