// Structural checks of a graph.
#pragma once
#include "ir/graph.h"

namespace treadle {

// Operands come before their users; every type is the one that the op's record
// infers; regions hold arguments and whole graphs do not; outputs of a whole
// graph have distinct names; fused nodes exist only from the stage `optimised`
// on. Throws InternalError that names the node.
void verify(const Graph& graph);

}  // namespace treadle
