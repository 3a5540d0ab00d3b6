#include "backends/llvm/matmul_chained_strip_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_ahead_internal.h"
#include "backends/llvm/matmul_strip_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/target_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// What the strip takes between a tile's arguments and StripArgument.
enum ChainedStripArgument : unsigned {
  chained_strip_a = tile_k + 1,
  chained_strip_a_m,
  chained_strip_a_k,
  chained_strip_b,
  chained_strip_k,
  chained_strip_a_height,  // as strip_a_height, strip_b_next and strip_a_ahead
  chained_strip_b_next,
  chained_strip_a_ahead,
};

class ChainedStripEmitter {
 public:
  ChainedStripEmitter(llvm::Module& module, const Target& target, const MatmulTile& tile,
                      const std::string& prefix)
      : tile_(tile), b_(module.getContext()) {
    for (int rows : row_counts(tile))
      tiles_.push_back(module.getFunction(tile_name(tile, prefix, rows, tile.vectors)));
    for (const bool asks : {false, true})
      chained_[asks ? 1 : 0] = emit_chained_tile_function(
          module, target, tile, asks, prefix + (asks ? ".asking_chained_tile" : ".chained_tile"));
    std::vector<llvm::Type*> types = tiles_[0]->getFunctionType()->params();
    llvm::Type* i = b_.getInt64Ty();
    llvm::Type* p = b_.getPtrTy();
    types.insert(types.end(), {p, i, i, p, i, i, p, i});
    types.insert(types.end(), {p, i, i, p, p, i, p, i, i, i, i, p, i});
    strip_ =
        llvm::Function::Create(llvm::FunctionType::get(b_.getVoidTy(), types, false),
                               llvm::Function::InternalLinkage, prefix + ".chained_strip", module);
    set_target_attributes(*strip_, target);
    strip_->addFnAttr(llvm::Attribute::NoInline);
    strip_->setDoesNotThrow();
    b_.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", strip_));
  }

  llvm::Function* run() {
    next_ = b_.CreateAlloca(b_.getPtrTy());
    step_ = b_.CreateAlloca(b_.getInt64Ty());
    Value* m = argument(strip_rows);
    Value* done = i64(0);
    const std::vector<int> counts = row_counts(tile_);
    for (std::size_t t = 0; t < tiles_.size(); ++t) {
      const int rows = counts[t];
      Value* end = b_.CreateSub(m, i64(rows - 1));
      done = emit_loop(b_, done, end, i64(rows), {done}, [&](Value* i, std::vector<Value*>& next) {
        next[0] = b_.CreateAdd(i, i64(rows));
        if (t != 0) return call_both(tiles_[t], i);
        // The second product reads what was just written.
        emit_ask_for_rows(b_, tile_, first_a(next[0]), strip_->getArg(chained_strip_a_m),
                          strip_->getArg(chained_strip_a_ahead));
        call_chained(i);
      })[0];
    }
    b_.CreateRetVoid();
    return strip_;
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* offset(Value* pointer, Value* by) { return b_.CreateGEP(b_.getInt8Ty(), pointer, by); }
  Value* argument(StripArgument which) {
    return strip_->getArg(static_cast<unsigned>(strip_->arg_size()) - strip_argument_count + which);
  }

  // The second product's tile's arguments on the rows from i on.
  std::vector<Value*> arguments_of(Value* i) {
    std::vector<Value*> arguments;
    for (unsigned which = 0; which <= tile_k; ++which) arguments.push_back(strip_->getArg(which));
    const auto advance = [&](unsigned pointer, unsigned stride) {
      arguments[pointer] = offset(arguments[pointer], b_.CreateMul(i, arguments[stride]));
    };
    arguments[tile_a] =
        emit_a_row(b_, tile_, arguments[tile_a], arguments[tile_a_m], argument(strip_a_height), i);
    advance(tile_c, tile_c_m);
    advance(tile_initial, tile_initial_m);
    return arguments;
  }
  Value* first_a(Value* i) {
    return emit_a_row(b_, tile_, strip_->getArg(chained_strip_a), strip_->getArg(chained_strip_a_m),
                      strip_->getArg(chained_strip_a_height), i);
  }

  // Of other tiles there is none for both: the sums stand in C between them.
  void call_both(llvm::Function* tile, Value* i) {
    std::vector<Value*> second = arguments_of(i), first = second;
    first[tile_a] = first_a(i);
    first[tile_a_m] = strip_->getArg(chained_strip_a_m);
    first[tile_a_k] = strip_->getArg(chained_strip_a_k);
    first[tile_b] = strip_->getArg(chained_strip_b);
    first[tile_k] = strip_->getArg(chained_strip_k);
    b_.CreateCall(tile, first);
    second[tile_initial] = second[tile_c];
    second[tile_initial_m] = second[tile_c_m];
    b_.CreateCall(tile, second);
  }

  // What there is to ask for: of the list, once it is time; by the first tiles of both Bs' next
  // panels. Where one of both asks for nothing, it asks for a line that it reads anyway.
  void call_chained(Value* i) {
    std::vector<Value*> arguments = arguments_of(i);
    Value* rows_apart = i64(row_bytes());
    Value* step = i64(std::int64_t{rows_asked} * row_bytes());
    Value* asks = b_.CreateICmpULT(i, i64(tiles_that_ask * tile_.rows));
    const auto asked = [&](Value* panel, Value* k, Value* otherwise) {
      Value* there = b_.CreateAnd(asks, b_.CreateIsNotNull(panel));
      Value* part = b_.CreateMul(b_.CreateUDiv(k, i64(steps_together)), step);
      Value* from = offset(panel, b_.CreateMul(b_.CreateUDiv(i, i64(tile_.rows)), part));
      return std::pair{b_.CreateSelect(there, from, otherwise),
                       b_.CreateSelect(there, step, i64(0))};
    };
    const auto [of_first, first_step] =
        asked(strip_->getArg(chained_strip_b_next), strip_->getArg(chained_strip_k),
              strip_->getArg(chained_strip_b));
    const auto [of_second, second_step] =
        asked(argument(strip_b_next), arguments[tile_k], arguments[tile_b]);
    b_.CreateStore(of_second, next_);
    b_.CreateStore(second_step, step_);
    take_from_list(arguments[tile_k]);
    arguments.insert(
        arguments.end(),
        {rows_apart, b_.CreateLoad(b_.getPtrTy(), next_), b_.CreateLoad(b_.getInt64Ty(), step_),
         first_a(i), strip_->getArg(chained_strip_a_m), strip_->getArg(chained_strip_a_k),
         strip_->getArg(chained_strip_b), strip_->getArg(chained_strip_k), of_first, first_step});
    Value* steps = b_.CreateOr(first_step, b_.CreateLoad(b_.getInt64Ty(), step_));
    emit_if(
        b_, b_.CreateICmpNE(steps, i64(0)), [&] { b_.CreateCall(chained_[1], arguments); },
        [&] { b_.CreateCall(chained_[0], arguments); });
  }
  int row_bytes() const { return tile_.columns * static_cast<int>(size_of(tile_.dtype)); }

  // Its part of the first run of the list that is left, along k, once it is time.
  void take_from_list(Value* k) {
    const AheadPart part = emit_ahead_part(b_, argument(strip_ahead), k);
    emit_if(
        b_, part.asks,
        [&] {
          const auto [from, step] = emit_take_ahead(b_, tile_, argument(strip_ahead), part);
          b_.CreateStore(from, next_);
          b_.CreateStore(step, step_);
        },
        [] {});
  }

  const MatmulTile& tile_;
  llvm::IRBuilder<> b_;
  std::vector<llvm::Function*> tiles_;
  std::array<llvm::Function*, 2> chained_{};  // the second one asks
  llvm::Function* strip_ = nullptr;
  Value *next_ = nullptr, *step_ = nullptr;  // where the second product's tile asks
};

}  // namespace

