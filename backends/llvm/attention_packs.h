// What attention's tiles read as the right side of their products.
#pragma once
#include <vector>

#include "ir/graph.h"

namespace treadle {

enum AttentionOperand : std::size_t { op_q, op_k, op_v, op_dy, op_result, op_lse };

// An operand as a matrix [k, n] of each batch, packed (matmul_kernel.h).
struct AttentionPack {
  std::size_t operand = 0;
  bool turned = false;  // k is the operand's column
};

bool is_attention(Op op);
// In the order in which the kernel expects them.
std::vector<AttentionPack> attention_packs(Op op);

}  // namespace treadle
