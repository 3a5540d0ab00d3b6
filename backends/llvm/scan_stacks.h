// Which memory the stacks that a scan returns share with other values.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "ir/builder.h"

namespace treadle {

// For each stacked output the carry whose values, those that go into the steps or
// those that come out, it is; view.carries where it is a stack of its own. Outputs that
// are `wanted` at a place of their own (by their number, carries included) are.
std::vector<std::size_t> carries_of_stacks(const ScanView& view,
                                           const std::function<bool(std::size_t)>& wanted);

// A sequence of the scan over which stacked output `i` may be written, row by row: nobody
// reads it later, and the one kernel of a step that reads its row writes that output, each
// element after all reads of it. The gradient of a step by its gates is written over what
// was kept of them (passes/join_residuals.h), a gradient over the one that came.
std::optional<Value> overwritten_stack(const Graph& graph, NodeId scan, std::size_t i);

// May a carried value be written over the one that came in? One kernel alone reads it, at
// the elements that it writes of the next one.
bool carried_in_place(const ScanView& view, std::size_t carry);

}  // namespace treadle
