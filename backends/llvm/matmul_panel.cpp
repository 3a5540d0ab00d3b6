#include "backends/llvm/matmul_panel_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <functional>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_strip_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/matmul_turn_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

class PanelEmitter {
 public:
  PanelEmitter(llvm::IRBuilderBase& b, const MatmulTile& tile, const PanelStrips& strips,
               llvm::AllocaInst* buffer)
      : b_(b),
        tile_(tile),
        strips_(strips),
        buffer_(buffer),
        function_(b.GetInsertBlock()->getParent()),
        size_(static_cast<int>(size_of(tile.dtype))),
        vector_(llvm::FixedVectorType::get(value_type(b.getContext(), tile.dtype),
                                           static_cast<unsigned>(tile.lanes))) {}

  void run(const std::vector<Value*>& arguments, Value* width) {
    if (tile_.amx) return emit_amx_panel(arguments, width);
    Value* vectors = b_.CreateSDiv(b_.CreateAdd(width, i64(tile_.lanes - 1)), i64(tile_.lanes));
    Value* partial = b_.CreateICmpNE(b_.CreateMul(vectors, i64(tile_.lanes)), width);
    emit_if(
        b_, partial, [&] { emit_edge(arguments, width, vectors); },
        [&] { call_strip(arguments, vectors); });
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* minimum(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }
  Value* offset(Value* pointer, Value* by) { return b_.CreateGEP(b_.getInt8Ty(), pointer, by); }
  static Value* strip_argument(const std::vector<Value*>& arguments, StripArgument which) {
    return arguments[arguments.size() - strip_argument_count + which];
  }

  // Whole tiles where C stands, what is left over by way of the buffer.
  void emit_amx_panel(std::vector<Value*> arguments, Value* width) {
    Value *rows = arguments.back(), *height = strip_argument(arguments, strip_a_height);
    Value* whole = b_.CreateAnd(rows, i64(-tile_.rows));
    whole = b_.CreateSelect(b_.CreateICmpEQ(width, i64(tile_.columns)), whole, i64(0));
    arguments.back() = whole;
    call_strip(arguments, nullptr);
    const auto advance = [&](unsigned pointer, Value* stride) {
      arguments[pointer] = offset(arguments[pointer], b_.CreateMul(whole, stride));
    };
    arguments[tile_a] =
        emit_a_row(b_, tile_, arguments[tile_a], arguments[tile_a_m], height, whole);
    advance(tile_c, arguments[tile_c_m]);
    advance(tile_initial, arguments[tile_initial_m]);
    arguments.back() = b_.CreateSub(rows, whole);
    emit_edge(arguments, width, nullptr);
  }

  // The strip that has `vectors` vectors.
  void call_strip(const std::vector<Value*>& arguments, Value* vectors) {
    if (tile_.amx) {
      b_.CreateCall(strips_.amx, {arguments[tile_a], arguments[tile_b], arguments[tile_c],
                                  arguments[tile_c_m], arguments[tile_initial],
                                  arguments[tile_initial_m], arguments[tile_k], arguments.back()});
      return;
    }
    auto* after = llvm::BasicBlock::Create(b_.getContext(), "after_strip", function_);
    llvm::SwitchInst* choice =
        b_.CreateSwitch(vectors, after, static_cast<unsigned>(strips_.by_vectors.size()));
    for (std::size_t v = 0; v < strips_.by_vectors.size(); ++v) {
      auto* block = llvm::BasicBlock::Create(b_.getContext(), "strip", function_);
      choice->addCase(b_.getInt64(v + 1), block);
      b_.SetInsertPoint(block);
      b_.CreateCall(strips_.by_vectors[v], arguments);
      b_.CreateBr(after);
    }
    b_.SetInsertPoint(after);
  }

  // A strip whose last vector reaches past n: by way of a buffer, a tile's
  // height at a time.
  void emit_edge(const std::vector<Value*>& arguments, Value* width, Value* vectors) {
    Value *m = arguments.back(), *row_bytes = i64(tile_.columns * size_);
    Value* const initial_m = arguments[tile_initial_m];
    const llvm::Align align(static_cast<std::uint64_t>(tile_.lanes * size_));
    emit_loop(b_, i64(0), m, i64(tile_.rows), [&](Value* i) {
      Value* rows = minimum(i64(tile_.rows), b_.CreateSub(m, i));
      Value* c = offset(arguments[tile_c], b_.CreateMul(i, arguments[tile_c_m]));
      Value* from = offset(arguments[tile_initial], b_.CreateMul(i, initial_m));
      const auto in_buffer = [&](Value* row) {
        return offset(buffer_, b_.CreateMul(row, row_bytes));
      };
      // The buffer has whole vectors.
      emit_pieces(rows, width, [&](Value* row, Value* byte, Value* mask) {
        Value* at = offset(offset(from, b_.CreateMul(row, initial_m)), byte);
        Value* piece = b_.CreateMaskedLoad(vector_, at, llvm::Align(size_of(tile_.dtype)), mask,
                                           llvm::Constant::getNullValue(vector_));
        b_.CreateAlignedStore(piece, offset(in_buffer(row), byte), align);
      });
      std::vector<Value*> inner = arguments;
      inner[tile_a] = emit_a_row(b_, tile_, arguments[tile_a], arguments[tile_a_m],
                                 strip_argument(arguments, strip_a_height), i);
      inner[tile_c] = buffer_;
      inner[tile_c_m] = row_bytes;
      inner[tile_initial] = buffer_;
      inner[tile_initial_m] = row_bytes;
      if (strips_.with_epilogue) inner[tile_row] = b_.CreateAdd(arguments[tile_row], i);
      inner.back() = rows;
      call_strip(inner, vectors);
      emit_pieces(rows, width, [&](Value* row, Value* byte, Value* mask) {
        Value* piece = b_.CreateAlignedLoad(vector_, offset(in_buffer(row), byte), align);
        b_.CreateMaskedStore(piece, offset(offset(c, b_.CreateMul(row, arguments[tile_c_m])), byte),
                             llvm::Align(size_of(tile_.dtype)), mask);
      });
    });
  }

  // Does `work` (row, byte, mask) for each vector of rows that are `width` wide.
  void emit_pieces(Value* rows, Value* width,
                   const std::function<void(Value*, Value*, Value*)>& work) {
    std::vector<llvm::Constant*> lanes;
    for (int i = 0; i < tile_.lanes; ++i) lanes.push_back(b_.getInt64(static_cast<unsigned>(i)));
    emit_loop(b_, i64(0), width, i64(tile_.lanes), [&](Value* column) {
      Value* left = b_.CreateSub(width, column);
      Value* mask =
          b_.CreateICmpSLT(llvm::ConstantVector::get(lanes),
                           b_.CreateVectorSplat(static_cast<unsigned>(tile_.lanes), left));
      Value* byte = b_.CreateMul(column, i64(size_));
      emit_loop(b_, i64(0), rows, i64(1), [&](Value* row) { work(row, byte, mask); });
    });
  }

  llvm::IRBuilderBase& b_;
  const MatmulTile& tile_;
  const PanelStrips& strips_;
  llvm::AllocaInst* buffer_;
  llvm::Function* function_;
  int size_;
  llvm::Type* vector_;
};

}  // namespace

