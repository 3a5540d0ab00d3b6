// What a training step is made with, from a program's clauses and its data.
#pragma once
#include <string>

#include "frontend/elaborate.h"
#include "passes/training_step.h"
#include "runtime/batches.h"

namespace treadle {

OptimizerSettings optimizer_settings(const OptimizerSpec& spec);

// The extents that a batch gives to the symbols of a one-example graph's inputs,
// and to B.
DimEnv batch_sizes(const Graph& one_example, const Batch& batch);

// What became of a scan with a budget, in one line:
// "lm.tdl:7:11: remat keeps 20.1 of 1860.0 MiB, 15930 of 16000 steps in chunks of 45".
std::string recompute_text(const RecomputeChoice& choice);

}  // namespace treadle
