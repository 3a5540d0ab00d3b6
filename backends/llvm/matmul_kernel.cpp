#include "backends/llvm/matmul_kernel.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_ahead_internal.h"
#include "backends/llvm/matmul_amx_internal.h"
#include "backends/llvm/matmul_chained_strip_internal.h"
#include "backends/llvm/matmul_pack_internal.h"
#include "backends/llvm/matmul_pairs_internal.h"
#include "backends/llvm/matmul_panel_internal.h"
#include "backends/llvm/matmul_strip_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/matmul_turn_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "backends/llvm/work_share_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// With fewer rows or panels, or less, A is read as it stands; and where a tile is so large
// that it reads A no faster than the L2 cache gives it: the processor sees each line coming
// (156 x 3,584 by 3,584 x 512 takes 0.94 of the time on Zen 4).
constexpr int least_rows_to_turn = 16;
constexpr int least_panels_to_turn = 4;
constexpr int least_columns_to_ask_for = 128;
// With more rows than these, or less of packed B, nothing of B is asked for: the processor
// reads ahead in time.
constexpr int most_rows_to_ask = 64;
constexpr int least_bytes_to_ask = 1 << 20;

class KernelEmitter {
 public:
  KernelEmitter(llvm::Module& module, const Target& target, DType dtype, const char* prefix,
                const TileEpilogue& epilogue)
      : module_(module),
        target_(target),
        tile_(matmul_tile(target, dtype)),
        prefix_(prefix),
        epilogue_(epilogue),
        b_(module.getContext()),
        size_(static_cast<int>(size_of(tile_.dtype))),
        element_(value_type(module.getContext(), tile_.dtype)) {}

  MatmulKernels run(bool direct, bool asks, bool chains) {
    MatmulKernels kernels;
    kernels.tile = tile_;
    strips_.with_epilogue = bool(epilogue_);
    if (!epilogue_)
      pack_ = kernels.pack =
          tile_.pairs ? emit_pair_pack_function(module_, target_, tile_, prefix_ + ".pack")
                      : emit_pack_function(module_, target_, tile_, prefix_ + ".pack");
    copies_ = direct && copies_b(target_, tile_);
    for (int vectors = 1; vectors <= tile_.vectors && !tile_.amx; ++vectors)
      strips_.by_vectors.push_back(
          emit_strip_function(module_, target_, tile_, vectors, prefix_, epilogue_, copies_));
    if (tile_.amx) strips_.amx = emit_amx_strip(module_, target_, prefix_ + ".amx_strip");
    turn_ = tile_.pairs ? emit_pair_copy_function(module_, target_, tile_, prefix_ + ".copy_pairs")
                        : emit_turn_function(module_, target_, tile_, prefix_ + ".turn");
    kernels.gemm = emit_gemm("gemm", false);
    if (asks && !tile_.amx) kernels.asking = emit_gemm("asking_gemm", true);
    if (chains && may_chain(tile_))
      kernels.chained = emit_gemm("chained_gemm", true,
                                  emit_chained_strip_function(module_, target_, tile_, prefix_));
    ahead_ = nullptr;
    if (direct) kernels.direct = emit_direct();
    return kernels;
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* minimum(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }
  Value* bytes(Value* elements) { return b_.CreateMul(elements, i64(size_)); }
  Value* offset(Value* pointer, Value* by) { return b_.CreateGEP(b_.getInt8Ty(), pointer, by); }
  Value* element_at(Value* pointer, Value* index) { return b_.CreateGEP(element_, pointer, index); }
  Value* null() { return llvm::ConstantPointerNull::get(b_.getPtrTy()); }

  llvm::Function* begin(const std::string& name, llvm::FunctionType* type) {
    auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, prefix_ + "." + name,
                                     module_);
    set_target_attributes(*f, target_);
    f->addFnAttr(llvm::Attribute::NoInline);
    f->setDoesNotThrow();
    b_.SetInsertPoint(llvm::BasicBlock::Create(module_.getContext(), "entry", f));
    return f;
  }

