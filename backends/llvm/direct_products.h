// Products that read operand B where it stands.
#pragma once
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// Is the matmul, planned but for its operands, better off without a packed B? A
// weight's gradient is: its rows are few, so that each element of B is used in one
// block of rows, and the sum over a batch and its time steps is long, so that a packed
// copy would be written to memory and read back from there.
bool reads_b_directly(const Step& matmul, const MatmulTile& tile);

// A sum over the rows of what such a product reads as B, as a bias's gradient, is left
// to the product: it becomes its second output and reads nothing anew.
void sum_on_the_way(const ProgramPlan& plan, std::vector<Step>& steps);

// Two such products with the same B, as the gradients of a layer's two weights are, become
// one step that copies B's blocks once, where they have few rows together. Barriers and
// phases stay as planned but for what the later one writes, which it writes earlier.
void join_products(ProgramPlan& plan, std::vector<Step>& steps);

}  // namespace treadle
