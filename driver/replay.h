// Where in a training step the first number went wrong.
#pragma once
#include <map>
#include <string>

#include "ir/diagnostic.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/trainer.h"

namespace treadle {

// Runs the step again in the reference evaluator and returns the mistake T0835:
// the step's number, the op whose result was the first that is not finite, and
// its place in the source. `tensors` are those the step started from.
Diagnostic explain_non_finite(const Graph& step, const NonFiniteStep& bad,
                              std::map<std::string, Tensor> tensors);

}  // namespace treadle
