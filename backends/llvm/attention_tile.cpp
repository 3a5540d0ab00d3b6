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
// Products of fewer rows read more than they multiply.
constexpr int least_group = 16;

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
  tile_queries_ = queries_of_tile(tile_);
  tile_keys_ = most_keys;
  score_stride_ = tile_queries_ + line_bytes / static_cast<std::int64_t>(size);
  group_ = std::min(tile_.columns, std::max(tile_.lanes, least_group));
  std::size_t widest = 4;
  for (const Node& node : body_.nodes())
    for (const Type& type : node.types) widest = std::max(widest, size_of(type.dtype));
  lanes_ = lanes_for(target_, widest, tile_queries_);
  function_lanes_ = lanes_for(target_, size, tile_queries_);
}

llvm::Value* AttentionKernel::up_to(KernelEmitter& e, llvm::Value* count, std::int64_t of) {
  return e.b.CreateUDiv(e.b.CreateAdd(count, e.integer(of - 1)), e.integer(of));
}

llvm::Value* AttentionKernel::panels_of(KernelEmitter& e, llvm::Value* rows) {
  return up_to(e, rows, tile_.columns);
}

llvm::Value* AttentionKernel::groups_of(KernelEmitter& e, const Tile& tile) {
  return up_to(e, tile.rows, group_);
}

// In panels of tile_'s columns.
void AttentionKernel::pack_queries(KernelEmitter& e, const Matrix& matrix, llvm::Value* first,
                                   llvm::Value* rows, llvm::Value* panels, llvm::Value* to) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Function* pack = kernels_.pack;
  if (tile_.columns != kernels_.tile.columns)
    pack = attention_pack(*b.GetInsertBlock()->getModule(), target_, tile_);
  b.CreateCall(pack, {first, e.integer(1), row_stride(e, matrix), e.extent(matrix.width), rows,
                      e.integer(0), panels, to, llvm::ConstantPointerNull::get(b.getPtrTy())});
}

// Of each group of queries, up to which key of the tile they see any, in steps of a group's
// width. Returns an i1: there is one that does not see the last ones.
llvm::Value* AttentionKernel::count_seen(KernelEmitter& e, const Tile& tile) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return b.getFalse();
  llvm::Value* width = e.integer(group_);
  return emit_loop(
      b, e.integer(0), groups_of(e, tile), e.integer(1), {b.getFalse()},
      [&](llvm::Value* group, Values& edge) {
        llvm::Value* first = b.CreateMul(group, width);
        Tile part = tile;
        part.row = b.CreateAdd(tile.row, first);
        part.rows = smaller(e, width, b.CreateSub(tile.rows, first));
        const auto unseen_from = [&](llvm::Value* key) {
          part.column = b.CreateAdd(tile.column, key);
          part.columns = smaller(e, width, b.CreateSub(tile.columns, key));
          return unseen(e, part);
        };
        llvm::Value* place = b.CreateGEP(b.getInt64Ty(), seen_, group);
        b.CreateStore(tile.columns, place);
        llvm::Value* last =
            b.CreateMul(b.CreateUDiv(b.CreateSub(tile.columns, e.integer(1)), width), width);
        llvm::Value* none = unseen_from(last);
        if (none == nullptr) return;
        const auto count = [&] {
          llvm::Value* seen = emit_loop(
              b, e.integer(0), last, width, {e.integer(0)}, [&](llvm::Value* key, Values& end) {
                llvm::Value* hidden = unseen_from(key);
                end[0] = b.CreateSelect(hidden, end[0], b.CreateAdd(key, width));
              })[0];
          b.CreateStore(seen, place);
        };
        emit_if(b, none, count, [] {});
        edge[0] = b.CreateOr(edge[0], none);
      })[0];
}

