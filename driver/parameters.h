// The parameters of a program: their first values, and those of a training run.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/checkpoint.h"

namespace treadle {

// A value for each `parameter` node, drawn by its initialiser. T0834 for text
// that is no initialiser.
std::map<std::string, Tensor> initial_parameters(const Graph& graph, std::uint64_t seed);

// The checkpoint in the folder of a run.
std::filesystem::path checkpoint_file(const std::filesystem::path& folder);

// Reads it and checks that its parameters are those of `graph`: errors of
// load_checkpoint and check_compatible; T0978 when only the precision differs.
Checkpoint load_run(const std::filesystem::path& folder, const Graph& graph);

}  // namespace treadle