  Value* turned_strip(Value* k) { return emit_turned_strip(b_, tile_, k); }

  enum GemmArgument : unsigned {
    gemm_a,
    gemm_a_m,
    gemm_a_k,
    gemm_b,  // packed, unless b_k_ says how its rows stand
    gemm_c,
    gemm_c_m,
    gemm_initial,
    gemm_initial_m,
    gemm_m_begin,
    gemm_m_end,
    gemm_n,
    gemm_k,
    gemm_panel_begin,
    gemm_panel_end,
    gemm_context,
  };

  // A GemmFunction; with `asks` an AskingGemmFunction; with a strip of chained products, too, a
  // ChainedGemmFunction.
  llvm::Function* emit_gemm(const char* name, bool asks, llvm::Function* chained = nullptr) {
    llvm::Type *p = b_.getPtrTy(), *i = b_.getInt64Ty();
    std::vector<llvm::Type*> types = {p, i, i, p, p, i, p, i, i, i, i, i, i, i};
    if (epilogue_) types.push_back(p);
    if (asks) types.insert(types.end(), {p, i});
    if (chained != nullptr) types.insert(types.end(), {p, i, i, p, i});
    auto* f = begin(name, llvm::FunctionType::get(b_.getVoidTy(), types, false));
    given_.clear();
    for (llvm::Argument& argument : f->args()) given_.push_back(&argument);
    if (asks) ahead_ = b_.CreateAlloca(ahead_state_type(b_.getContext()));
    if (chained != nullptr) {
      Value** first = &given_[given_.size() - 5];
      chained_ = Chained{chained, first[0], first[1], first[2], first[3], first[4]};
    }
    emit_blocks();
    chained_.reset();
    return f;
  }

  // The arguments of a DirectGemmFunction.
  llvm::Function* emit_direct() {
    panel_function_ = emit_panel_function();
    llvm::Type *p = b_.getPtrTy(), *i = b_.getInt64Ty();
    auto* f = begin("direct_gemm",
                    llvm::FunctionType::get(b_.getVoidTy(),
                                            {p, i, i, p, p, i, i, i, i, i, i, i, i, i, p, i, i,  //
                                             p, i, i, i, i, p, i, p, i},
                                            false));
    const auto given = [&](unsigned from, unsigned to) {
      for (; from < to; ++from) given_.push_back(f->getArg(from));
    };
    given_.clear();
    given(0, 6);
    given_.insert(given_.end(), {null(), i64(0)});
    given(6, 12);
    panels_ = f->getArg(12);
    b_k_ = f->getArg(13);
    sums_ = f->getArg(14);
    run_ = f->getArg(15);
    a_run_ = f->getArg(16);
    second_ = Second{f->getArg(17), f->getArg(18), f->getArg(19), f->getArg(20),
                     f->getArg(21), f->getArg(22), f->getArg(23)};
    share_ = f->getArg(24);
    first_turn_ = f->getArg(25);
    const auto depth = static_cast<std::uint64_t>(tile_.direct_k_block());
    panel_ = b_.CreateAlloca(
        llvm::ArrayType::get(element_, depth * static_cast<std::uint64_t>(tile_.columns)));
    panel_->setAlignment(llvm::Align(64));
    for (llvm::AllocaInst*& columns : columns_)
      if (copies_) columns = b_.CreateAlloca(llvm::ArrayType::get(b_.getInt64Ty(), 2 * depth));
    auto* row = llvm::ArrayType::get(element_, static_cast<std::uint64_t>(tile_.columns));
    unread_ = b_.CreateAlloca(row);  // where a tile that packs adds rows that nobody asked for
    b_.CreateStore(llvm::Constant::getNullValue(row), unread_);
    emit_blocks();
    return f;
  }

