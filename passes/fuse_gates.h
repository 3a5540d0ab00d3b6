// Many small products become one.
//
//   %3 = matmul(%h, %Ui)            %3 = concat(%Ui, %Uf) {axis = 1}
//   %4 = matmul(%h, %Uf)      =>    %4 = matmul(%h, %3)
//                                   %5 = slice(%4) ...   %6 = slice(%4) ...
//
//   add(matmul(%a, %U), matmul(%b, %V))  =>  matmul(concat(%a, %b), concat(%U, %V))
//
// Products that share their left operand are joined along the columns, sums of
// products along the contracted axis; what the cell is called, and how many
// gates it has, plays no part. Weights are joined in front of a loop, once.
// [Appleyard, Kocisky and Blunsom 2016, section 3.1]
#pragma once
#include "ir/graph.h"

namespace treadle {

Graph fuse_gates(const Graph& graph);

}  // namespace treadle
