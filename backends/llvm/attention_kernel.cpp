#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

AttentionKernel::AttentionKernel(const Target& target, DimTable& dims, const Node& node,
                                 const std::vector<Type>& types,
                                 const std::vector<RowsView>& matrices,
                                 const MatmulKernels& kernels)
    : target_(target),
      dims_(dims),
      body_(*node.regions[0]),
      kernels_(kernels),
      tile_(attention_tile(kernels.tile)),
      dtype_(node.types[0].dtype) {
  const AttentionView view(node);
  gradient_ = view.gradient;
  plain_ = view.plain_weights();
  matrices_ = view.matrices;
  arguments_ = view.arguments;
  batch_dims_ = view.batch();
  batch_ = product(batch_dims_);
  queries_ = view.queries();
  keys_ = view.keys();
  const auto results = matrices.begin() + static_cast<std::ptrdiff_t>(view.row_operands);
  operand_rows_.assign(matrices.begin(), results);
  result_rows_.assign(results, matrices.end());
  scratch_ = attention_scratch(node, types, operand_rows_, kernels.tile);
  width_ = types[op_q].dims.back();
  value_width_ = types[op_v].dims.back();
  masked_ = std::any_of(body_.nodes().begin(), body_.nodes().end(),
                        [](const Node& n) { return n.op == Op::select; });
  for (std::size_t i = 0; i < operand_rows_.size(); ++i)
    copied_rows_.push_back({{}, Dim(0), Dims(batch_dims_.size(), Dim(0)), types[i].dims.back()});
  prepare_tiles();
  units_ = batch_;
  if (!gradient_) units_ = units_ * (queries_ + Dim(tile_queries_ - 1)).floor_div(tile_queries_);
}

void AttentionKernel::emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* begin,
                           llvm::Value* end, const Pointers& pointers) {
  KernelEmitter e(b, target_, body_, dims_, dim_table);
  pointers_ = &pointers;
  element_ = memory_type(b.getContext(), dtype_);
  for (std::size_t i = matrices_; i < pointers.operands.size(); ++i)
    e.set_leaf(body_.input_value(arguments_ + i - matrices_), pointers.operands[i]);
  const auto stack = [&](std::int64_t elements) {
    auto* out =
        b.CreateAlloca(llvm::ArrayType::get(element_, static_cast<std::uint64_t>(elements)));
    out->setAlignment(llvm::Align(64));
    return out;
  };
  const std::int64_t columns = std::max(tile_.columns, kernels_.tile.columns);
  scores_ = stack(tile_keys_ * score_stride_);
  if (gradient_) gradients_ = stack(tile_keys_ * score_stride_);
  panel_ = stack(std::max(tile_keys_, tile_queries_) * columns);
  begun_ = b.CreateAlloca(b.getInt1Ty());
  seen_ = b.CreateAlloca(
      llvm::ArrayType::get(b.getInt64Ty(), static_cast<std::uint64_t>(tile_queries_)));
  zeros_ = stack(columns);
  clear(e, zeros_, e.integer(columns));
  for (llvm::Value** numbers : {&tops_, &sums_, &maxima_, &factors_})
    *numbers = stack(tile_queries_);
  prepare_asks(e);
  // The batch whose operands are copied.
  b.CreateStore(e.integer(-1), at_batch_ = b.CreateAlloca(b.getInt64Ty()));
  emit_loop(b, begin, end, e.integer(1), [&](llvm::Value* unit) {
    if (gradient_)
      gradient(e, unit);
    else
      forward(e, unit);
  });
}

// ---- small pieces ----

llvm::Value* AttentionKernel::at(KernelEmitter& e, llvm::Value* pointer, llvm::Value* offset) {
  return e.b.CreateGEP(element_, pointer, offset);
}

AttentionKernel::Matrix AttentionKernel::original(std::size_t i) const {
  return {pointers_->operands[i], operand_rows_[i], i == op_q || i == op_k ? width_ : value_width_};
}

