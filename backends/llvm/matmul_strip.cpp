#include "backends/llvm/matmul_strip_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_ahead_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/target_internal.h"

namespace treadle {

namespace {

using llvm::Value;

class StripEmitter {
 public:
  StripEmitter(llvm::Module& module, const Target& target, const MatmulTile& tile, int vectors,
               const std::string& prefix, const TileEpilogue& epilogue, bool copies)
      : tile_(tile), epilogue_(epilogue), b_(module.getContext()) {
    for (int rows : row_counts(tile_)) {
      const std::string name = tile_name(tile, prefix, rows, vectors);
      tiles_.push_back(emit_tile_function(module, target, tile, rows, vectors, name, epilogue));
    }
    const std::string width = "_" + std::to_string(vectors * tile.lanes);
    if (vectors == tile.vectors && !epilogue)
      asking_ = emit_asking_tile_function(module, target, tile, prefix + ".asking_tile");
    if (copies && vectors >= least_vectors(tile))
      for (const auto& [kind, what] : {std::pair{DirectTile::asks_b, ".b_tile"},
                                       std::pair{DirectTile::copies, ".copying_tile"},
                                       std::pair{DirectTile::asks_ab, ".ab_tile"}})
        if (kind != DirectTile::asks_ab || vectors == tile.vectors)
          direct_.push_back(emit_direct_tile_function(module, target, tile, tile.rows, vectors,
                                                      kind, prefix + what + width));
    for (std::size_t t = 1; t < tiles_.size() && !direct_.empty(); ++t) {
      const int rows = row_counts(tile_)[t];
      const std::string name = prefix + ".direct_tile_" + std::to_string(rows) + "x";
      lower_.push_back(emit_direct_tile_function(module, target, tile, rows, vectors,
                                                 DirectTile::plain, name + width));
    }
    std::vector<llvm::Type*> types = tiles_[0]->getFunctionType()->params();
    llvm::Type* i64_type = b_.getInt64Ty();
    llvm::Type* pointer = b_.getPtrTy();
    types.insert(types.end(), {pointer, i64_type, i64_type, pointer, pointer, i64_type, pointer,
                               i64_type, i64_type, i64_type, i64_type, pointer, i64_type});
    strip_ =
        llvm::Function::Create(llvm::FunctionType::get(b_.getVoidTy(), types, false),
                               llvm::Function::InternalLinkage, prefix + ".strip" + width, module);
    set_target_attributes(*strip_, target);
    strip_->addFnAttr(llvm::Attribute::NoInline);
    strip_->setDoesNotThrow();
    b_.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", strip_));
  }

  llvm::Function* run() {
    Value* m = argument(strip_rows);
    // Six rows and two take longer than four and four, which may straddle A's strips
    // where these stand as the rows do.
    Value* last = m;
    if (tile_.rows == 6) {
      Value* rows_apart = b_.CreateMul(strip_->getArg(tile_a_m), i64(6));
      Value* two_left = b_.CreateAnd(b_.CreateICmpEQ(argument(strip_a_height), rows_apart),
                                     b_.CreateICmpEQ(b_.CreateURem(m, i64(6)), i64(2)));
      last = b_.CreateSelect(two_left, b_.CreateSub(m, i64(6)), m);
    }
    Value* done = i64(0);
    for (std::size_t t = 0; t < tiles_.size(); ++t) {
      const int rows = row_counts(tile_)[t];
      Value* end = b_.CreateSub(t == 0 ? last : m, i64(rows - 1));
      std::vector<Value*> values = {done};
      if (t == 0) values.push_back(argument(strip_b_next));
      done = emit_loop(b_, done, end, i64(rows), values, [&](Value* i, std::vector<Value*>& next) {
        next[0] = b_.CreateAdd(i, i64(rows));
        const auto listed = [&] { return b_.CreateIsNotNull(argument(strip_columns_at)); };
        if (t != 0 && direct_.empty()) return call(tiles_[t], i);
        if (t != 0)
          return emit_if(
              b_, listed(), [&] { call_lower(lower_[t - 1], i); }, [&] { call(tiles_[t], i); });
        if (asking_ == nullptr) {
          ask_for_a(next[0]);
        } else {
          emit_if(
              b_, asks_for_dense_a(), [] {}, [&] { ask_for_a(next[0]); });
        }
        next[1] = ask_for_b(next[1]);
        if (direct_.empty()) return read(i);
        emit_if(
            b_, listed(), [&] { read_direct(i, end); }, [&] { read(i); });
      })[0];
    }
    b_.CreateRetVoid();
    return strip_;
  }

