// Composite ops written out in core ops.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Every op whose record has a `decompose` rule (softmax, mean, one_hot, ...) is
// replaced by what the rule builds, in regions too, until none is left. For
// backends that have no code of their own for them.
//
//   %1 = mean(%0) {axes = [0]} : f32[]
// becomes
//   %1 = reduce_sum(%0) {axes = [0]} : f32[]
//   ... divided by the extent
Graph expand_composites(const Graph& graph);

}  // namespace treadle
