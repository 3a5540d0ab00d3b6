// Leaves in the time loop only what the recurrence needs.
//
//   %h = scan(%W, %U, %h0, %x) {                 %p = matmul(%x, %W)          # all T at once
//     ^(%0 W, %1 U, %2 h, %3 x_t)                %h = scan(%U, %h0, %p) {
//     %4 = matmul(%3, %0)                  =>      ^(%0 U, %1 h, %2 p_t)
//     %5 = matmul(%2, %1)                          %3 = matmul(%1, %0)
//     %6 = add(%4, %5) ...                         %4 = add(%2, %3) ...
//
// In front: products that depend on no carried value, over all steps at once;
// what depends on constants alone, once. Behind: products that reach no
// carried value, and sums over time (`new = old + f`): the gradient of a
// weight, sum_t a_t^T b_t, becomes one product over all T x B rows. The
// batching rules of the ops do the widening, so no cell is known by name.
// [Appleyard, Kocisky and Blunsom 2016, "Optimizing Performance of Recurrent
// Neural Networks on GPUs", section 3.3]
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph hoist_scan(const Graph& graph);

}  // namespace treadle