 private:
  // The tiles of most rows where B is packed, or is not whole.
  void read(Value* i) {
    if (asking_ == nullptr) return call(tiles_[0], i);
    Value* asks = b_.CreateAnd(b_.CreateICmpEQ(argument(strip_b_rows), i64(0)),
                               b_.CreateIsNotNull(argument(strip_b_next)));
    asks = b_.CreateAnd(asks, b_.CreateICmpULT(i, i64(tiles_that_ask * tile_.rows)));
    const auto read_b = [&] {
      emit_if(
          b_, asks, [&] { call_asking(i); },
          [&] {
            emit_if(
                b_, asks_for_dense_a(), [&] { call_asking_for_a(i); }, [&] { call(tiles_[0], i); });
          });
    };
    emit_if(
        b_, b_.CreateIsNotNull(argument(strip_ahead)), [&] { call_ahead(i, read_b); }, read_b);
  }

  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* offset(Value* pointer, Value* by) { return b_.CreateGEP(b_.getInt8Ty(), pointer, by); }
  Value* argument(StripArgument which) {
    return strip_->getArg(static_cast<unsigned>(strip_->arg_size()) - strip_argument_count + which);
  }

  // The processor sees that a row is read through after a few lines of it only, and a
  // tile's rows are short: it would wait for memory at each tile that is the first
  // to read them.
  void ask_for_a(Value* i) {
    Value* a_m = strip_->getArg(tile_a_m);
    Value* a = emit_a_row(b_, tile_, strip_->getArg(tile_a), a_m, argument(strip_a_height), i);
    emit_ask_for_rows(b_, tile_, a, a_m, argument(strip_a_ahead));
  }
  // Returns the row behind those that it asks for.
  Value* ask_for_b(Value* row) {
    const int row_bytes = tile_.columns * static_cast<int>(size_of(tile_.dtype));
    return emit_loop(b_, i64(0), argument(strip_b_rows), i64(1), {row},
                     [&](Value*, std::vector<Value*>& next) {
                       for (int byte = 0; byte < row_bytes; byte += 64)
                         emit_prefetch(b_, offset(next[0], i64(byte)), 2);
                       next[0] = offset(next[0], argument(strip_b_k));
                     })[0];
  }