AttentionKernel::Matrix AttentionKernel::operand(KernelEmitter& e, std::size_t i) {
  Matrix matrix = original(i);
  if (const auto copy = copy_of(i)) return {piece(e, *copy), copied_rows_[i], matrix.width};
  return matrix;
}

// Where an operand is copied to, if it is.
std::optional<AttentionScratch::Piece> AttentionKernel::copy_of(std::size_t i) const {
  using enum AttentionScratch::Piece;
  for (const auto& [operand, piece] : {std::pair(op_q, copied_q), std::pair(op_k, copied_k),
                                       std::pair(op_v, copied_v), std::pair(op_dy, copied_dy)})
    if (operand == i && scratch_.elements[piece] != Dim(0)) return piece;
  return std::nullopt;
}

// Fills the copies that batch has.
void AttentionKernel::copy_operands(KernelEmitter& e, const Tile& batch) {
  for (std::size_t i = 0; i < operand_rows_.size(); ++i) {
    if (!copy_of(i)) continue;
    const Matrix from = original(i), to = operand(e, i);
    llvm::Value* bytes = e.extent(from.width * Dim(static_cast<std::int64_t>(size_of(dtype_))));
    const llvm::MaybeAlign align(size_of(dtype_));
    emit_loop(e.b, e.integer(0), e.extent(i == op_k || i == op_v ? keys_ : queries_), e.integer(1),
              [&](llvm::Value* row) {
                e.b.CreateMemCpy(row_of(e, to, batch, row), align, row_of(e, from, batch, row),
                                 align, bytes);
              });
  }
}

// Those of the gradient are of q, k and v.
AttentionKernel::Matrix AttentionKernel::result(std::size_t i) const {
  return {pointers_->results[i], result_rows_[i], gradient_ && i != op_v ? width_ : value_width_};
}

// Row `row` of the tile's batch.
llvm::Value* AttentionKernel::row_of(KernelEmitter& e, const Matrix& matrix, const Tile& tile,
                                     llvm::Value* row) {
  llvm::Value* offset = e.b.CreateMul(row, row_stride(e, matrix));
  for (std::size_t i = 0; i < tile.batch_index.size(); ++i)
    offset = e.b.CreateAdd(
        offset, e.b.CreateMul(tile.batch_index[i].base, e.extent(matrix.rows.batch_strides[i])));
  return at(e, matrix.pointer, offset);
}

void AttentionKernel::clear_rows(KernelEmitter& e, const Matrix& matrix, llvm::Value* first,
                                 llvm::Value* rows) {
  llvm::Value* width = e.extent(matrix.width);
  if (matrix.rows.row_stride == matrix.width) return clear(e, first, e.b.CreateMul(rows, width));
  emit_loop(e.b, e.integer(0), rows, e.integer(1), [&](llvm::Value* row) {
    clear(e, at(e, first, e.b.CreateMul(row, row_stride(e, matrix))), width);
  });
}

llvm::Value* AttentionKernel::lse_of(KernelEmitter& e, llvm::Value* lse, const Tile& tile) {
  llvm::Value* first = e.b.CreateMul(tile.batch, e.extent(queries_));
  return at(e, lse, e.b.CreateAdd(first, tile.row));
}

llvm::Value* AttentionKernel::piece(KernelEmitter& e, AttentionScratch::Piece piece) {
  return at(e, pointers_->scratch, e.extent(scratch_.start(piece)));
}

llvm::Value* AttentionKernel::minus_infinity(unsigned lanes) {
  return llvm::ConstantFP::getInfinity(value_type(element_->getContext(), dtype_, lanes), true);
}

llvm::Value* AttentionKernel::larger(KernelEmitter& e, llvm::Value* x, llvm::Value* y) {
  return e.b.CreateSelect(e.b.CreateFCmpOGT(x, y), x, y);
}

llvm::Value* AttentionKernel::finite_or_zero(KernelEmitter& e, llvm::Value* x) {
  llvm::Value* magnitude = e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
  llvm::Value* finite = e.b.CreateFCmpOLT(magnitude, llvm::ConstantFP::getInfinity(x->getType()));
  return e.b.CreateSelect(finite, x, llvm::Constant::getNullValue(x->getType()));
}

