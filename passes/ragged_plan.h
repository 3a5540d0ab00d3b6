// Which nodes of one example stay one node for a batch of ragged examples, and
// which run example by example, and with which others.
#pragma once
#include <optional>
#include <vector>

#include "ir/graph.h"
#include "passes/padded_step.h"

namespace treadle {

struct RaggedPlan {
  // Differs between examples, or exists once for each of their rows.
  std::vector<bool> batched;
  // Number of the loop over the examples that a node is part of, or -1.
  std::vector<int> group;
  std::vector<std::vector<NodeId>> groups;  // their nodes, in order
};
RaggedPlan plan_ragged(const Graph& graph);

// The step of a scan as one for the longest example, if it can be.
std::optional<PaddedStep> step_for_longest(const Node& scan);
// Is it a scan whose step sees ragged values?
bool ragged_step(const Node& node);

// One ragged dimension, the first: such a value is rows.
bool is_rows(const Type& type);

// How a matmul with an operand of rows stays one node for all rows.
enum class RowProduct : std::uint8_t {
  none,
  rows_times_shared,  // x[T, I] @ W
  shared_times_rows,  // W contracted with rows: the operands trade places
  row_by_row,         // both have T as their first batch dimension
  vector_each,        // a vector of each example times its rows: scores [T]
  weighted_sum,       // weights[T] times rows, summed over T
};
RowProduct row_product(const Graph& graph, const Node& matmul, const std::vector<bool>& batched);

}  // namespace treadle