  // The body of a gemm whose arguments are given_.
  void emit_blocks() {
    if (!second_) buffer_ = emit_panel_buffer(b_, tile_);
    // A second A's rows begin a strip of their own.
    const int strips = (row_block + tile_.rows - 1) / tile_.rows + (second_ ? 1 : 0);
    const int turned_rows = strips * tile_.rows;
    const int lines = strips * (64 / size_);
    const int depth = b_k_ != nullptr ? tile_.direct_k_block() : k_block;
    turned_ = b_.CreateAlloca(
        llvm::ArrayType::get(element_, static_cast<std::uint64_t>(turned_rows * depth + lines)));
    turned_->setAlignment(llvm::Align(64));
    if (tile_.amx) emit_amx_begin(b_);
    Value *m_begin = given_[gemm_m_begin], *m_end = given_[gemm_m_end];
    // At least one block along k, if empty: C = initial is still to be written.
    Value* k = given_[gemm_k];
    Value* k_bound = b_.CreateSelect(b_.CreateICmpSLT(k, i64(1)), i64(1), k);
    block_size_ = emit_block_size(b_, tile_, b_k_ != nullptr, b_.CreateSub(m_end, m_begin), k_bound,
                                  given_[gemm_a_m]);
    if (chained_) block_size_ = {i64(row_block), k_bound};
    if (ahead_ != nullptr) emit_ahead_state(k_bound);
    Value *first_row = m_begin, *first_k = i64(0);
    Value* blocks = emit_blocks_of(b_, k_bound, depth);
    if (share_ != nullptr) {
      Value* rows_before = b_.CreateMul(b_.CreateUDiv(first_turn_, blocks), i64(row_block));
      first_row = b_.CreateAdd(m_begin, rows_before);
      first_k = b_.CreateMul(b_.CreateURem(first_turn_, blocks), i64(depth));
    }
    emit_loop(b_, first_row, m_end, block_size_.rows, [&](Value* row) {
      Value* rows = minimum(block_size_.rows, b_.CreateSub(m_end, row));
      Value* k_begin = b_.CreateSelect(b_.CreateICmpEQ(row, first_row), first_k, i64(0));
      emit_loop(b_, k_begin, k_bound, block_size_.k, [&](Value* k0) {
        if (share_ == nullptr) return emit_block_of_rows(row, rows, k0);
        Value* const all = given_[gemm_panel_end];
        Value* count = b_.CreateSub(all, given_[gemm_panel_begin]);
        count = emit_begin_turn(b_, share_, count);
        given_[gemm_panel_end] = b_.CreateAdd(given_[gemm_panel_begin], count);
        emit_block_of_rows(row, rows, k0);
        given_[gemm_panel_end] = all;
        Value* rows_done = b_.CreateUDiv(b_.CreateSub(row, m_begin), i64(row_block));
        Value* turn = b_.CreateAdd(b_.CreateMul(rows_done, blocks), b_.CreateUDiv(k0, i64(depth)));
        emit_end_turn(b_, share_, b_.CreateAdd(turn, i64(1)));
      });
    });
    if (tile_.amx) emit_amx_end(b_);
    b_.CreateRetVoid();
  }

  void emit_ahead_state(Value* k_bound) {
    Value *begin = given_[gemm_panel_begin], *end = given_[gemm_panel_end];
    Value* rows = b_.CreateSub(given_[gemm_m_end], given_[gemm_m_begin]);
    Value* whole = minimum(end, b_.CreateUDiv(given_[gemm_n], i64(tile_.columns)));
    Value* strips = b_.CreateUDiv(rows, i64(tile_.rows));
    Value* tiles = b_.CreateMul(b_.CreateSub(whole, begin), strips);
    // Of whole blocks along k: a tile asks after each steps_together.
    Value* k = minimum(k_bound, block_size_.k);
    tiles = b_.CreateMul(tiles, b_.CreateUDiv(k_bound, k));
    emit_begin_ahead(b_, tile_, ahead_, given_[gemm_panel_end + 1], given_[gemm_panel_end + 2],
                     tiles, depth(k));
  }

