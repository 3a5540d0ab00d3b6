#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

bool is_attention(Op op) { return op == Op::attention || op == Op::attention_gradient; }

std::vector<AttentionPack> attention_packs(Op op) {
  if (op == Op::attention) return {{op_q, true}};
  return {{op_q, true}, {op_dy, true}};
}

AttentionKernel::AttentionKernel(const Target& target, DimTable& dims, const Node& node,
                                 const std::vector<Type>& types, const MatmulKernels& kernels)
    : target_(target),
      dims_(dims),
      body_(*node.regions[0]),
      kernels_(kernels),
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
  width_ = types[op_q].dims.back();
  value_width_ = types[op_v].dims.back();
  masked_ = std::any_of(body_.nodes().begin(), body_.nodes().end(),
                        [](const Node& n) { return n.op == Op::select; });
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
  const std::int64_t columns = kernels_.tile.columns;
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

// Row `row` of the tile's batch, in a value of `rows` rows of `width`.
llvm::Value* AttentionKernel::at(KernelEmitter& e, llvm::Value* pointer, const Tile& tile,
                                 llvm::Value* row, const Dim& rows, const Dim& width) {
  llvm::Value* first = e.b.CreateMul(tile.batch, e.extent(rows));
  return at(e, pointer, e.b.CreateMul(e.b.CreateAdd(first, row), e.extent(width)));
}

llvm::Value* AttentionKernel::packed(KernelEmitter& e, std::size_t pack, const Tile& tile,
                                     const Dim& k, const Dim& n) {
  const std::int64_t columns = kernels_.tile.columns;
  const Dim elements = (n + Dim(columns - 1)).floor_div(columns) * Dim(columns) * k;
  return at(e, pointers_->packed[pack], e.b.CreateMul(tile.batch, e.extent(elements)));
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
llvm::Value* AttentionKernel::sum_of_lanes(KernelEmitter& e, llvm::Value* x) {
  for (unsigned half = lanes_ / 2; half >= 1; half /= 2) {
    std::vector<int> high(lanes_, -1);
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

void AttentionKernel::scale_row(KernelEmitter& e, llvm::Value* row, const Dim& width,
                                llvm::Value* factor) {
  llvm::Value* factors = e.b.CreateVectorSplat(lanes_, factor);
  sweep(e, e.extent(width), width, {}, [&](llvm::Value* column, llvm::Value* mask, Values&) {
    llvm::Value* x = e.load(dtype_, row, {column, 1, nullptr}, mask, lanes_);
    e.store(e.b.CreateFMul(x, factors), dtype_, row, column, mask);
  });
}

void AttentionKernel::clear(KernelEmitter& e, llvm::Value* pointer, llvm::Value* elements) {
  llvm::Value* bytes =
      e.b.CreateMul(elements, e.integer(static_cast<std::int64_t>(size_of(dtype_))));
  e.b.CreateMemSet(pointer, e.b.getInt8(0), bytes, llvm::MaybeAlign(size_of(dtype_)));
}

}  // namespace treadle
