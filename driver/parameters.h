// The parameters of a program: their first values, and those of a training run.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "passes/training_step.h"
#include "runtime/checkpoint.h"

namespace treadle {

// A value for each `parameter` node, drawn by its initialiser. T0834 for text
// that is no initialiser.
std::map<std::string, Tensor> initial_parameters(const Graph& graph, std::uint64_t seed);

// What a training step starts from: those, and its slots at zero.
std::map<std::string, Tensor> first_tensors(const Graph& loss, const TrainingStep& step,
                                            std::uint64_t seed);

// The train block of that model, or without a name the first. T0840 when the
// file has none.
const TrainSpec& find_train_block(const Experiment& experiment, const std::string& file,
                                  const std::string& model);

// The checkpoint in the folder of a run.
std::filesystem::path checkpoint_file(const std::filesystem::path& folder);

// Reads it and checks that its parameters are those of `graph`: errors of
// load_checkpoint and check_compatible; T0978 when only the precision differs.
Checkpoint load_run(const std::filesystem::path& folder, const Graph& graph);

// The same, with floats of another precision turned into the graph's.
Checkpoint load_run_as(const std::filesystem::path& folder, const Graph& graph);

}  // namespace treadle
