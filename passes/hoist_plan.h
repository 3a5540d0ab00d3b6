// What leaves a time loop, and where to: the plan of hoist_scan.cpp.
#pragma once
#include <vector>

#include "ir/builder.h"

namespace treadle {

// What becomes of each node of a scan's body.
struct HoistPlan {
  std::vector<bool> invariant;            // depends on constants alone, the same at each step
  std::vector<bool> varying;              // depends on a carried value
  std::vector<bool> front;                // computed in front, for all steps
  std::vector<bool> once;                 // computed in front, once
  std::vector<bool> behind;               // computed behind, for all steps
  std::vector<bool> terms_only;           // needed by nothing but the terms of sums
  std::vector<bool> summed;               // carry i is a sum over time
  std::vector<std::vector<Value>> terms;  // of carry i, when summed
};
HoistPlan plan_hoist(const ScanView& view);

// Is it a constant of zeros?
bool is_zero(const Graph& graph, Value v);

// Do the node's operands, types or attributes mention a bound of the scan?
bool on_bound_rows(const ScanView& view, const Graph& body, const Node& node);

}  // namespace treadle
