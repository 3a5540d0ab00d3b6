#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

// Queries of a tile; a tile of scores fits the first cache.
constexpr std::int64_t tile_rows = 64;
// Keys of a tile, in whole panels: where a mask may hide some, as many as queries,
// since more of a tile on its edge would be in vain; elsewhere what a row has space for.
constexpr std::int64_t least_columns = 64;
constexpr std::int64_t most_row_bytes = 512;

enum GradientPack : std::size_t { turned_keys, turned_values, keys, queries, results };

// Several registers side by side, as many as divide the columns of a tile: the long
// chain of an exp waits for itself, so that others have to fill the time.
unsigned lanes_for(const Target& target, const Graph& body, std::int64_t tile_columns,
                   unsigned most_registers) {
  std::size_t widest = 4;
  for (const Node& node : body.nodes())
    for (const Type& type : node.types) widest = std::max(widest, size_of(type.dtype));
  const auto lanes = static_cast<unsigned>(target.vector_bytes) / static_cast<unsigned>(widest);
  for (unsigned registers = most_registers; registers > 1; registers /= 2)
    if (tile_columns % (registers * lanes) == 0) return registers * lanes;
  return lanes;
}

}  // namespace

bool is_attention(Op op) { return op == Op::attention || op == Op::attention_gradient; }

std::vector<AttentionPack> attention_packs(Op op) {
  if (op == Op::attention) return {{op_q, true}};
  return {{op_k, true}, {op_v, true}, {op_k, false}, {op_q, false}, {op_dy, false}};
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
  batch_dims_ = view.batch();
  batch_ = product(batch_dims_);
  queries_ = view.queries();
  keys_ = view.keys();
  width_ = types[op_q].dims.back();
  value_width_ = types[op_v].dims.back();
  const std::int64_t columns = kernels.tile.columns;
  narrow_columns_ = (least_columns + columns - 1) / columns * columns;
  lanes_ = lanes_for(target, body_, narrow_columns_, most_registers);
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  const std::int64_t wide = most_row_bytes / size / columns * columns;
  masked_ = std::any_of(body_.nodes().begin(), body_.nodes().end(),
                        [](const Node& n) { return n.op == Op::select; });
  tile_columns_ =
      !masked_ && wide % lanes_ == 0 ? std::max(narrow_columns_, wide) : narrow_columns_;
  units_ = batch_;
  if (!gradient_) prepare_forward();
}