llvm::Constant* emit_zero_row(llvm::Module& module, const MatmulTile& tile,
                              const std::string& prefix) {
  const std::string name = prefix + ".zero_row";
  if (llvm::GlobalVariable* known = module.getGlobalVariable(name, true)) return known;
  auto* type = llvm::ArrayType::get(value_type(module.getContext(), tile.dtype),
                                    static_cast<std::uint64_t>(tile.columns));
  auto* row = new llvm::GlobalVariable(module, type, true, llvm::GlobalValue::InternalLinkage,
                                       llvm::Constant::getNullValue(type), name);
  row->setAlignment(llvm::Align(64));
  return row;
}

llvm::AllocaInst* emit_panel_buffer(llvm::IRBuilderBase& b, const MatmulTile& tile) {
  llvm::AllocaInst* buffer =
      b.CreateAlloca(llvm::ArrayType::get(value_type(b.getContext(), tile.dtype),
                                          static_cast<std::uint64_t>(tile.rows * tile.columns)));
  buffer->setAlignment(llvm::Align(64));
  return buffer;
}

void emit_panel_strips(llvm::IRBuilderBase& b, const MatmulTile& tile, const PanelStrips& strips,
                       llvm::AllocaInst* buffer, const std::vector<Value*>& arguments,
                       Value* width) {
  PanelEmitter(b, tile, strips, buffer).run(arguments, width);
}

}  // namespace treadle
