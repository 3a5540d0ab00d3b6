// The gradient of a scan.
#pragma once
#include <vector>

#include "passes/differentiate.h"

namespace treadle {

// Carries through which a derivative can flow: those with needs[operand], and
// those that a step makes depend on something needed.
std::vector<bool> active_carries(const ScanView& view, const std::vector<bool>& needs);

// Gradients of scan node `id` (context.node) with respect to its operands.
// Emits the augmented forward scan (recorded in `replaced`) and the backward
// scan.
std::vector<Value> scan_vjp(VjpContext& context, NodeId id, std::vector<ScanReplacement>& replaced);

}  // namespace treadle