void AttentionKernel::emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* begin,
                           llvm::Value* end, const Pointers& pointers) {
  KernelEmitter e(b, target_, body_, dims_, dim_table);
  pointers_ = &pointers;
  element_ = memory_type(b.getContext(), dtype_);
  const std::size_t arguments = gradient_ ? 4 : 2, matrices = gradient_ ? 6 : 3;
  for (std::size_t i = matrices; i < pointers.operands.size(); ++i)
    e.set_leaf(body_.input_value(arguments + i - matrices), pointers.operands[i]);
  const auto stack = [&](std::int64_t elements) {
    auto* out =
        b.CreateAlloca(llvm::ArrayType::get(element_, static_cast<std::uint64_t>(elements)));
    out->setAlignment(llvm::Align(64));
    return out;
  };
  if (gradient_) {
    scores_ = stack(tile_rows * tile_columns_);
    gradients_ = stack(tile_rows * tile_columns_);
  } else {
    scores_ = stack(tile_keys_ * score_stride_);
    panel_ = stack(tile_keys_ * kernels_.tile.columns);
    begun_ = b.CreateAlloca(b.getInt1Ty());
    seen_ = b.CreateAlloca(
        llvm::ArrayType::get(b.getInt64Ty(), static_cast<std::uint64_t>(tile_queries_)));
    zeros_ = stack(kernels_.tile.columns);
    clear(e, zeros_, e.integer(kernels_.tile.columns));
    for (llvm::Value** numbers : {&tops_, &sums_, &maxima_, &factors_})
      *numbers = stack(tile_queries_);
  }
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

// From one row of the tile's scores to the next: rows that all start in few of the
// cache's sets would push each other out.
llvm::Value* AttentionKernel::stride(KernelEmitter& e, const Tile& tile) {
  llvm::Value *narrow = e.integer(narrow_columns_), *wide = e.integer(tile_columns_);
  return e.b.CreateSelect(e.b.CreateICmpSLE(tile.columns, narrow), narrow, wide);
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

// The lanes in a fixed order.
llvm::Value* AttentionKernel::fold(KernelEmitter& e, llvm::Value* x, bool maximum) {
  for (unsigned half = lanes_ / 2; half >= 1; half /= 2) {
    std::vector<int> high(lanes_, -1);
    for (unsigned i = 0; i < half; ++i) high[i] = static_cast<int>(half + i);
    llvm::Value* other = e.b.CreateShuffleVector(x, high);
    x = maximum ? larger(e, x, other) : e.b.CreateFAdd(x, other);
  }
  return e.b.CreateExtractElement(x, std::uint64_t{0});
}

llvm::Value* AttentionKernel::vector_at(KernelEmitter& e, llvm::Value* row, llvm::Value* column) {
  return e.load(dtype_, row, {column, 1, nullptr}, nullptr, lanes_);
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

// ---- products ----

void AttentionKernel::multiply(KernelEmitter& e, const Product& x) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  llvm::Value* null = llvm::ConstantPointerNull::get(b.getPtrTy());
  llvm::Value *zero = e.integer(0), *one = e.integer(1);
  emit_loop(b, zero, x.n, columns, [&](llvm::Value* first) {
    llvm::Value* panel = at(
        e, x.packed, b.CreateAdd(b.CreateMul(first, x.panel_rows), b.CreateMul(x.from, columns)));
    llvm::Value* c = at(e, x.c, first);
    llvm::Value* n = smaller(e, columns, b.CreateSub(x.n, first));
    b.CreateCall(kernels_.gemm,
                 {x.a, x.a_m, x.a_k, panel, c, x.c_m, b.CreateSelect(x.add, c, null),
                  b.CreateSelect(x.add, x.c_m, zero), zero, x.rows, n, x.k, zero, one});
  });
}

// The operand's rows of the tile times the packed, turned columns of the tile.
// What is packed is padded, so that whole panels can be written.
void AttentionKernel::multiply_tile(KernelEmitter& e, const Tile& tile, std::size_t operand,
                                    std::size_t pack, const Dim& width, llvm::Value* to) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *k = e.extent(width), *columns = e.integer(kernels_.tile.columns);
  llvm::Value* panels =
      b.CreateUDiv(b.CreateAdd(tile.columns, b.CreateSub(columns, e.integer(1))), columns);
  llvm::Value* panel = at(e, packed(e, pack, tile, width, keys_), b.CreateMul(tile.column, k));
  multiply(e, {at(e, pointers_->operands[operand], tile, tile.row, queries_, width), k,
               e.integer(1), panel, k, e.integer(0), to, stride(e, tile), tile.rows,
               b.CreateMul(panels, columns), k, b.getFalse()});
}

// ---- gradient ----

void AttentionKernel::gradient(KernelEmitter& e, llvm::Value* batch) {
  Tile tile;
  tile.batch = batch;
  tile.batch_index = e.delinearise(batch, batch_dims_);
  const auto begin = [&](std::size_t result, const Dim& rows, const Dim& width) {
    clear(e, at(e, pointers_->results[result], tile, e.integer(0), rows, width),
          e.extent(rows * width));
  };
  begin(0, queries_, width_);
  begin(1, keys_, width_);
  begin(2, keys_, value_width_);
  pack(e, tile);
  if (plain_)
    inner_products(e, tile);
  else
    inner_products_of_weights(e, tile);
  tiles(e, keys_, tile_columns_, [&](llvm::Value* column, llvm::Value* columns) {
    tile.column = column;
    tile.columns = columns;
    tiles(e, queries_, tile_rows, [&](llvm::Value* row, llvm::Value* rows) {
      tile.row = row;
      tile.rows = rows;
      where_seen(e, tile, [&] { gradient_tile(e, tile); });
    });
  });
}

// Here and not in front of the kernel: what is packed is read while it is in cache.
void AttentionKernel::pack(KernelEmitter& e, const Tile& whole) {
  llvm::IRBuilder<>& b = e.b;
  const std::vector<AttentionPack> packs = attention_packs(Op::attention_gradient);
  for (std::size_t i = 0; i < packs.size(); ++i) {
    const std::size_t operand = packs[i].operand;
    const Dim& rows = operand == op_k || operand == op_v ? keys_ : queries_;
    const Dim& width = operand == op_v || operand == op_dy ? value_width_ : width_;
    llvm::Value *across = e.extent(width), *one = e.integer(1);
    const Dim &k = packs[i].turned ? width : rows, &n = packs[i].turned ? rows : width;
    const std::int64_t columns = kernels_.tile.columns;
    b.CreateCall(kernels_.pack,
                 {at(e, pointers_->operands[operand], whole, e.integer(0), rows, width),
                  packs[i].turned ? one : across, packs[i].turned ? across : one, e.extent(k),
                  e.extent(n), e.integer(0), e.extent((n + Dim(columns - 1)).floor_div(columns)),
                  packed(e, i, whole, k, n), llvm::ConstantPointerNull::get(b.getPtrTy())});
  }
}

// Of each query, the sum of p * d_weight over the keys: it is that of
// result * dy where the weights are p.
void AttentionKernel::inner_products(KernelEmitter& e, const Tile& whole) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* zeros = llvm::Constant::getNullValue(value_type(b.getContext(), dtype_, lanes_));
  emit_loop(b, e.integer(0), e.extent(queries_), e.integer(1), [&](llvm::Value* row) {
    llvm::Value* x = at(e, pointers_->operands[op_result], whole, row, queries_, value_width_);
    llvm::Value* y = at(e, pointers_->operands[op_dy], whole, row, queries_, value_width_);
    llvm::Value* sums = sweep(e, e.extent(value_width_), value_width_, {zeros},
                              [&](llvm::Value* column, llvm::Value* mask, Values& values) {
                                const auto of = [&](llvm::Value* from) {
                                  return e.load(dtype_, from, {column, 1, nullptr}, mask, lanes_);
                                };
                                values[0] = b.CreateFAdd(values[0], b.CreateFMul(of(x), of(y)));
                              })[0];
    b.CreateStore(fold(e, sums, false), at(e, pointers_->scratch, whole, row, queries_, Dim(1)));
  });
}

