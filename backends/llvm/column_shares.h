// Which columns of one row each thread computes.
#pragma once
#include <optional>
#include <vector>

#include "backends/llvm/program_plan.h"

namespace treadle {

// A fused step, or a copy, over a domain of `share.rows` rows of `share.width`
// columns. Each thread writes its own columns of every output.
struct ColumnUse {
  ColumnShare share;
  std::vector<bool> reads;  // operand i at the thread's own columns alone
};
// None where the step is something else, or its work is not columns (a
// reduction). `tile_f32` says how wide vectors are.
std::optional<ColumnUse> column_use(const Step& step, const MatmulTile& tile_f32);

// Gives every product the share of the first step that reads its columns, or one
// of its own.
void share_columns(std::vector<Step>& steps, const MatmulTile& tile_f32);

}  // namespace treadle