  void emit_block_of_rows(Value* row, Value* rows, Value* k0) {
    const Block block = emit_block(first_of_a(row, rows), k0);
    std::optional<Block> second;
    if (second_) second = emit_block(second_of_a(block), k0);
    emit_loop(b_, given_[gemm_panel_begin], given_[gemm_panel_end], i64(1), [&](Value* panel) {
      const Columns columns = columns_of(panel);
      const BlockOfB b = b_block(block, columns);
      if (!second) return emit_panel(block, panel, columns, b);
      call_panel(block, panel, columns, b);
      const BlockOfB packed = {b.packed, null(), null()};
      emit_if(
          b_, b_.CreateICmpSGT(second_->m, i64(0)),
          [&] { call_panel(*second, panel, columns, packed); }, [] {});
    });
  }

  // A panel's columns. Panels of a B where it stands are of even numbers of vectors, the wider
  // ones first among equals (DirectGemmFunction).
  struct Columns {
    Value *first, *width;
  };
  Value* first_column(Value* panel) {
    if (panels_ == nullptr) return b_.CreateMul(panel, i64(tile_.columns));
    Value* vectors =
        b_.CreateUDiv(b_.CreateAdd(given_[gemm_n], i64(tile_.lanes - 1)), i64(tile_.lanes));
    Value* before = b_.CreateAdd(b_.CreateMul(panel, vectors), b_.CreateSub(panels_, i64(1)));
    return b_.CreateMul(b_.CreateUDiv(before, panels_), i64(tile_.lanes));
  }
  Columns columns_of(Value* panel) {
    Value* first = first_column(panel);
    Value* left = b_.CreateSub(given_[gemm_n], first);
    if (panels_ == nullptr) return {first, minimum(i64(tile_.columns), left)};
    Value* next = first_column(b_.CreateAdd(panel, i64(1)));
    return {first, minimum(b_.CreateSub(next, first), left)};
  }

  // A panel's block of B, and what is told of it where the first tile packs it.
  struct BlockOfB {
    Value *packed, *from, *sums;
  };
  // Rows of A, and columns k0 ... k0 + k - 1 of A: where they stand, with their strides in
  // bytes.
  struct Block {
    Value *row, *rows, *k0, *k, *a, *a_m, *a_k, *a_strip, *ahead, *c;
    Value* asks;  // 0: nothing of B is asked for beside it
    // Of direct tiles: strip_columns_at, whether A was copied, strip_b_asked and _b_tiles.
    Value *columns, *turned, *asked, *can_ask;
  };
  // Rows of A from `row` on, where they and those of C stand, with A's strides.
  struct Operand {
    Value *row, *rows, *a, *a_m, *a_k, *run, *a_run, *c, *turned;
    llvm::AllocaInst* columns;
    Value* before;  // rows of the A that goes before, unless null
  };
  Operand first_of_a(Value* row, Value* rows) {
    Value* a = offset(given_[gemm_a], b_.CreateMul(row, bytes(given_[gemm_a_m])));
    Value* c = offset(given_[gemm_c], b_.CreateMul(row, bytes(given_[gemm_c_m])));
    return {row,    rows, a,       given_[gemm_a_m], given_[gemm_a_k], run_,
            a_run_, c,    turned_, columns_[0],      nullptr};
  }
  Operand second_of_a(const Block& first) {
    Value* strips = b_.CreateUDiv(b_.CreateAdd(first.rows, i64(tile_.rows - 1)), i64(tile_.rows));
    Value* turned = element_at(turned_, b_.CreateMul(strips, turned_strip(first.k)));
    return {i64(0),         second_->m, second_->a, second_->a_m, second_->a_k, second_->run,
            second_->a_run, second_->c, turned,     columns_[1],  first.rows};
  }

