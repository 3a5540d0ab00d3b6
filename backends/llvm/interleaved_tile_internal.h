// A tile of one product that is computed a little at a time, between the loads of another
// one. Included only by backends/llvm/*.cpp.
#pragma once
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <vector>

#include "backends/llvm/float_emitter_internal.h"
#include "backends/llvm/matmul_kernel.h"

namespace treadle {

// Rows of C = A B of a loop's coming turns, `interleaved_rows` turns of one row each at a
// time, which a thread computes while it does the turns before (interleaved_products.h).
// What it knows of them stands in memory of its own, of this type's fields.
enum InterleavedField : unsigned {
  interleaved_a,         // A's first row of these turns
  interleaved_c,         // C's
  interleaved_last,      // how many rows behind it the last one stands
  interleaved_piece,     // `interleaved_vectors` vectors of columns: the one to compute next
  interleaved_position,  // and how much of k is done of it
  interleaved_left,      // steps of k, of one piece after the other, to do up to this turn's end
  interleaved_all_a,     // A's first row of all turns
  interleaved_all_c,     // C's
  interleaved_a_m,       // from row to row of A, in bytes
  interleaved_a_k,       // from column to column
  interleaved_packed,    // B
  interleaved_n,         //
  interleaved_k,         //
  interleaved_length,    // of the loop
  interleaved_reverse,   // does the loop go from the last row to the first?
  interleaved_thread,    // this one has pieces of its own,
  interleaved_threads,   // as each of so many
  interleaved_sums,      // of the next piece, so far
};

// Of rows so few, since their sums are in registers beside those of the other product: its
// eight vectors, these sixteen, two of B, three factors.
inline constexpr int interleaved_vectors = 2;

llvm::StructType* interleaved_type(llvm::LLVMContext& context, const MatmulTile& tile);

// Adds to the module
//   void <prefix>.begin_turn(state, turn), in front of each turn, from the first one on.
// What the turns before have left undone of rows that are needed in the turn after this one it
// computes by `gemm`, a GemmFunction.
llvm::Function* emit_begin_turn(llvm::Module& module, const Target& target, const MatmulTile& tile,
                                llvm::Function* gemm, const char* prefix);

// Code that computes a part of the next piece, with the bits of GemmFunction.
class InterleavedTile {
 public:
  InterleavedTile(llvm::IRBuilderBase& b, const Target& target, const MatmulTile& tile,
                  llvm::Value* state);

  // Is there anything left to compute up to this turn's end?
  llvm::Value* any_left();
  // So many steps of k, or as many as the piece or the turn has left; in each one between its
  // products `other(i, values)`, i from 0 to interleaved_rows - 1, which replaces `values` by their
  // next ones. Returns how many steps there were.
  using Other = std::function<void(int, std::vector<llvm::Value*>&)>;
  llvm::Value* run(llvm::Value* most, std::vector<llvm::Value*>& values, const Other& other);

 private:
  llvm::Value* field(unsigned which);
  llvm::Value* load(unsigned which);
  void store(unsigned which, llvm::Value* value);
  llvm::Value* sum_at(int row, int vector);
  void finish(llvm::Value* piece);
  std::vector<llvm::Value*> vectors_of(llvm::Value* piece);

  llvm::IRBuilderBase& b_;
  FloatEmitter arithmetic_;
  const MatmulTile& tile_;
  llvm::Value* state_;
  llvm::StructType* type_;
  llvm::Type* element_;
  llvm::Type* vector_;
};

// Where vector v's first row stands in packed B, whose panels have `depth` rows.
llvm::Value* emit_packed_vector(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* packed,
                                llvm::Value* depth, llvm::Value* v);

// Which lanes of vector v hold columns below n.
llvm::Value* emit_lanes_below(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* v,
                              llvm::Value* n);

// Stores the columns of vector v below n, a row of C being at `row`.
void emit_columns_below(llvm::IRBuilderBase& b, const MatmulTile& tile, llvm::Value* value,
                        llvm::Value* row, llvm::Value* v, llvm::Value* n);

}  // namespace treadle