  // The arguments of `tile` on the rows from i on, with the others of the strip.
  std::vector<Value*> arguments_of(llvm::Function* tile, Value* i) {
    std::vector<Value*> arguments;
    for (llvm::Argument& one : tile->args()) arguments.push_back(strip_->getArg(one.getArgNo()));
    const auto advance = [&](unsigned pointer, unsigned stride) {
      arguments[pointer] = offset(arguments[pointer], b_.CreateMul(i, arguments[stride]));
    };
    arguments[tile_a] =
        emit_a_row(b_, tile_, arguments[tile_a], arguments[tile_a_m], argument(strip_a_height), i);
    advance(tile_c, tile_c_m);
    advance(tile_initial, tile_initial_m);
    if (epilogue_) arguments[tile_row] = b_.CreateAdd(arguments[tile_row], i);
    return arguments;
  }
  void call(llvm::Function* tile, Value* i) { b_.CreateCall(tile, arguments_of(tile, i)); }
  // Each of the first tiles asks for its part of the next panel's block.
  void call_asking(Value* i) {
    std::vector<Value*> arguments = arguments_of(asking_, i);
    Value* step = b_.CreateMul(argument(strip_b_k), i64(rows_asked));
    Value* part = b_.CreateMul(b_.CreateUDiv(arguments[tile_k], i64(steps_together)), step);
    Value* parts = b_.CreateMul(b_.CreateUDiv(i, i64(tile_.rows)), part);
    arguments[tile_b_k] = argument(strip_b_k);
    arguments[tile_next] = offset(argument(strip_b_next), parts);
    arguments[tile_next_step] = step;
    b_.CreateCall(asking_, arguments);
  }
  // Are A's rows one behind the other? Then the next tile's are asked for along k: all at once
  // they cost a tile of 128 along k 2 % of its time.
  Value* asks_for_dense_a() {
    Value *ahead = argument(strip_a_ahead), *dense = strip_->getArg(tile_a_m);
    return b_.CreateAnd(b_.CreateAnd(b_.CreateICmpNE(ahead, i64(0)), b_.CreateICmpEQ(ahead, dense)),
                        b_.CreateIsNull(argument(strip_b_next)));
  }
  void call_asking_for_a(Value* i) {
    std::vector<Value*> arguments = arguments_of(asking_, i);
    Value* rows = b_.CreateMul(arguments[tile_a_m], i64(tile_.rows));
    arguments[tile_b_k] = i64(64);
    arguments[tile_next] = offset(arguments[tile_a], rows);
    arguments[tile_next_step] =
        i64(static_cast<int>(steps_together) * tile_.rows * static_cast<int>(size_of(tile_.dtype)));
    b_.CreateCall(asking_, arguments);
  }
  // Asks for its part of the first run of the list that is left, once it is time; not for
  // B's next panel, too, since few tiles do.
  void call_ahead(Value* i, const std::function<void()>& otherwise) {
    const AheadPart part = emit_ahead_part(b_, argument(strip_ahead), strip_->getArg(tile_k));
    emit_if(
        b_, part.asks,
        [&] {
          std::vector<Value*> arguments = arguments_of(asking_, i);
          const auto [from, step] = emit_take_ahead(b_, tile_, argument(strip_ahead), part);
          arguments[tile_b_k] = i64(bytes_asked(tile_) / rows_asked);
          arguments[tile_next] = from;
          arguments[tile_next_step] = step;
          b_.CreateCall(asking_, arguments);
        },
        otherwise);
  }
  // A direct tile of fewer rows, that asks for nothing.
  void call_lower(llvm::Function* tile, Value* i) {
    std::vector<Value*> arguments = arguments_of(tile, i);
    arguments[tile_b_k] = arguments[tile_next_step] = i64(0);
    arguments[tile_columns_at] = argument(strip_columns_at);
    arguments[tile_next] = arguments[tile_asked_at] = arguments[tile_a_asked] = arguments[tile_a];
    b_.CreateCall(tile, arguments);
  }

