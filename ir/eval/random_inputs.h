// Inputs for checks that need some, the same ones each time.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// Uniform in [-1, 1), from the engine's raw bits: the distributions of the
// standard library differ between implementations.
double symmetric_uniform(std::mt19937_64& engine);

// In the graph's order: floats uniform in [-1, 1), integers below the input's
// `classes` (below 2 where it has none). `env` gives every symbol.
std::vector<Tensor> random_inputs(const Graph& graph, const DimEnv& env, std::uint64_t seed);

}  // namespace treadle
