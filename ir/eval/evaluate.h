// The reference evaluator: the oracle that everything else is held against.
// Plain loops in the graph's own precision.
#pragma once
#include <span>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// The graph's outputs for `inputs` (in the order of graph.inputs()). Symbols
// are bound from the inputs' shapes. Throws UserError T0950 when a tensor does
// not fit the input's type.
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs);
// The same with the symbols given.
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor* const> inputs,
                             const DimEnv& env);

// Called after each node with its results; what `diagnose` and the replay of a
// step that went wrong look at.
using EvaluateObserver = void (*)(void* context, const Node& node, std::span<const Tensor> results);
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor* const> inputs,
                             const DimEnv& env, EvaluateObserver observer, void* context);

// Symbol values from the shapes of `inputs`: a dim that is a bare symbol binds
// it, the others are then checked.
DimEnv bind_symbols(const Graph& graph, std::span<const Tensor* const> inputs);

}  // namespace treadle
