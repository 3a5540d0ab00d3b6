// Which values of a step to keep for its gradient: a minimal cut.
#pragma once
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A step and its gradient in one graph.
struct ResidualProblem {
  const Graph& graph;
  std::vector<bool> forward;  // by node: belongs to the step
  std::vector<bool> free;     // by node: kept in any case, or the same in every step
};

// The nodes of the step that are computed again for the gradient, so that the
// elements kept a step are the fewest: a minimal cut between what the step is
// given and what its gradient reads, where keeping a value costs its elements
// and only products, loops and the like cannot be computed again [Zheng et al.
// 2022, "min-cut rematerialisation"]. Of equal cuts the one that computes least
// again. Symbols count as 16.
std::vector<bool> computed_again(const ResidualProblem& problem);

}  // namespace treadle
