#include "backends/llvm/matmul_kernel.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <string>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_tile_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

using llvm::Value;

// A block of A (row_block x k_block) and one of B (k_block x columns) share the
// L2 cache while all tiles between them are worked out.
constexpr int k_block = 256;
constexpr int row_block = 256;
// With fewer rows or panels, or less, A is read as it stands.
constexpr int least_rows_to_turn = 16;
constexpr int least_panels_to_turn = 4;

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
        size_(static_cast<int>(size_of(dtype))),
        element_(value_type(module.getContext(), dtype)) {}

  MatmulKernels run() {
    MatmulKernels kernels;
    kernels.tile = tile_;
    if (!epilogue_) kernels.pack = emit_pack();
    for (int vectors = 1; vectors <= tile_.vectors; ++vectors)
      strips_.push_back(emit_strip(vectors));
    turn_ = emit_turn();
    kernels.gemm = emit_gemm();
    return kernels;
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* minimum(Value* x, Value* y) { return b_.CreateSelect(b_.CreateICmpSLT(x, y), x, y); }
  Value* bytes(Value* elements) { return b_.CreateMul(elements, i64(size_)); }
  Value* offset(Value* pointer, Value* by) { return b_.CreateGEP(b_.getInt8Ty(), pointer, by); }
  Value* element_at(Value* pointer, Value* index) { return b_.CreateGEP(element_, pointer, index); }
  Value* null() { return llvm::ConstantPointerNull::get(b_.getPtrTy()); }

  // What a sum starts from that has no `initial`.
  llvm::Constant* zero_row() {
    const std::string name = prefix_ + ".zero_row";
    if (llvm::GlobalVariable* known = module_.getGlobalVariable(name, true)) return known;
    auto* type = llvm::ArrayType::get(element_, static_cast<std::uint64_t>(tile_.columns));
    auto* row = new llvm::GlobalVariable(module_, type, true, llvm::GlobalValue::InternalLinkage,
                                         llvm::Constant::getNullValue(type), name);
    row->setAlignment(llvm::Align(64));
    return row;
  }

  llvm::Function* begin(const std::string& name, llvm::FunctionType* type) {
    auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, prefix_ + "." + name,
                                     module_);
    set_target_attributes(*f, target_);
    f->addFnAttr(llvm::Attribute::NoInline);
    f->setDoesNotThrow();
    b_.SetInsertPoint(llvm::BasicBlock::Create(module_.getContext(), "entry", f));
    return f;
  }

  // (b, b_k, b_n, k, n, panel_begin, panel_end, packed)
  llvm::Function* emit_pack() {
    llvm::Type* p = b_.getPtrTy();
    llvm::Type* i = b_.getInt64Ty();
    auto* f =
        begin("pack", llvm::FunctionType::get(b_.getVoidTy(), {p, i, i, i, i, i, i, p}, false));
    Value* from = f->getArg(0);
    Value* b_k = f->getArg(1);
    Value* b_n = f->getArg(2);
    Value* k = f->getArg(3);
    Value* columns = i64(tile_.columns);
    Value* rows_unit = b_.CreateICmpEQ(b_n, i64(1));
    emit_loop(b_, f->getArg(5), f->getArg(6), i64(1), [&](Value* panel) {
      Value* first = b_.CreateMul(panel, columns);
      Value* width = minimum(columns, b_.CreateSub(f->getArg(4), first));
      Value* to = element_at(f->getArg(7), b_.CreateMul(first, k));
      Value* source = element_at(from, b_.CreateMul(first, b_n));
      Value* whole = b_.CreateICmpEQ(width, columns);
      emit_if(
          b_, b_.CreateAnd(rows_unit, whole), [&] { copy_rows(source, b_k, k, to); },
          [&] {
            Value* turned = b_.CreateAnd(b_.CreateICmpEQ(b_k, i64(1)), whole);
            Value* done = b_.CreateSelect(turned, b_.CreateAnd(k, i64(-tile_.lanes)), i64(0));
            copy_turned(source, b_n, done, to);
            copy_elements(source, b_k, b_n, done, k, width, to);
          });
    });
    b_.CreateRetVoid();
    return f;
  }

  void copy_rows(Value* source, Value* b_k, Value* k, Value* to) {
    auto* vector = llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile_.lanes));
    const llvm::Align align(size_of(tile_.dtype));
    emit_loop(b_, i64(0), k, i64(1), [&](Value* l) {
      Value* row = element_at(source, b_.CreateMul(l, b_k));
      Value* out = element_at(to, b_.CreateMul(l, i64(tile_.columns)));
      for (int v = 0; v < tile_.vectors; ++v) {
        Value* value = b_.CreateAlignedLoad(vector, element_at(row, i64(v * tile_.lanes)), align);
        b_.CreateAlignedStore(value, element_at(out, i64(v * tile_.lanes)), align);
      }
    });
  }

  // A panel whose columns lie dense in memory, up to row k: squares of as many
  // rows as a vector has lanes.
  void copy_turned(Value* source, Value* b_n, Value* k, Value* to) {
    auto* vector = llvm::FixedVectorType::get(element_, static_cast<unsigned>(tile_.lanes));
    const llvm::Align align(size_of(tile_.dtype));
    emit_loop(b_, i64(0), k, i64(tile_.lanes), [&](Value* l) {
      emit_loop(b_, i64(0), i64(tile_.columns), i64(tile_.lanes), [&](Value* column) {
        std::vector<Value*> square;
        for (int j = 0; j < tile_.lanes; ++j) {
          Value* from = b_.CreateAdd(b_.CreateMul(b_.CreateAdd(column, i64(j)), b_n), l);
          square.push_back(b_.CreateAlignedLoad(vector, element_at(source, from), align));
        }
        square = turn(std::move(square));
        for (int i = 0; i < tile_.lanes; ++i) {
          Value* row = b_.CreateMul(b_.CreateAdd(l, i64(i)), i64(tile_.columns));
          b_.CreateAlignedStore(square[static_cast<std::size_t>(i)],
                                element_at(to, b_.CreateAdd(row, column)), align);
        }
      });
    });
  }

  // A square's transpose: to interleave its upper rows with its lower ones turns
  // the bits of an element's place, row and lane, by one.
  std::vector<Value*> turn(std::vector<Value*> rows) {
    const int lanes = tile_.lanes;
    std::vector<int> low, high;
    for (int i = 0; i < lanes; ++i) {
      low.push_back(i / 2 + i % 2 * lanes);
      high.push_back(low.back() + lanes / 2);
    }
    for (int step = 1; step < lanes; step *= 2) {
      std::vector<Value*> next;
      for (std::size_t i = 0; i < rows.size() / 2; ++i)
        for (const std::vector<int>& order : {low, high})
          next.push_back(b_.CreateShuffleVector(rows[i], rows[i + rows.size() / 2], order));
      rows = std::move(next);
    }
    return rows;
  }

  // From row `done` on.
  void copy_elements(Value* source, Value* b_k, Value* b_n, Value* done, Value* k, Value* width,
                     Value* to) {
    emit_loop(b_, done, k, i64(1), [&](Value* l) {
      Value* row = element_at(source, b_.CreateMul(l, b_k));
      Value* out = element_at(to, b_.CreateMul(l, i64(tile_.columns)));
      emit_loop(b_, i64(0), width, i64(1), [&](Value* j) {
        Value* value = b_.CreateLoad(element_, element_at(row, b_.CreateMul(j, b_n)));
        b_.CreateStore(value, element_at(out, j));
      });
      emit_loop(b_, width, i64(tile_.columns), i64(1), [&](Value* j) {
        b_.CreateStore(llvm::Constant::getNullValue(element_), element_at(out, j));
      });
    });
  }

  std::vector<int> row_counts() const {
    std::vector<int> counts = {tile_.rows};
    for (int rows : {4, 2, 1})
      if (rows < tile_.rows) counts.push_back(rows);
    return counts;
  }

  // A tile function's signature and two arguments more, the distance from one
  // tile's height of A's rows to the next, in bytes, and the number of rows: tiles
  // of the greatest height that still fits, one below the other.
  llvm::Function* emit_strip(int vectors) {
    std::vector<llvm::Function*> tiles;
    for (int rows : row_counts()) {
      const std::string name =
          prefix_ + ".tile_" + std::to_string(rows) + "x" + std::to_string(vectors * tile_.lanes);
      tiles.push_back(emit_tile_function(module_, target_, tile_, rows, vectors, name, epilogue_));
    }
    std::vector<llvm::Type*> types = tiles[0]->getFunctionType()->params();
    types.insert(types.end(), {b_.getInt64Ty(), b_.getInt64Ty()});
    auto* f = begin("strip_" + std::to_string(vectors * tile_.lanes),
                    llvm::FunctionType::get(b_.getVoidTy(), types, false));
    Value* m = f->getArg(static_cast<unsigned>(types.size() - 1));
    // Six rows and two take longer than four and four, which may straddle A's strips
    // where these stand as the rows do.
    Value* last = m;
    if (tile_.rows == 6) {
      Value* rows_apart = b_.CreateMul(f->getArg(tile_a_m), i64(6));
      Value* two_left = b_.CreateAnd(b_.CreateICmpEQ(a_strip(f), rows_apart),
                                     b_.CreateICmpEQ(b_.CreateURem(m, i64(6)), i64(2)));
      last = b_.CreateSelect(two_left, b_.CreateSub(m, i64(6)), m);
    }
    Value* done = i64(0);
    for (std::size_t t = 0; t < tiles.size(); ++t) {
      const int rows = row_counts()[t];
      Value* end = b_.CreateSub(t == 0 ? last : m, i64(rows - 1));
      done = emit_loop(b_, done, end, i64(rows), {done}, [&](Value* i, std::vector<Value*>& next) {
        call_tile(f, tiles[t], i);
        next[0] = b_.CreateAdd(i, i64(rows));
      })[0];
    }
    b_.CreateRetVoid();
    return f;
  }

  static Value* a_strip(llvm::Function* strip) {
    return strip->getArg(static_cast<unsigned>(strip->arg_size()) - 2);
  }
  Value* a_row(Value* a, Value* a_m, Value* a_strip, Value* i) {
    Value* strip = b_.CreateMul(b_.CreateUDiv(i, i64(tile_.rows)), a_strip);
    Value* row = b_.CreateMul(b_.CreateURem(i, i64(tile_.rows)), a_m);
    return offset(a, b_.CreateAdd(strip, row));
  }

  // `tile` on the rows from i on, with the other arguments of `strip`.
  void call_tile(llvm::Function* strip, llvm::Function* tile, Value* i) {
    std::vector<Value*> arguments;
    for (llvm::Argument& argument : tile->args())
      arguments.push_back(strip->getArg(argument.getArgNo()));
    const auto advance = [&](unsigned pointer, unsigned stride) {
      arguments[pointer] = offset(arguments[pointer], b_.CreateMul(i, arguments[stride]));
    };
    arguments[tile_a] = a_row(arguments[tile_a], arguments[tile_a_m], a_strip(strip), i);
    advance(tile_c, tile_c_m);
    advance(tile_initial, tile_initial_m);
    if (epilogue_) arguments[tile_row] = b_.CreateAdd(arguments[tile_row], i);
    b_.CreateCall(tile, arguments);
  }

  // How many elements of a row of the transposed A are copied at once.
  int turned_width() const { return tile_.rows <= 4 ? 4 : 8; }

  // (a, a_k, rows, k, to): a block of A whose columns are dense, as when it is the
  // transpose of a matrix, in strips of a tile's height, each column by column.
  // Tiles that read it where it stands find one line of every column in the same
  // few sets of the cache.
  llvm::Function* emit_turn() {
    llvm::Type *p = b_.getPtrTy(), *i = b_.getInt64Ty();
    auto* f = begin("turn", llvm::FunctionType::get(b_.getVoidTy(), {p, i, i, i, p}, false));
    Value *a = f->getArg(0), *a_k = f->getArg(1), *rows = f->getArg(2), *k = f->getArg(3);
    const unsigned width = static_cast<unsigned>(turned_width());
    const llvm::Align align(size_of(tile_.dtype));
    emit_loop(b_, i64(0), rows, i64(tile_.rows), [&](Value* row) {
      Value* from = element_at(a, row);
      Value* to = element_at(f->getArg(4), b_.CreateMul(row, k));
      const auto column = [&](Value* l, auto copy) {
        copy(offset(from, b_.CreateMul(l, a_k)), element_at(to, b_.CreateMul(l, i64(tile_.rows))));
      };
      Value* left = b_.CreateSub(rows, row);
      emit_if(
          b_, b_.CreateICmpSGE(left, i64(width)),
          [&] {  // what reaches past the strip is written over by what follows
            auto* vector = llvm::FixedVectorType::get(element_, width);
            emit_loop(b_, i64(0), k, i64(1), [&](Value* l) {
              column(l, [&](Value* source, Value* target) {
                b_.CreateAlignedStore(b_.CreateAlignedLoad(vector, source, align), target, align);
              });
            });
          },
          [&] {
            Value* height = minimum(left, i64(tile_.rows));
            emit_loop(b_, i64(0), k, i64(1), [&](Value* l) {
              column(l, [&](Value* source, Value* target) {
                emit_loop(b_, i64(0), height, i64(1), [&](Value* j) {
                  b_.CreateStore(b_.CreateLoad(element_, element_at(source, j)),
                                 element_at(target, j));
                });
              });
            });
          });
    });
    b_.CreateRetVoid();
    return f;
  }

  enum GemmArgument : unsigned {
    gemm_a,
    gemm_a_m,
    gemm_a_k,
    gemm_packed,
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

  llvm::Function* emit_gemm() {
    llvm::Type* p = b_.getPtrTy();
    llvm::Type* i = b_.getInt64Ty();
    std::vector<llvm::Type*> types = {p, i, i, p, p, i, p, i, i, i, i, i, i, i};
    if (epilogue_) types.push_back(p);
    gemm_ = begin("gemm", llvm::FunctionType::get(b_.getVoidTy(), types, false));
    buffer_ = b_.CreateAlloca(
        llvm::ArrayType::get(element_, static_cast<std::uint64_t>(tile_.rows * tile_.columns)));
    buffer_->setAlignment(llvm::Align(64));
    const int turned_rows = (row_block + tile_.rows - 1) / tile_.rows * tile_.rows;
    turned_ = b_.CreateAlloca(llvm::ArrayType::get(
        element_, static_cast<std::uint64_t>(turned_rows * k_block + turned_width())));
    turned_->setAlignment(llvm::Align(64));
    Value* m_end = gemm_->getArg(gemm_m_end);
    // At least one block along k, if empty: C = initial is still to be written.
    Value* k = gemm_->getArg(gemm_k);
    Value* k_bound = b_.CreateSelect(b_.CreateICmpSLT(k, i64(1)), i64(1), k);
    emit_loop(b_, gemm_->getArg(gemm_m_begin), m_end, i64(row_block), [&](Value* row) {
      Value* rows = minimum(i64(row_block), b_.CreateSub(m_end, row));
      emit_loop(b_, i64(0), k_bound, i64(k_block), [&](Value* k0) {
        const Block block = emit_block(row, rows, k0);
        emit_loop(b_, gemm_->getArg(gemm_panel_begin), gemm_->getArg(gemm_panel_end), i64(1),
                  [&](Value* panel) { emit_panel(block, panel); });
      });
    });
    b_.CreateRetVoid();
    return gemm_;
  }

  // Rows row ... row + rows - 1 of A and columns k0 ... k0 + k - 1: where it stands,
  // with its strides in bytes.
  struct Block {
    Value *row, *rows, *k0, *k, *a, *a_m, *a_k, *a_strip;
  };
  Block emit_block(Value* row, Value* rows, Value* k0) {
    Value* a_m = bytes(gemm_->getArg(gemm_a_m));
    Value* a_k = bytes(gemm_->getArg(gemm_a_k));
    Value* a =
        offset(gemm_->getArg(gemm_a), b_.CreateAdd(b_.CreateMul(row, a_m), b_.CreateMul(k0, a_k)));
    Value* k = minimum(i64(k_block), b_.CreateSub(gemm_->getArg(gemm_k), k0));
    Value* panels = b_.CreateSub(gemm_->getArg(gemm_panel_end), gemm_->getArg(gemm_panel_begin));
    Value* turn = b_.CreateAnd(b_.CreateICmpEQ(gemm_->getArg(gemm_a_m), i64(1)),
                               b_.CreateICmpNE(gemm_->getArg(gemm_a_k), i64(1)));
    turn = b_.CreateAnd(turn, b_.CreateICmpSGE(rows, i64(least_rows_to_turn)));
    turn = b_.CreateAnd(turn, b_.CreateICmpSGE(panels, i64(least_panels_to_turn)));
    emit_if(
        b_, turn,
        [&] {
          b_.CreateCall(turn_, {a, a_k, rows, k, turned_});
        },
        [] {});
    const auto either = [&](Value* turned, Value* as_it_is) {
      return b_.CreateSelect(turn, turned, as_it_is);
    };
    const std::int64_t step = std::int64_t{tile_.rows} * size_;
    return {row,
            rows,
            k0,
            k,
            either(turned_, a),
            either(i64(size_), a_m),
            either(i64(step), a_k),
            either(b_.CreateMul(k, i64(step)), b_.CreateMul(a_m, i64(tile_.rows)))};
  }

  // The arguments of a strip for one block of A and one of B.
  std::vector<Value*> strip_arguments(const Block& block, Value* column) {
    Value *row = block.row, *k0 = block.k0, *k = gemm_->getArg(gemm_k);
    Value* c_m = bytes(gemm_->getArg(gemm_c_m));
    Value* initial_m = bytes(gemm_->getArg(gemm_initial_m));
    Value* panel_start = b_.CreateMul(column, k);
    Value* packed = element_at(gemm_->getArg(gemm_packed),
                               b_.CreateAdd(panel_start, b_.CreateMul(k0, i64(tile_.columns))));
    Value* column_bytes = bytes(column);
    Value* c = offset(gemm_->getArg(gemm_c), b_.CreateAdd(b_.CreateMul(row, c_m), column_bytes));
    Value* given = gemm_->getArg(gemm_initial);
    Value* initial = offset(given, b_.CreateAdd(b_.CreateMul(row, initial_m), column_bytes));
    Value* from_zero = b_.CreateICmpEQ(given, null());
    initial = b_.CreateSelect(from_zero, zero_row(), initial);
    initial_m = b_.CreateSelect(from_zero, i64(0), initial_m);
    // Behind the first block, the sum so far is in C.
    Value* first = b_.CreateICmpEQ(k0, i64(0));
    initial = b_.CreateSelect(first, initial, c);
    initial_m = b_.CreateSelect(first, initial_m, c_m);
    std::vector<Value*> arguments = {block.a, block.a_m, block.a_k, packed, c,
                                     c_m,     initial,   initial_m, block.k};
    if (epilogue_) {
      Value* last = b_.CreateICmpSLE(b_.CreateSub(k, k0), i64(k_block));
      arguments.insert(arguments.end(), {row, column, last, gemm_->getArg(gemm_context)});
    }
    arguments.insert(arguments.end(), {block.a_strip, block.rows});
    return arguments;
  }

  void emit_panel(const Block& block, Value* panel) {
    Value* column = b_.CreateMul(panel, i64(tile_.columns));
    Value* width = minimum(i64(tile_.columns), b_.CreateSub(gemm_->getArg(gemm_n), column));
    std::vector<Value*> arguments = strip_arguments(block, column);
    Value* vectors = b_.CreateSDiv(b_.CreateAdd(width, i64(tile_.lanes - 1)), i64(tile_.lanes));
    Value* partial = b_.CreateICmpNE(b_.CreateMul(vectors, i64(tile_.lanes)), width);
    emit_if(
        b_, partial, [&] { emit_edge(arguments, width, vectors); },
        [&] { call_strip(arguments, vectors); });
  }

  // The strip that has `vectors` vectors.
  void call_strip(const std::vector<Value*>& arguments, Value* vectors) {
    auto* after = llvm::BasicBlock::Create(b_.getContext(), "after_strip", gemm_);
    llvm::SwitchInst* choice =
        b_.CreateSwitch(vectors, after, static_cast<unsigned>(strips_.size()));
    for (std::size_t v = 0; v < strips_.size(); ++v) {
      auto* block = llvm::BasicBlock::Create(b_.getContext(), "strip", gemm_);
      choice->addCase(b_.getInt64(v + 1), block);
      b_.SetInsertPoint(block);
      b_.CreateCall(strips_[v], arguments);
      b_.CreateBr(after);
    }
    b_.SetInsertPoint(after);
  }

  // A strip whose last vector reaches past n: by way of a buffer, a tile's
  // height at a time.
  void emit_edge(const std::vector<Value*>& arguments, Value* width, Value* vectors) {
    Value* m = arguments.back();
    emit_loop(b_, i64(0), m, i64(tile_.rows), [&](Value* i) {
      Value* rows = minimum(i64(tile_.rows), b_.CreateSub(m, i));
      Value* c = offset(arguments[tile_c], b_.CreateMul(i, arguments[tile_c_m]));
      Value* from = offset(arguments[tile_initial], b_.CreateMul(i, arguments[tile_initial_m]));
      Value* buffer_m = i64(tile_.columns * size_);
      copy_block(from, arguments[tile_initial_m], buffer_, buffer_m, rows, width);
      std::vector<Value*> inner = arguments;
      inner[tile_a] =
          a_row(arguments[tile_a], arguments[tile_a_m], arguments[arguments.size() - 2], i);
      inner[tile_c] = buffer_;
      inner[tile_c_m] = buffer_m;
      inner[tile_initial] = buffer_;
      inner[tile_initial_m] = buffer_m;
      if (epilogue_) inner[tile_row] = b_.CreateAdd(arguments[tile_row], i);
      inner.back() = rows;
      call_strip(inner, vectors);
      copy_block(buffer_, buffer_m, c, arguments[tile_c_m], rows, width);
    });
  }

  void copy_block(Value* from, Value* from_stride, Value* to, Value* to_stride, Value* rows,
                  Value* width) {
    emit_loop(b_, i64(0), rows, i64(1), [&](Value* r) {
      Value* source = offset(from, b_.CreateMul(r, from_stride));
      Value* target = offset(to, b_.CreateMul(r, to_stride));
      emit_loop(b_, i64(0), width, i64(1), [&](Value* j) {
        b_.CreateStore(b_.CreateLoad(element_, element_at(source, j)), element_at(target, j));
      });
    });
  }

  llvm::Module& module_;
  const Target& target_;
  MatmulTile tile_;
  std::string prefix_;
  const TileEpilogue& epilogue_;
  llvm::IRBuilder<> b_;
  int size_;
  llvm::Type* element_;
  std::vector<llvm::Function*> strips_;
  llvm::Function* gemm_ = nullptr;
  llvm::Function* turn_ = nullptr;
  llvm::AllocaInst *buffer_ = nullptr, *turned_ = nullptr;
};

}  // namespace

MatmulTile matmul_tile(const Target& target, DType dtype) {
  MatmulTile tile;
  tile.dtype = dtype;
  tile.lanes = target.vector_bytes / static_cast<int>(size_of(dtype));
  tile.vectors = target.vector_registers >= 32 ? 3 : 2;
  // A product that is not fused needs a register of its own.
  tile.rows = target.vector_registers >= 32 ? 8 : target.has_fma ? 6 : 4;
  tile.columns = tile.vectors * tile.lanes;
  return tile;
}

MatmulKernels emit_matmul_kernels(llvm::Module& module, const Target& target, DType dtype,
                                  const char* prefix, const TileEpilogue& epilogue) {
  return KernelEmitter(module, target, dtype, prefix, epilogue).run();
}

}  // namespace treadle