  Block emit_block(const Operand& of, Value* k0) {
    Value *row = of.row, *rows = of.rows;
    Value *a_m = bytes(of.a_m), *a_k = bytes(of.a_k);
    Value* a = offset(of.a, b_.CreateMul(k0, a_k));
    Value* k = minimum(block_size_.k, b_.CreateSub(given_[gemm_k], k0));
    const std::int64_t step = std::int64_t{tile_.rows} * size_;
    if (tile_.pairs) {
      b_.CreateCall(turn_, {a, a_m, a_k, rows, k, turned_});
      Value* strip = b_.CreateMul(depth(k), i64(step));
      return {row,    rows, k0,     depth(k), turned_, i64(size_), i64(step), strip,
              i64(0), of.c, i64(0), null(),   nullptr, i64(0),     i64(0)};
    }
    Value* panels = b_.CreateSub(given_[gemm_panel_end], given_[gemm_panel_begin]);
    Value* turn = b_.getFalse();
    if (!copies_b(target_, tile_) && !chained_) {
      turn = b_.CreateAnd(b_.CreateICmpEQ(of.a_m, i64(1)), b_.CreateICmpNE(of.a_k, i64(1)));
      turn = b_.CreateAnd(turn, b_.CreateICmpSGE(rows, i64(least_rows_to_turn)));
      turn = b_.CreateAnd(turn, b_.CreateICmpSGE(panels, i64(least_panels_to_turn)));
    }
    Value *run = i64(INT64_MAX), *a_run = i64(0);
    if (of.run != nullptr) {
      run = of.run;
      a_run = bytes(of.a_run);
      Value* in_runs = b_.CreateICmpSLT(run, given_[gemm_k]);
      if (copies_) in_runs = b_.CreateAnd(in_runs, b_.CreateNot(emit_only_direct_tiles()));
      turn = b_.CreateOr(turn, in_runs);
      a = offset(of.a, emit_column_at(b_, {a_k, run, a_run}, k0));
    }
    emit_if(
        b_, turn,
        [&] {
          b_.CreateCall(turn_, {of.a, a_k, run, a_run, k0, rows, k, of.turned});
        },
        [] {});
    Value *columns = null(), *asked = i64(0), *can_ask = i64(0);
    if (of.columns != nullptr) {
      const ColumnRuns stand{b_.CreateSelect(turn, i64(step), a_k),
                             b_.CreateSelect(turn, i64(INT64_MAX), run), a_run};
      emit_if(
          b_, b_.CreateICmpSGT(rows, i64(0)),
          [&] {
            emit_list_columns(b_, stand, k0, given_[gemm_k], 2 * tile_.direct_k_block(),
                              of.columns);
          },
          [] {});
      columns = b_.CreateSelect(b_.CreateICmpEQ(of.a_m, i64(1)), of.columns, null());
      // All tiles of both As but the one that copies B.
      const auto whole = [&](Value* x) { return b_.CreateAnd(x, i64(-tile_.rows)); };
      Value* before = of.before != nullptr ? of.before : i64(0);
      asked = b_.CreateSub(whole(before), i64(tile_.rows));
      Value* others = of.before != nullptr ? before : second_->m;
      can_ask = b_.CreateSub(b_.CreateAdd(whole(others), whole(rows)), i64(tile_.rows));
    }
    // Rows of a few lines, as in attention, are behind one another in memory, or read again soon.
    // A product that asks ahead reads what its thread has just written (0.99 of an LSTM's time).
    Value* ahead = b_.CreateAnd(b_.CreateICmpEQ(a_k, i64(size_)),
                                b_.CreateICmpSGE(k, i64(least_columns_to_ask_for)));
    const auto one_of = [&](Value* turned, Value* as_it_is) {
      return b_.CreateSelect(turn, turned, as_it_is);
    };
    return {row,
            rows,
            k0,
            k,
            one_of(of.turned, a),
            one_of(i64(size_), a_m),
            one_of(i64(step), a_k),
            one_of(bytes(turned_strip(k)), b_.CreateMul(a_m, i64(tile_.rows))),
            ahead_ != nullptr ? i64(0) : b_.CreateSelect(ahead, bytes(k), i64(0)),
            of.c,
            i64(of.turned == turned_ ? 1 : 0),
            columns,
            turn,
            asked,
            can_ask};
  }

