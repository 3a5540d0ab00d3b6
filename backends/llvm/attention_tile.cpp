// What both halves of attention do with a tile. Its scores stand turned, a row for each key and
// a column for each query: rows of keys and values are read as they stand, the queries alone are
// packed, and what belongs to a query runs from row to row in a lane of its own.
#include <algorithm>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/attention_strip_internal.h"

namespace treadle {

namespace {

// Rows that all start in few of the cache's sets would push each other out.
constexpr std::int64_t line_bytes = 64;
// Registers side by side, at most: the long chain of an exp waits for itself, so that
// others have to fill the time.
constexpr unsigned most_registers = 4;

// As many registers side by side as divide the queries of a tile.
unsigned lanes_for(const Target& target, std::size_t widest, std::int64_t queries) {
  const auto lanes = static_cast<unsigned>(target.vector_bytes) / static_cast<unsigned>(widest);
  unsigned registers = most_registers;
  while (queries % (registers * lanes) != 0) registers /= 2;
  return registers * lanes;
}

}  // namespace

void AttentionKernel::prepare_tiles() {
  const std::size_t size = size_of(dtype_);
  tile_queries_ = queries_of_tile(kernels_.tile);
  tile_keys_ = most_keys;
  score_stride_ = tile_queries_ + line_bytes / static_cast<std::int64_t>(size);
  std::size_t widest = 4;
  for (const Node& node : body_.nodes())
    for (const Type& type : node.types) widest = std::max(widest, size_of(type.dtype));
  lanes_ = lanes_for(target_, widest, tile_queries_);
  function_lanes_ = lanes_for(target_, size, tile_queries_);
}

// Of each panel of queries, up to which key of the tile they see any, in steps of a
// panel's width. Returns an i1: there is one that does not see the last ones.
llvm::Value* AttentionKernel::count_seen(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return b.getFalse();
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  return emit_loop(b, e.integer(0), tile.panels, e.integer(1), {b.getFalse()},
                   [&](llvm::Value* panel, Values& edge) {
                     llvm::Value* first = b.CreateMul(panel, columns);
                     Tile part = tile;
                     part.row = b.CreateAdd(tile.row, first);
                     part.rows = smaller(e, columns, b.CreateSub(tile.rows, first));
                     llvm::Value* seen = emit_loop(
                         b, e.integer(0), tile.columns, columns, {e.integer(0)},
                         [&](llvm::Value* key, Values& end) {
                           part.column = b.CreateAdd(tile.column, key);
                           part.columns = smaller(e, columns, b.CreateSub(tile.columns, key));
                           llvm::Value* next = b.CreateAdd(key, part.columns);
                           llvm::Value* none = unseen(e, part);
                           end[0] = none == nullptr ? next : b.CreateSelect(none, end[0], next);
                         })[0];
                     b.CreateStore(seen, b.CreateGEP(b.getInt64Ty(), seen_, panel));
                     edge[0] = b.CreateOr(edge[0], b.CreateICmpSLT(seen, tile.columns));
                   })[0];
}

// The most keys that one of `queries` queries from `query` on sees.
llvm::Value* AttentionKernel::keys_seen(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                                        std::int64_t queries) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return tile.columns;
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  llvm::Value* last =
      b.CreateAdd(b.CreateUDiv(b.CreateAdd(query, e.integer(queries - 1)), columns), e.integer(1));
  return emit_loop(b, b.CreateUDiv(query, columns), smaller(e, last, tile.panels), e.integer(1),
                   {e.integer(0)}, [&](llvm::Value* panel, Values& most) {
                     llvm::Value* seen =
                         b.CreateLoad(b.getInt64Ty(), b.CreateGEP(b.getInt64Ty(), seen_, panel));
                     most[0] = b.CreateSelect(b.CreateICmpSGT(seen, most[0]), seen, most[0]);
                   })[0];
}

// The panels of queries that see a key from `key` on, from the first to behind the last; from 0
// to 0 where there are none.
std::pair<llvm::Value*, llvm::Value*> AttentionKernel::seen_by(KernelEmitter& e, const Tile& tile,
                                                               llvm::Value* key) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return {e.integer(0), tile.panels};
  const Values found = emit_loop(
      b, e.integer(0), tile.panels, e.integer(1), {tile.panels, e.integer(0)},
      [&](llvm::Value* panel, Values& range) {
        llvm::Value* seen = b.CreateLoad(b.getInt64Ty(), b.CreateGEP(b.getInt64Ty(), seen_, panel));
        llvm::Value* any = b.CreateICmpSGT(seen, key);
        range[0] = b.CreateSelect(any, smaller(e, range[0], panel), range[0]);
        range[1] = b.CreateSelect(any, b.CreateAdd(panel, e.integer(1)), range[1]);
      });
  return {smaller(e, found[0], found[1]), found[1]};
}