// The most keys that one of `queries` queries from `query` on sees.
llvm::Value* AttentionKernel::keys_seen(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                                        std::int64_t queries) {
  llvm::IRBuilder<>& b = e.b;
  if (!masked_) return tile.columns;
  llvm::Value* width = e.integer(group_);
  llvm::Value* last =
      b.CreateAdd(b.CreateUDiv(b.CreateAdd(query, e.integer(queries - 1)), width), e.integer(1));
  return emit_loop(b, b.CreateUDiv(query, width), smaller(e, last, groups_of(e, tile)),
                   e.integer(1), {e.integer(0)}, [&](llvm::Value* group, Values& most) {
                     llvm::Value* seen =
                         b.CreateLoad(b.getInt64Ty(), b.CreateGEP(b.getInt64Ty(), seen_, group));
                     most[0] = b.CreateSelect(b.CreateICmpSGT(seen, most[0]), seen, most[0]);
                   })[0];
}

// The groups of queries that see a key from `key` on, from the first to behind the last; from 0
// to 0 where there are none.
std::pair<llvm::Value*, llvm::Value*> AttentionKernel::seen_by(KernelEmitter& e, const Tile& tile,
                                                               llvm::Value* key) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* groups = groups_of(e, tile);
  if (!masked_) return {e.integer(0), groups};
  const Values found = emit_loop(
      b, e.integer(0), groups, e.integer(1), {groups, e.integer(0)},
      [&](llvm::Value* group, Values& range) {
        llvm::Value* seen = b.CreateLoad(b.getInt64Ty(), b.CreateGEP(b.getInt64Ty(), seen_, group));
        llvm::Value* any = b.CreateICmpSGT(seen, key);
        range[0] = b.CreateSelect(any, smaller(e, range[0], group), range[0]);
        range[1] = b.CreateSelect(any, b.CreateAdd(group, e.integer(1)), range[1]);
      });
  return {smaller(e, found[0], found[1]), found[1]};
}

// c [rows, vectors] = initial + a b.
void AttentionKernel::multiply_strip(KernelEmitter& e, const Strip& x) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  llvm::Value* size = e.integer(static_cast<std::int64_t>(size_of(dtype_)));
  const auto bytes = [&](llvm::Value* elements) { return b.CreateMul(elements, size); };
  b.CreateCall(attention_strip(module, target_, tile_, asks()),
               {x.a, bytes(x.a_m), bytes(x.a_k), x.b, x.c, bytes(x.c_m), x.initial,
                bytes(x.initial_m), x.k, bytes(x.b_k), x.next, x.next_step, x.rows, x.vectors,
                asks() ? asks_ : llvm::ConstantPointerNull::get(b.getPtrTy())});
}

// What `panels` strips of `rows` rows, `k` deep, ask for meanwhile: `elements` elements, spread
// out evenly, since the processor waits when it is asked for many lines at a time.
AttentionKernel::Asked AttentionKernel::asked(KernelEmitter& e, llvm::Value* first,
                                              llvm::Value* elements, llvm::Value* rows,
                                              llvm::Value* panels, llvm::Value* k) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value* bytes = b.CreateMul(elements, e.integer(static_cast<std::int64_t>(size_of(dtype_))));
  llvm::Value* times = b.CreateMul(b.CreateUDiv(rows, e.integer(tile_.rows)),
                                   b.CreateUDiv(k, e.integer(steps_together)));
  llvm::Value* all = b.CreateAdd(b.CreateMul(times, panels), e.integer(1));
  llvm::Value* step = b.CreateUDiv(b.CreateAdd(bytes, all), all);
  return {first, step, b.CreateMul(times, step)};
}

llvm::Value* AttentionKernel::Asked::from(KernelEmitter& e, llvm::Value* panel) const {
  return e.b.CreateGEP(e.b.getInt8Ty(), first, e.b.CreateMul(panel, panel_bytes));
}