void AttentionKernel::inner_products_of_weights(KernelEmitter& e, const Tile& whole) {
  llvm::IRBuilder<>& b = e.b;
  Tile tile = whole;
  clear(e, at(e, pointers_->scratch, tile, e.integer(0), queries_, Dim(1)), e.extent(queries_));
  tiles(e, queries_, tile_rows, [&](llvm::Value* row, llvm::Value* rows) {
    tile.row = row;
    tile.rows = rows;
    tiles(e, keys_, tile_columns_, [&](llvm::Value* column, llvm::Value* columns) {
      tile.column = column;
      tile.columns = columns;
      where_seen(e, tile, [&] {
        multiply_tile(e, tile, op_q, turned_keys, width_, scores_);
        multiply_tile(e, tile, op_dy, turned_values, value_width_, gradients_);
        emit_loop(b, e.integer(0), rows, e.integer(1),
                  [&](llvm::Value* r) { gradient_row(e, tile, r, true); });
      });
    });
  });
}

void AttentionKernel::gradient_tile(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  multiply_tile(e, tile, op_q, turned_keys, width_, scores_);
  multiply_tile(e, tile, op_dy, turned_values, value_width_, gradients_);
  emit_loop(b, e.integer(0), tile.rows, e.integer(1),
            [&](llvm::Value* r) { gradient_row(e, tile, r, false); });
  llvm::Value *across = stride(e, tile), *one = e.integer(1);
  const auto add = [&](std::size_t result, llvm::Value* from, bool turned, std::size_t pack,
                       const Dim& width) {
    const Dim& others = turned ? queries_ : keys_;
    llvm::Value* to = at(e, pointers_->results[result], tile, turned ? tile.column : tile.row,
                         turned ? keys_ : queries_, width);
    multiply(
        e, {from, turned ? one : across, turned ? across : one,
            packed(e, pack, tile, others, width), e.extent(others), turned ? tile.row : tile.column,
            to, e.extent(width), turned ? tile.columns : tile.rows, e.extent(width),
            turned ? tile.rows : tile.columns, b.getTrue()});
  };
  add(2, scores_, true, results, value_width_);
  add(1, gradients_, true, queries, width_);
  add(0, gradients_, false, keys, width_);
}