  // The arguments of a strip for one block of A and one of B.
  std::vector<Value*> strip_arguments(const Block& block, Value* panel, Value* column,
                                      const BlockOfB& b) {
    Value *row = block.row, *k0 = block.k0, *k = given_[gemm_k];
    Value* c_m = bytes(given_[gemm_c_m]);
    Value* initial_m = bytes(given_[gemm_initial_m]);
    Value* column_bytes = bytes(column);
    Value* c = offset(block.c, column_bytes);
    Value* given = given_[gemm_initial];
    Value* initial = offset(given, b_.CreateAdd(b_.CreateMul(row, initial_m), column_bytes));
    Value* from_zero = b_.CreateICmpEQ(given, null());
    initial = b_.CreateSelect(from_zero, emit_zero_row(module_, tile_, prefix_), initial);
    initial_m = b_.CreateSelect(from_zero, i64(0), initial_m);
    // Behind the first block, the sum so far is in C.
    Value* first = b_.CreateICmpEQ(k0, i64(0));
    initial = b_.CreateSelect(first, initial, c);
    initial_m = b_.CreateSelect(first, initial_m, c_m);
    std::vector<Value*> arguments = {block.a, block.a_m, block.a_k, b.packed, c,
                                     c_m,     initial,   initial_m, block.k};
    if (epilogue_) {
      Value* last = b_.CreateICmpSLE(b_.CreateSub(k, k0), block_size_.k);
      arguments.insert(arguments.end(), {row, column, last, given_[gemm_context]});
    }
    Value* first_panel = b_.CreateICmpEQ(panel, given_[gemm_panel_begin]);
    Value* ahead = b_.CreateSelect(first_panel, block.ahead, i64(0));
    const Rows next = next_rows_of_b(block, panel);
    Value* of_turn = ahead_ != nullptr ? ahead_ : null();
    arguments.insert(arguments.end(), {next.first, next.stride, next.count, b.from, b.sums, ahead,
                                       block.columns, asks_for_a(block, panel), block.asked,
                                       block.can_ask, block.a_strip, of_turn, block.rows});
    return arguments;
  }

  // The first panel's tiles are the first to read a block of A. Turned columns are in cache.
  Value* asks_for_a(const Block& block, Value* panel) {
    if (block.turned == nullptr) return i64(0);
    const auto at = [&](Value* end, AsksForA what) {
      return b_.CreateSelect(b_.CreateICmpEQ(panel, end), i64(what), i64(0));
    };
    Value* last = b_.CreateSub(given_[gemm_panel_end], i64(1));
    Value* asks = b_.CreateOr(at(given_[gemm_panel_begin], a_next_line), at(last, a_next_block));
    return b_.CreateSelect(block.turned, i64(0), asks);
  }

  // Do panels of whole vectors, not too few, make up the product? In others tiles read columns
  // of A that stand at equal distances.
  Value* emit_only_direct_tiles() {
    Value* n = given_[gemm_n];
    Value* vectors = b_.CreateUDiv(n, i64(tile_.lanes));
    Value* wide = b_.CreateICmpULE(b_.CreateMul(panels_, i64(least_vectors(tile_))), vectors);
    Value* whole = b_.CreateICmpEQ(b_.CreateURem(n, i64(tile_.lanes)), i64(0));
    return b_.CreateAnd(wide, whole);
  }

  // Rows of a panel.
  Value* depth(Value* k) { return emit_depth(b_, tile_, k); }

