// The index inputs of a batch of examples of different lengths.
//
// A value of one example whose first dimension is ragged, f32[~T, 8], is in a
// batch one matrix of rows without padding, f32[T.rows, 8]. Its rows stand time
// by time: those of step 0 of all examples, then those of step 1, ...; of the
// examples that are longer than t, in order of descending length. So the rows
// of a step are contiguous, and the active examples are the first ones.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "ir/builder.h"

namespace treadle {

// The ragged symbols of a graph's inputs, in order of appearance. A batch's
// examples come in descending order of the first one.
std::vector<std::string> ragged_symbols(const Graph& graph);

// `dim` without the marks of ragged symbols: what it is for one example.
Dim for_one_example(const Dim& dim);
inline bool has_ragged(const Dims& dims) {
  for (const Dim& dim : dims)
    if (dim.is_ragged()) return true;
  return false;
}

// Adds inputs to b's graph when they are first asked for. Each belongs to a
// dimension e of one example; the runtime makes them from the examples' lengths
// (runtime/packing.h). With `B` for the batch's size, all i32:
//   lengths(e)     [B]          e of each example
//   counts(e)      [e.longest]  how many examples have e > t
//   examples(e)    [e.rows]     whose row this is
//   times(e)       [e.rows]     which row of that example it is
//   by_example(e)  [e.rows]     where the rows stand, examples one after another
//   by_time(e)     [e.rows]     the inverse of by_example
//   padded(e)      [B, e.longest]  where row t of each example stands; behind
//                               its last one, the number of rows of all
//   order(e)       [B]          the examples in descending order of e
//   ranks(e)       [B]          the inverse of order
class RaggedInputs {
 public:
  RaggedInputs(Builder& b, Dim size, std::string first_symbol)
      : b_(b), size_(std::move(size)), first_symbol_(std::move(first_symbol)) {}

  Dim rows(const Dim& e);     // the symbol of the number of rows
  Dim longest(const Dim& e);  // of the largest e of the batch
  static Dim symbol_of_longest(const Dim& e) { return symbol(e, "longest"); }
  static Dim active(const Dim& e);  // inside a scan: of the number of examples at work

  Value lengths(const Dim& e) { return input("lengths", e, size_); }
  Value counts(const Dim& e) { return input("counts", e, symbol(e, "longest")); }
  Value examples(const Dim& e) { return input("examples", e, symbol(e, "rows")); }
  Value times(const Dim& e) { return input("times", e, symbol(e, "rows")); }
  Value by_example(const Dim& e) { return input("by_example", e, symbol(e, "rows")); }
  Value by_time(const Dim& e) { return input("by_time", e, symbol(e, "rows")); }

  // Rows as [B, e.longest, ...], zeros behind each example's own.
  Value padded(Value rows, const Dim& e);

  // A value [B, ...] with its examples in descending order of e, and back.
  Value ordered(Value x, const Dim& e);
  Value restored(Value x, const Dim& e);

 private:
  static Dim symbol(const Dim& e, const char* what);
  Value input(const std::string& what, const Dim& e, Dims dims);
  Value input(const std::string& what, const Dim& e, const Dim& extent) {
    return input(what, e, Dims{extent});
  }
  bool in_order(const Dim& e) const;

  Builder& b_;
  Dim size_;
  std::string first_symbol_;
  std::map<std::string, Value> made_;
};

}  // namespace treadle