// Scores become weights, d_weights become d_score; or only the sum of
// p * d_weight is added.
void AttentionKernel::gradient_row(KernelEmitter& e, const Tile& tile, llvm::Value* r,
                                   bool sum_only) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* offset = b.CreateMul(r, stride(e, tile));
  llvm::Value *row = at(e, scores_, offset), *gradient_row = at(e, gradients_, offset);
  llvm::Value* query = b.CreateAdd(tile.row, r);
  llvm::Value* lse =
      b.CreateLoad(element_, at(e, pointers_->operands[op_lse], tile, query, queries_, Dim(1)));
  // A query that saw nothing has only scores of -inf; one with a NaN keeps it.
  llvm::Value* nothing = b.CreateFCmpOEQ(lse, minus_infinity(1));
  llvm::Value* shift = b.CreateSelect(nothing, llvm::Constant::getNullValue(element_), lse);
  llvm::Value* shifts = b.CreateVectorSplat(lanes_, shift);
  llvm::Value* place = at(e, pointers_->scratch, tile, query, queries_, Dim(1));
  llvm::Value* inner = b.CreateLoad(element_, place);
  llvm::Value* inners = b.CreateVectorSplat(lanes_, inner);
  Values start;
  if (sum_only) start.push_back(llvm::Constant::getNullValue(shifts->getType()));
  const Values sums = sweep(
      e, tile.columns, keys_, start, [&](llvm::Value* column, llvm::Value* mask, Values& values) {
        const LaneIndices where = index(e, tile, r, column);
        const auto known = [&](std::size_t argument, llvm::Value* value) {
          e.define(body_.input_value(argument), where, mask, lanes_, value);
        };
        const auto output = [&](std::size_t i) {
          return e.emit(body_.outputs()[i].value, where, mask, lanes_);
        };
        known(0, vector_at(e, row, column));
        llvm::Value* weight = exp(e, b.CreateFSub(output(0), shifts));
        known(1, weight);
        known(2, vector_at(e, gradient_row, column));
        llvm::Value* d_weight = output(2);
        if (sum_only) {
          llvm::Value* term = b.CreateFMul(weight, d_weight);
          if (mask != nullptr)
            term = b.CreateSelect(mask, term, llvm::Constant::getNullValue(term->getType()));
          values[0] = b.CreateFAdd(values[0], term);
          return;
        }
        known(3, b.CreateFMul(weight, b.CreateFSub(d_weight, inners)));
        set_vector(e, row, column, output(1));
        set_vector(e, gradient_row, column, output(3));
      });
  if (sum_only) b.CreateStore(b.CreateFAdd(inner, fold(e, sums[0], false)), place);
}

}  // namespace treadle
