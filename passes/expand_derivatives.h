// Derivatives that the source asks for (grad, jvp, hvp) become ordinary nodes.
//
//   %0 = input {name = "x"} : f64[]             %0 = input {name = "x"} : f64[]
//   %1 = sin(%0) : f64[]                   =>   %1 = sin(%0) : f64[]
//   %2 = gradient(%1, %0) : f64[]               %2 = cos(%0) : f64[]
#pragma once
#include "ir/graph.h"

namespace treadle {

// Takes one-example graphs; others have no such nodes and stay as they are. A
// derivative in a scan's step is that of the step. Each node is expanded after
// those before it, so that derivatives of derivatives are ordinary ones. The
// transforms of whole graphs (batch, differentiate, derive-step, simplify) begin
// with this.
Graph expand_derivatives(const Graph& graph);

}  // namespace treadle
