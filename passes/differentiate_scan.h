// The gradient of a scan.
#pragma once
#include <vector>

#include "passes/differentiate.h"

namespace treadle {

// Gradients of scan node `id` (context.node) with respect to its operands.
// Emits the augmented forward scan (recorded in `replaced`) and the backward
// scan.
std::vector<Value> scan_vjp(VjpContext& context, NodeId id, std::vector<ScanReplacement>& replaced);

}  // namespace treadle