llvm::Function* emit_chained_strip_function(llvm::Module& module, const Target& target,
                                            const MatmulTile& tile, const std::string& prefix) {
  return ChainedStripEmitter(module, target, tile, prefix).run();
}

void emit_chained_strips(llvm::IRBuilderBase& b, const MatmulTile& tile, const PanelStrips& strips,
                         llvm::AllocaInst* buffer, const ChainedPanel& first,
                         const std::vector<Value*>& arguments, Value* width) {
  Value* height = b.CreateMul(first.a_m, b.getInt64(static_cast<std::uint64_t>(tile.rows)));
  Value* columns = b.getInt64(static_cast<std::uint64_t>(tile.columns));
  const std::size_t of_strip = arguments.size() - strip_argument_count;
  emit_if(
      b, b.CreateICmpEQ(width, columns),
      [&] {
        std::vector<Value*> both = arguments;
        const std::array<Value*, 8> others{first.a, first.a_m, first.a_k,    first.b,
                                           first.k, height,    first.b_next, first.a_ahead};
        both.insert(both.begin() + chained_strip_a, others.begin(), others.end());
        b.CreateCall(first.strip, both);
      },
      [&] {
        auto* null = llvm::ConstantPointerNull::get(b.getPtrTy());
        std::vector<Value*> one = arguments, other = arguments;
        one[tile_a] = first.a;
        one[tile_a_m] = first.a_m;
        one[tile_a_k] = first.a_k;
        one[tile_b] = first.b;
        one[tile_k] = first.k;
        one[of_strip + strip_a_height] = height;
        one[of_strip + strip_b_next] = one[of_strip + strip_ahead] = null;
        one[of_strip + strip_a_ahead] = b.getInt64(0);
        emit_panel_strips(b, tile, strips, buffer, one, width);
        other[tile_initial] = other[tile_c];
        other[tile_initial_m] = other[tile_c_m];
        emit_panel_strips(b, tile, strips, buffer, other, width);
      });
}

}  // namespace treadle
