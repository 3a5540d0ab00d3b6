// Sums over the steps of a time loop are added up in its turns.
#pragma once
#include "ir/graph.h"

namespace treadle {

// A value of each step of which nothing but sums over all steps is wanted, as the
// gradient of a gain or a peephole vector, needs no stack: the loop carries its sum,
// element by element, and what else the sum goes over is summed behind. A row is then
// read and written where it is in cache. What more reads, a product above all, is
// stacked for that anyway, and stays; so does what no kernel of the step makes, whose
// sum would be another one, and what has other rows at each step.
//
//   %3, %4 = scan(%0, %1) {                     %3, %4 = scan(%0, %z, %1) {
//     ^(%0 c, %1 x_t)                             ^(%0 c, %1 sum, %2 x_t)
//     %2 = mul(%0, %1)                  =>        %3 = mul(%0, %2)
//     return ..., %2 }                            %4 = add(%1, %3)   return ..., %4 }
//   %5 = reduce_sum(%4) {axes = [0, 1]}         %5 = reduce_sum(%4) {axes = [0]}
//
// Loops that carry nothing keep it so: their turns do not wait for one another.
Graph carry_sums(const Graph& graph);

}  // namespace treadle