// c [rows, a panel's columns] = initial + a b.
void AttentionKernel::multiply_strip(KernelEmitter& e, const Strip& x) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  llvm::Value* size = e.integer(static_cast<std::int64_t>(size_of(dtype_)));
  const auto bytes = [&](llvm::Value* elements) { return b.CreateMul(elements, size); };
  b.CreateCall(attention_strip(module, target_, kernels_.tile),
               {x.a, bytes(x.a_m), bytes(x.a_k), x.b, x.c, bytes(x.c_m), x.initial,
                bytes(x.initial_m), x.k, bytes(x.b_k), x.next, x.next_step, x.rows});
}

// What `panels` strips of `rows` rows, `k` deep, ask for meanwhile: `elements` elements, spread
// out evenly, since the processor waits when it is asked for many lines at a time.
AttentionKernel::Asked AttentionKernel::asked(KernelEmitter& e, llvm::Value* first,
                                              llvm::Value* elements, llvm::Value* rows,
                                              llvm::Value* panels, llvm::Value* k) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* bytes = b.CreateMul(elements, e.integer(static_cast<std::int64_t>(size_of(dtype_))));
  llvm::Value* times = b.CreateMul(b.CreateUDiv(rows, e.integer(kernels_.tile.rows)),
                                   b.CreateUDiv(k, e.integer(steps_together)));
  llvm::Value* all = b.CreateAdd(b.CreateMul(times, panels), e.integer(1));
  llvm::Value* step = b.CreateUDiv(b.CreateAdd(bytes, all), all);
  return {first, step, b.CreateMul(times, step)};
}

llvm::Value* AttentionKernel::Asked::from(KernelEmitter& e, llvm::Value* panel) const {
  return e.b.CreateGEP(e.b.getInt8Ty(), first, e.b.CreateMul(panel, panel_bytes));
}

// to [keys, queries] = rows of `keys` times what is packed. That is padded, so that whole
// panels can be written.
void AttentionKernel::multiply_keys(KernelEmitter& e, const Tile& tile, const Matrix& keys,
                                    llvm::Value* packed_queries, llvm::Value* to,
                                    const Asked& next) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *k = e.extent(keys.width), *columns = e.integer(kernels_.tile.columns);
  llvm::Value *rows = row_of(e, keys, tile, tile.column), *stride = row_stride(e, keys);
  emit_loop(b, e.integer(0), tile.panels, e.integer(1), [&](llvm::Value* panel) {
    llvm::Value* first = b.CreateMul(panel, columns);
    multiply_strip(e, {rows, stride, e.integer(1), at(e, packed_queries, b.CreateMul(first, k)),
                       columns, at(e, to, first), e.integer(score_stride_), zeros_, e.integer(0),
                       keys_seen(e, tile, first, 1), k, next.from(e, panel), next.step});
  });
}

// b is read as it stands, but for columns that fill no panel.
void AttentionKernel::multiply_rows(KernelEmitter& e, const RowsProduct& x, const Ask& ask) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *zero = e.integer(0), *one = e.integer(1);
  llvm::Value* columns = e.integer(kernels_.tile.columns);
  llvm::Value* panels = b.CreateUDiv(x.across, columns);
  emit_loop(b, zero, panels, one, [&](llvm::Value* panel) {
    llvm::Value* first = b.CreateMul(panel, columns);
    llvm::Value* c = at(e, x.c, first);
    const auto [next, step] = ask(panel);
    multiply_strip(
        e, {x.a, x.a_m, x.a_k, at(e, x.b, first), x.b_k, c, x.c_m, b.CreateSelect(x.add, c, zeros_),
            b.CreateSelect(x.add, x.c_m, zero), x.rows, x.k, next, step});
  });
  llvm::Value* first = b.CreateMul(panels, columns);
  llvm::Value* left = b.CreateSub(x.across, first);
  emit_if(
      b, b.CreateICmpSGT(left, zero),
      [&] {
        llvm::Value* null = llvm::ConstantPointerNull::get(b.getPtrTy());
        b.CreateCall(kernels_.pack,
                     {at(e, x.b, first), x.b_k, one, x.k, left, zero, one, panel_, null});
        llvm::Value* c = at(e, x.c, first);
        b.CreateCall(kernels_.gemm,
                     {x.a, x.a_m, x.a_k, panel_, c, x.c_m, b.CreateSelect(x.add, c, null),
                      b.CreateSelect(x.add, x.c_m, zero), zero, x.rows, left, x.k, zero, one});
      },
      [] {});
}

}  // namespace treadle
