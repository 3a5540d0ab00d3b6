// What the unit behind reads and writes in memory is asked for while this one is computed: a head's
// rows of a few lines stand far apart, which the processor does not see in advance, and the units
// of a step come when what they read has left the caches.
#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/attention_strip_internal.h"

namespace treadle {

namespace {

// Pairs of lines in a list: half a mebibyte, as much as stays near until it is read.
constexpr std::int64_t most_asked = 4096;

}  // namespace

void AttentionKernel::prepare_asks(KernelEmitter& e) {
  llvm::IRBuilder<>& b = e.b;
  if (!asks()) return;
  asks_ = b.CreateAlloca(llvm::ArrayType::get(b.getPtrTy(), 2));
  asked_ = b.CreateAlloca(llvm::ArrayType::get(b.getPtrTy(), most_asked));
  for (const unsigned end : {0, 1})  // nothing yet
    b.CreateStore(asks_, b.CreateConstGEP1_64(b.getPtrTy(), asks_, end));
}

// Only for rows that are copied since they stand apart; those that are dense come by themselves.
bool AttentionKernel::asks() const {
  return copy_of(op_k).has_value() && width_.constant() && value_width_.constant();
}

AttentionKernel::Tile AttentionKernel::batch_behind(KernelEmitter& e, llvm::Value* batch) {
  Tile behind;
  behind.batch = e.b.CreateAdd(batch, e.integer(1));
  behind.batch_index = e.delinearise(behind.batch, batch_dims_);
  return behind;
}

// Of the next unit and, of the batch behind, as many keys as the tile has queries.
void AttentionKernel::ask_for_unit(KernelEmitter& e, const Tile& tile, const Tile& next) {
  if (!asks()) return;
  const Tile behind = batch_behind(e, tile.batch);
  const Matrix keys = original(op_k), values = original(op_v), out = result(0);
  ask_for_rows(e,
               {{operand(e, op_q), tile.next_queries},
                {keys, row_of(e, keys, behind, tile.row)},
                {values, row_of(e, values, behind, tile.row)},
                {out, row_of(e, out, next, next.row)}},
               behind, tile.rows);
}

// Of the batch behind.
void AttentionKernel::ask_for_batch(KernelEmitter& e, llvm::Value* batch) {
  if (!asks()) return;
  const Tile behind = batch_behind(e, batch);
  std::vector<AskedRows> rows;
  const auto add = [&](const Matrix& matrix) {
    rows.push_back({matrix, row_of(e, matrix, behind, e.integer(0))});
  };
  for (const std::size_t i : {op_q, op_k, op_v, op_dy}) add(original(i));
  if (plain_) add(original(op_result));
  for (std::size_t i = 0; i < result_rows_.size(); ++i) add(result(i));
  ask_for_rows(e, rows, behind, smaller(e, e.extent(queries_), e.extent(keys_)));
}

// Row by row, `rows` of each, unless there is no batch behind.
void AttentionKernel::ask_for_rows(KernelEmitter& e, const std::vector<AskedRows>& matrices,
                                   const Tile& behind, llvm::Value* rows) {
  llvm::IRBuilder<>& b = e.b;
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  std::vector<std::int64_t> pairs;  // of lines that a row has
  std::int64_t all = 0;
  for (const AskedRows& x : matrices) {
    pairs.push_back((*x.matrix.width.constant() * size + pair_bytes - 1) / pair_bytes);
    all += pairs.back();
  }
  rows = smaller(e, rows, e.integer(most_asked / all));
  llvm::Value* none = b.CreateICmpEQ(behind.batch, e.extent(batch_));
  rows = b.CreateSelect(none, e.integer(0), rows);
  Values first;
  for (const AskedRows& x : matrices) first.push_back(x.first);
  emit_loop(b, e.integer(0), rows, e.integer(1), first, [&](llvm::Value* row, Values& at_row) {
    llvm::Value* place = b.CreateGEP(b.getPtrTy(), asked_, b.CreateMul(row, e.integer(all)));
    unsigned next = 0;
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      for (std::int64_t pair = 0; pair < pairs[i]; ++pair) {
        llvm::Value* line = b.CreateGEP(b.getInt8Ty(), at_row[i], e.integer(pair * pair_bytes));
        b.CreateStore(line, b.CreateConstGEP1_64(b.getPtrTy(), place, next++));
      }
      at_row[i] = at(e, at_row[i], row_stride(e, matrices[i].matrix));
    }
  });
  llvm::Value* end = b.CreateGEP(b.getPtrTy(), asked_, b.CreateMul(rows, e.integer(all)));
  b.CreateStore(asked_, asks_);
  b.CreateStore(end, b.CreateConstGEP1_64(b.getPtrTy(), asks_, 1));
}

}  // namespace treadle