llvm::Value* AttentionKernel::exp(KernelEmitter& e, llvm::Value* x) {
  return emit_exp_of_difference(e.b, x, target_);
}

// In a fixed order.
llvm::Value* AttentionKernel::sum_of_lanes(KernelEmitter& e, llvm::Value* x, unsigned lanes) {
  for (unsigned half = lanes / 2; half >= 1; half /= 2) {
    std::vector<int> high(lanes, -1);
    for (unsigned i = 0; i < half; ++i) high[i] = static_cast<int>(half + i);
    x = e.b.CreateFAdd(x, e.b.CreateShuffleVector(x, high));
  }
  return e.b.CreateExtractElement(x, std::uint64_t{0});
}

llvm::Value* AttentionKernel::vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column,
                                        unsigned lanes) {
  return e.load(dtype_, row, {column, 1, nullptr}, nullptr, lanes);
}

void AttentionKernel::set_vector(KernelEmitter& e, llvm::Value* row, llvm::Value* column,
                                 llvm::Value* value) {
  e.store(value, dtype_, row, column, nullptr);
}

// The query `r` and lanes of keys.
LaneIndices AttentionKernel::index(KernelEmitter& e, const Tile& tile, llvm::Value* r,
                                   llvm::Value* column) {
  LaneIndices out = tile.batch_index;
  out.push_back({e.b.CreateAdd(tile.row, r), 0, nullptr});
  out.push_back({e.b.CreateAdd(tile.column, column), 1, nullptr});
  return out;
}

// Lanes of queries and one key.
LaneIndices AttentionKernel::turned_index(KernelEmitter& e, const Tile& tile, llvm::Value* r,
                                          llvm::Value* column) {
  LaneIndices out = index(e, tile, r, column);
  std::swap(out[out.size() - 2].lane, out.back().lane);
  return out;
}

IndexRanges AttentionKernel::ranges(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  IndexRanges index;
  for (const LaneIndex& i : tile.batch_index) index.push_back({i.base, i.base});
  const auto range = [&](llvm::Value* begin, llvm::Value* count) {
    index.push_back({begin, b.CreateSub(b.CreateAdd(begin, count), e.integer(1))});
  };
  range(tile.row, tile.rows);
  range(tile.column, tile.columns);
  return index;
}

llvm::Value* AttentionKernel::unseen(KernelEmitter& e, const Tile& tile) {
  e.start_block();
  llvm::Value* none = TileRanges(e).all_minus_infinity(body_.outputs()[0].value, ranges(e, tile));
  e.start_block();
  return none;
}

// Of a vector along a row: as many registers as there are whole ones, if it is known, since
// lanes that are masked take as long.
unsigned AttentionKernel::lanes_along(const Dim& width) const {
  const unsigned least = square_lanes();
  unsigned lanes = std::max(lanes_, least);
  const auto columns = width.constant();
  while (columns && lanes > least && *columns % lanes != 0) lanes /= 2;
  return lanes;
}

void AttentionKernel::scale_row(KernelEmitter& e, llvm::Value* row, const Dim& width,
                                llvm::Value* factor) {
  const unsigned lanes = lanes_along(width);
  llvm::Value* factors = e.b.CreateVectorSplat(lanes, factor);
  sweep(
      e, e.extent(width), width, {},
      [&](llvm::Value* column, llvm::Value* mask, Values&) {
        llvm::Value* x = e.load(dtype_, row, {column, 1, nullptr}, mask, lanes);
        e.store(e.b.CreateFMul(x, factors), dtype_, row, column, mask);
      },
      lanes);
}

void AttentionKernel::clear(KernelEmitter& e, llvm::Value* pointer, llvm::Value* elements) {
  llvm::Value* bytes =
      e.b.CreateMul(elements, e.integer(static_cast<std::int64_t>(size_of(dtype_))));
  e.b.CreateMemSet(pointer, e.b.getInt8(0), bytes, llvm::MaybeAlign(size_of(dtype_)));
}

}  // namespace treadle
