// What a training step is made with, from a program's clauses and its data.
#pragma once
#include <string>

#include "frontend/elaborate.h"
#include "passes/training_step.h"
#include "runtime/batches.h"
#include "runtime/trainer.h"

namespace treadle {

OptimizerSettings optimizer_settings(const OptimizerSpec& spec);

// All that the bits of a run depend on besides its loss, a "name value" a line.
std::string settings_text(const OptimizerSettings& optimizer, const TrainerOptions& trainer,
                          const BatchSource& data);

// The first line of `now` that `before` has otherwise, "epochs was 10, is 20";
// "" when the texts are equal.
std::string differing_settings(const std::string& before, const std::string& now);

// The extents that a batch gives to the symbols of a one-example graph's inputs,
// and to B.
DimEnv batch_sizes(const Graph& one_example, const Batch& batch);

// What became of a scan with a budget, in one line:
// "lm.tdl:7:11: remat keeps 20.1 of 1860.0 MiB, 15930 of 16000 steps in chunks of 45".
std::string recompute_text(const RecomputeChoice& choice);

}  // namespace treadle
