// Time written out: the textbook's unrolled graph.
//
//   %h = scan(%c, %h0, %x) {length = <3>} { step }
// becomes
//   %h1 = step(%c, %h0, x[0])   %h2 = step(%c, %h1, x[1])   %h = step(%c, %h2, x[2])
//
// With `steps` = K > 0 each turn of the loop does K steps, on sequences of
// length floor(T / K), and a second loop does the T - K floor(T / K) that are
// left; the length may be a symbol. With 0 every scan of a constant length
// disappears; one of a symbolic length stays. Values and gradients are the
// same; before `differentiate` as behind it. Scans within scans are unrolled
// too.
#pragma once
#include <cstdint>

#include "ir/graph.h"

namespace treadle {

Graph unroll(const Graph& graph, std::int64_t steps);

// Each scan as its attribute `unroll` says (`scan ... unroll K` in a program);
// the others stay loops.
Graph unroll_as_written(const Graph& graph);

}  // namespace treadle