  // A block of a panel, packed, or to be.
  BlockOfB b_block(const Block& block, const Columns& columns) {
    Value *k0 = block.k0, *b = given_[gemm_b], *column = columns.first, *width = columns.width;
    if (b_k_ == nullptr) {
      Value* panel = b_.CreateMul(column, depth(given_[gemm_k]));
      panel = b_.CreateAdd(panel, b_.CreateMul(depth(k0), i64(tile_.columns)));
      return {element_at(b, panel), null(), null()};
    }
    Value* sums = element_at(sums_, column);
    Value* summing = b_.CreateAnd(b_.CreateIsNotNull(sums_), b_.CreateICmpEQ(block.row, i64(0)));
    emit_if(
        b_, b_.CreateAnd(summing, b_.CreateICmpEQ(k0, i64(0))),
        [&] {
          emit_loop(b_, i64(0), width, i64(1), [&](Value* j) {
            b_.CreateStore(llvm::Constant::getNullValue(element_), element_at(sums, j));
          });
        },
        [] {});
    Value* from = element_at(b, b_.CreateAdd(b_.CreateMul(k0, b_k_), column));
    const auto pack = [&] {
      b_.CreateCall(pack_, {from, b_k_, i64(1), block.k, width, i64(0), i64(1), panel_,
                            b_.CreateSelect(summing, sums, null())});
    };
    if (!copies_) {
      pack();
      return {panel_, null(), null()};
    }
    Value* whole = b_.CreateOr(b_.CreateICmpEQ(width, i64(tile_.columns)),
                               b_.CreateICmpEQ(width, i64(least_vectors(tile_) * tile_.lanes)));
    whole = b_.CreateAnd(whole, b_.CreateICmpSGE(block.rows, i64(tile_.rows)));
    whole = b_.CreateAnd(whole, b_.CreateIsNotNull(block.columns));
    emit_if(
        b_, whole, [] {}, pack);
    return {panel_, b_.CreateSelect(whole, from, null()), b_.CreateSelect(summing, sums, unread_)};
  }

  // What of B is copied next: the rows of the next panel or, behind the last one, of
  // the next block's first, shared out among the tiles of this one.
  struct Rows {
    Value *first, *stride, *count;
  };
  Rows next_rows_of_b(const Block& block, Value* panel) {
    if (b_k_ == nullptr) return next_panel_of(block, panel);
    Value* next = b_.CreateAdd(panel, i64(1));
    Value* last = b_.CreateICmpSGE(next, given_[gemm_panel_end]);
    next = b_.CreateSelect(last, given_[gemm_panel_begin], next);
    Value* row = b_.CreateAdd(block.k0, b_.CreateSelect(last, block_size_.k, i64(0)));
    Value* element = b_.CreateAdd(b_.CreateMul(row, b_k_), first_column(next));
    Value* first = element_at(given_[gemm_b], element);
    Value* tiles = b_.CreateAdd(b_.CreateUDiv(block.rows, i64(tile_.rows)), i64(1));
    Value* count = b_.CreateAdd(b_.CreateUDiv(block.k, tiles), i64(1));
    count = b_.CreateMul(count, block.asks);
    // The tiles of a second A that are not direct ask for nothing.
    Value* direct = b_.CreateIsNotNull(block.columns);
    Value* asks = b_.CreateOr(direct, b_.CreateICmpNE(block.asks, i64(0)));
    return {b_.CreateSelect(asks, first, null()), bytes(b_k_),
            b_.CreateSelect(direct, i64(0), count)};
  }

  // Of packed B, which tiles ask for: where few rows read all of it, and it does not stay in
  // the L2 cache.
  Rows next_panel_of(const Block& block, Value* panel) {
    const Columns next = columns_of(b_.CreateAdd(panel, i64(1)));
    Value* wanted = asks_for_panels(block, given_[gemm_k]);
    return {b_.CreateSelect(wanted, b_block(block, next).packed, null()), bytes(i64(tile_.columns)),
            i64(0)};
  }
  Value* asks_for_panels(const Block& block, Value* k) {
    Value* panels = b_.CreateSub(given_[gemm_panel_end], given_[gemm_panel_begin]);
    Value* size = bytes(b_.CreateMul(b_.CreateMul(panels, i64(tile_.columns)), depth(k)));
    return b_.CreateAnd(b_.CreateICmpSLE(block.rows, i64(most_rows_to_ask)),
                        b_.CreateICmpSGE(size, i64(least_bytes_to_ask)));
  }

