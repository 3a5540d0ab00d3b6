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

#include "ir/builder.h"

namespace treadle {

Graph unroll(const Graph& graph, std::int64_t steps);

// Each scan as its attribute `unroll` says (`scan ... unroll K` in a program);
// the others stay loops.
Graph unroll_as_written(const Graph& graph);

// `count` blocks of `steps` rows each, then the rows that are left (a scan in
// reverse begins with these).
struct ScanBlocks {
  std::int64_t steps = 0;
  Dim count;
  Region block;          // the body that does `steps` steps, on rows [steps, ...]
  Attributes more;       // of the scan over the blocks
  Attributes more_left;  // of the scan over what is left
};
// The scan `view` with this body on these operands, cut in two: a scan over the
// blocks, and one over what is left. Returns its outputs.
std::vector<Value> scan_in_blocks(Builder& b, const ScanView& view, const Region& body,
                                  const std::vector<Value>& operands, const ScanBlocks& how);

}  // namespace treadle
