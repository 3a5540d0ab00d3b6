// Products run by oneDNN inside the compiled step.
#pragma once
#include "ir/placement.h"
#include "runtime/node_runner.h"

namespace treadle {

// Claims f32 products whose operands have a dimension of stride one.
const BackendModel& onednn_model();

// Of a node that the model claims. Each thread of the team runs oneDNN on
// pieces of its own, on that thread alone: oneDNN makes no threads. Operand B is
// kept in the layout that oneDNN asks for and is laid out anew by each
// `prepare`.
std::unique_ptr<NodeRunner> make_onednn_runner(const MatmulClaim& claim);

// "3.2.0"
std::string onednn_version();

}  // namespace treadle