// to [keys, queries] = rows of `keys` times what is packed, up to whole vectors. At the edge of
// what is seen, for groups of keys that not all queries of a panel see, from the first that does
// to the last.
void AttentionKernel::multiply_keys(KernelEmitter& e, const Tile& tile, const Matrix& keys,
                                    llvm::Value* packed_queries, llvm::Value* to,
                                    const Asked& next) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *k = e.extent(keys.width), *columns = e.integer(tile_.columns), *zero = e.integer(0);
  llvm::Value *rows = row_of(e, keys, tile, tile.column), *stride = row_stride(e, keys);
  llvm::Value* score_stride = e.integer(score_stride_);
  emit_loop(b, zero, tile.panels, e.integer(1), [&](llvm::Value* panel) {
    llvm::Value* first = b.CreateMul(panel, columns);
    llvm::Value* packed = at(e, packed_queries, b.CreateMul(first, k));
    const auto multiply = [&](llvm::Value* query, llvm::Value* vectors, llvm::Value* key,
                              llvm::Value* count, llvm::Value* step) {
      llvm::Value* place = b.CreateAdd(b.CreateMul(key, score_stride), b.CreateAdd(first, query));
      multiply_strip(e, {at(e, rows, b.CreateMul(key, stride)), stride, e.integer(1),
                         at(e, packed, query), columns, at(e, to, place), score_stride, zeros_,
                         zero, count, vectors, k, next.from(e, panel), step});
    };
    llvm::Value* left = smaller(e, columns, b.CreateSub(tile.rows, first));
    const auto whole = [&] {
      multiply(zero, up_to(e, left, tile_.lanes), zero, tile.columns, next.step);
    };
    if (!masked_) return whole();
    const auto edge = [&] {
      llvm::Value* seen = keys_seen(e, tile, first, tile_.columns);
      llvm::Value* step = group_ == tile_.columns ? seen : e.integer(group_);
      llvm::Value* group = b.CreateMul(panel, e.integer(tile_.columns / group_));
      emit_loop(b, zero, seen, step, [&](llvm::Value* key) {
        auto [begin, end] = seen_by(e, tile, key);
        const auto query = [&](llvm::Value* of) {
          llvm::Value* behind = b.CreateMul(b.CreateSub(of, group), e.integer(group_));
          return smaller(e, b.CreateSelect(b.CreateICmpSLT(behind, zero), zero, behind), columns);
        };
        begin = query(begin);
        llvm::Value* vectors = b.CreateUDiv(b.CreateSub(query(end), begin), e.integer(tile_.lanes));
        multiply(begin, vectors, key, smaller(e, step, b.CreateSub(seen, key)), zero);
      });
    };
    emit_if(b, tile.edge, edge, whole);
  });
}

// b is read as it stands, but for columns that fill no vector.
void AttentionKernel::multiply_rows(KernelEmitter& e, const RowsProduct& x, const Ask& ask) {
  llvm::IRBuilder<>& b = e.b;
  llvm::Value *zero = e.integer(0), *one = e.integer(1);
  llvm::Value* columns = e.integer(tile_.columns);
  llvm::Value* lanes = e.integer(tile_.lanes);
  const auto multiply = [&](llvm::Value* first, llvm::Value* vectors, llvm::Value* next,
                            llvm::Value* step) {
    llvm::Value* c = at(e, x.c, first);
    multiply_strip(
        e, {x.a, x.a_m, x.a_k, at(e, x.b, first), x.b_k, c, x.c_m, b.CreateSelect(x.add, c, zeros_),
            b.CreateSelect(x.add, x.c_m, zero), x.rows, vectors, x.k, next, step});
  };
  llvm::Value* panels = b.CreateUDiv(x.across, columns);
  emit_loop(b, zero, panels, one, [&](llvm::Value* panel) {
    const auto [next, step] = ask(panel);
    multiply(b.CreateMul(panel, columns), e.integer(tile_.vectors), next, step);
  });
  llvm::Value* first = b.CreateMul(panels, columns);
  llvm::Value* vectors = b.CreateUDiv(b.CreateSub(x.across, first), lanes);
  emit_if(
      b, b.CreateICmpSGT(vectors, zero), [&] { multiply(first, vectors, x.b, zero); }, [] {});
  first = b.CreateAdd(first, b.CreateMul(vectors, lanes));
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