  // Those where direct tiles read all of A's columns.
  void read_direct(Value* i, Value* end) {
    Value *zero = i64(0), *rows = i64(tile_.rows), *asks_for = argument(strip_a_asks);
    const auto is = [&](AsksForA of) {
      return b_.CreateICmpNE(b_.CreateAnd(asks_for, i64(of)), zero);
    };
    // B's next panel, by so many tiles: a line each time, or a row where tiles are few.
    const int lines = std::max(1, tile_.columns * static_cast<int>(size_of(tile_.dtype)) / 64);
    Value* few = b_.CreateICmpSLT(argument(strip_b_tiles),
                                  i64(lines * static_cast<int>(steps_together) * tile_.rows));
    Value* turn = b_.CreateUDiv(b_.CreateAdd(i, argument(strip_b_asked)), rows);
    Value* in_row = b_.CreateSelect(few, i64(1), i64(lines));
    Value* asks_b = b_.CreateICmpULT(turn, b_.CreateMul(in_row, i64(steps_together)));
    asks_b = b_.CreateAnd(asks_b, b_.CreateIsNotNull(argument(strip_b_next)));
    Value* last = b_.CreateAnd(is(a_next_block), b_.CreateICmpSGE(b_.CreateAdd(i, rows), end));
    Value* copies =
        b_.CreateAnd(b_.CreateIsNotNull(argument(strip_b_from)), b_.CreateICmpEQ(i, zero));
    const auto call_direct = [&](DirectTile kind) {
      llvm::Function* tile = direct_[static_cast<std::size_t>(kind)];
      std::vector<Value*> arguments = arguments_of(tile, i);
      Value *b_k = argument(strip_b_k), *columns = argument(strip_columns_at);
      Value* row = b_.CreateMul(b_.CreateUDiv(turn, in_row), b_k);
      Value* line = b_.CreateMul(b_.CreateURem(turn, in_row), i64(64));
      Value* next = offset(argument(strip_b_next), b_.CreateAdd(row, line));
      Value* step = b_.CreateMul(b_k, i64(steps_together));
      // One that need not asks for a line that it reads, again and again.
      next = b_.CreateSelect(asks_b, next, arguments[tile_b]);
      step = b_.CreateSelect(asks_b, step, zero);
      Value* another = offset(arguments[tile_a], i64(64));
      Value* next_block = b_.CreateGEP(b_.getInt64Ty(), columns, arguments[tile_k]);
      arguments[tile_b_k] = b_.CreateSelect(b_.CreateAnd(asks_b, few), i64(64), zero);
      arguments[tile_next] = next;
      arguments[tile_next_step] = step;
      arguments[tile_columns_at] = columns;
      arguments[tile_asked_at] = b_.CreateSelect(last, next_block, columns);
      arguments[tile_a_asked] = b_.CreateSelect(last, strip_->getArg(tile_a), another);
      if (kind == DirectTile::copies) {
        arguments[tile_packed] = arguments[tile_b];
        arguments[tile_b] = argument(strip_b_from);
        arguments[tile_b_k] = b_k;
        arguments[tile_sums] = argument(strip_sums);
      }
      b_.CreateCall(tile, arguments);
    };
    const auto call_if = [&](Value* condition, DirectTile kind, const auto& otherwise) {
      emit_if(
          b_, condition, [&] { call_direct(kind); }, otherwise);
    };
    call_if(copies, DirectTile::copies, [&] {
      const auto ask_b = [&] { call_direct(DirectTile::asks_b); };
      // The first panel, whose tiles ask for A, is a wide one.
      if (direct_.size() <= static_cast<std::size_t>(DirectTile::asks_ab)) return ask_b();
      call_if(b_.CreateOr(is(a_next_line), last), DirectTile::asks_ab, ask_b);
    });
  }

  const MatmulTile& tile_;
  const TileEpilogue& epilogue_;
  llvm::IRBuilder<> b_;
  std::vector<llvm::Function*> tiles_;
  std::vector<llvm::Function*> direct_, lower_;  // by DirectTile; as tiles_ from the second on
  llvm::Function *asking_ = nullptr, *strip_ = nullptr;
};

}  // namespace

std::vector<int> row_counts(const MatmulTile& tile) {
  std::vector<int> counts = {tile.rows};
  for (int rows : {4, 2, 1})
    if (rows < tile.rows) counts.push_back(rows);
  return counts;
}

std::string tile_name(const MatmulTile& tile, const std::string& prefix, int rows, int vectors) {
  return prefix + ".tile_" + std::to_string(rows) + "x" + std::to_string(vectors * tile.lanes);
}

void emit_ask_for_rows(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* a,
                       llvm::Value* a_m, llvm::Value* bytes) {
  emit_loop(b, b.getInt64(0), bytes, b.getInt64(64), [&](Value* byte) {
    for (int row = 0; row < tile.rows; ++row) {
      Value* from = b.CreateMul(a_m, b.getInt64(static_cast<std::uint64_t>(row)));
      emit_prefetch(b, b.CreateGEP(b.getInt8Ty(), a, b.CreateAdd(from, byte)), 3);
    }
  });
}

llvm::Value* emit_a_row(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* a,
                        llvm::Value* a_m, llvm::Value* a_strip, llvm::Value* i) {
  Value* rows = b.getInt64(static_cast<std::uint64_t>(tile.rows));
  Value* strip = b.CreateMul(b.CreateUDiv(i, rows), a_strip);
  Value* row = b.CreateMul(b.CreateURem(i, rows), a_m);
  return b.CreateGEP(b.getInt8Ty(), a, b.CreateAdd(strip, row));
}

llvm::Function* emit_strip_function(llvm::Module& module, const Target& target,
                                    const MatmulTile& tile, int vectors, const std::string& prefix,
                                    const TileEpilogue& epilogue, bool copies) {
  return StripEmitter(module, target, tile, vectors, prefix, epilogue, copies).run();
}

}  // namespace treadle
