// Examples of different lengths -> many.
//
//   %0 = parameter {name = "W"} : f32[8, 4]     %0 = parameter {name = "W"} : f32[8, 4]
//   %1 = input {name = "x"} : f32[~T, 8]    =>  %1 = input {name = "x"} : f32[T.rows, 8]
//   %2 = matmul(%1, %0) ... : f32[~T, 4]        %2 = matmul(%1, %0) ... : f32[T.rows, 4]
//
// A value is shared by all examples, or dense ([B, ...]), or rows: one matrix
// without padding for a type whose first dimension alone is ragged (see
// ragged_inputs.h). What works row by row stays one node on all rows; sums over
// a ragged dimension add up each example's rows; a scan over one runs the
// active examples of each step, and pads what a step sees whole (padded_step.h).
// All other nodes (the T x S of attention) run in a loop over the examples, as
// they were written, with the lengths bound anew for each example; nodes that
// hand each other values which are no rows share a loop.
#pragma once
#include "passes/batch.h"

namespace treadle {

// Does an input have a ragged dimension?
bool has_ragged_inputs(const Graph& graph);
// Inputs and outputs of ragged types are rows; T0520 when an input is ragged in
// another dimension than its first.
Graph batch_ragged(const Graph& graph, const BatchOptions& options);

}  // namespace treadle