  void emit_panel(const Block& block, Value* panel, const Columns& columns, const BlockOfB& b) {
    const std::vector<Value*> arguments = strip_arguments(block, panel, columns.first, b);
    if (chained_)
      emit_chained_strips(b_, tile_, strips_, buffer_, chained_panel(block, panel, columns.first),
                          arguments, columns.width);
    else
      emit_panel_strips(b_, tile_, strips_, buffer_, arguments, columns.width);
  }

  // The first of two chained products, its rows from the block's on.
  ChainedPanel chained_panel(const Block& block, Value* panel, Value* column) {
    const Chained& of = *chained_;
    Value *a_m = bytes(of.a_m), *a_k = bytes(of.a_k);
    Value* b = element_at(of.packed, b_.CreateMul(column, of.k));
    Value* next = element_at(b, b_.CreateMul(of.k, i64(tile_.columns)));
    Value* first_panel = b_.CreateICmpEQ(panel, given_[gemm_panel_begin]);
    Value* ahead = b_.CreateAnd(b_.CreateICmpEQ(a_k, i64(size_)), first_panel);
    return {of.strip,
            offset(of.a, b_.CreateMul(block.row, a_m)),
            a_m,
            a_k,
            b,
            of.k,
            b_.CreateSelect(asks_for_panels(block, of.k), next, null()),
            b_.CreateSelect(ahead, bytes(of.k), i64(0))};
  }

  // (a strip's arguments, width)
  llvm::Function* emit_panel_function() {
    std::vector<llvm::Type*> types = strips_.by_vectors[0]->getFunctionType()->params();
    types.push_back(b_.getInt64Ty());
    auto* f = begin("panel", llvm::FunctionType::get(b_.getVoidTy(), types, false));
    buffer_ = emit_panel_buffer(b_, tile_);
    std::vector<Value*> arguments;
    for (llvm::Argument& argument : f->args()) arguments.push_back(&argument);
    Value* width = arguments.back();
    arguments.pop_back();
    emit_panel_strips(b_, tile_, strips_, buffer_, arguments, width);
    b_.CreateRetVoid();
    return f;
  }
  void call_panel(const Block& block, Value* panel, const Columns& columns, const BlockOfB& b) {
    std::vector<Value*> arguments = strip_arguments(block, panel, columns.first, b);
    arguments.push_back(columns.width);
    b_.CreateCall(panel_function_, arguments);
  }

  llvm::Module& module_;
  const Target& target_;
  MatmulTile tile_;
  std::string prefix_;
  const TileEpilogue& epilogue_;
  llvm::IRBuilder<> b_;
  int size_;
  llvm::Type* element_;
  PanelStrips strips_;
  llvm::Function *pack_ = nullptr, *turn_ = nullptr, *panel_function_ = nullptr;
  // Of the gemm that is being emitted:
  BlockSize block_size_;
  std::vector<Value*> given_;  // by GemmArgument
  Value *b_k_ = nullptr, *sums_ = nullptr, *run_ = nullptr, *a_run_ = nullptr, *share_ = nullptr,
        *first_turn_ = nullptr, *panels_ = nullptr;
  struct Second {
    Value *a, *a_m, *a_k, *run, *a_run, *c, *m;
  };
  std::optional<Second> second_;
  // The first one of two chained products.
  struct Chained {
    llvm::Function* strip;
    Value *a, *a_m, *a_k, *packed, *k;
  };
  std::optional<Chained> chained_;
  llvm::AllocaInst *buffer_ = nullptr, *turned_ = nullptr, *panel_ = nullptr, *unread_ = nullptr;
  bool copies_ = false;
  std::array<llvm::AllocaInst*, 2> columns_{};  // strip_columns_at, of each A
  llvm::AllocaInst* ahead_ = nullptr;           // of a gemm that asks ahead
};

}  // namespace

MatmulKernels emit_matmul_kernels(llvm::Module& module, const Target& target, DType dtype,
                                  const char* prefix, const TileEpilogue& epilogue, bool direct,
                                  bool asks, bool chains) {
  return KernelEmitter(module, target, dtype, prefix, epilogue).run(direct, asks, chains);
}

}  // namespace treadle
