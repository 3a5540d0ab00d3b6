#pragma once
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A model that reads one row at a time: the one-token step of `generate`.
struct DerivedStep {
  // The model on one row (its length is 1). State that runs on from row to row
  // is an input "carry.N" {role = "state", successor = "carry.N.next"}, the
  // number of rows before this one the input "position" {role = "position"},
  // an i64 scalar; it exists only when it is used. The model's own inputs and
  // outputs keep their names; an output that belongs to the whole sequence is
  // the one of the rows so far.
  Graph graph;
  // From parameters and from inputs without rows: the outputs "carry.N", the
  // state before the first row.
  Graph start;
};

// `length` is the symbol of the sequence, as in x: [T, 3]. Row t of every
// output must depend on rows 0 ... t alone. That is proved node by node: what
// has rows is computed row by row, a forward scan over the rows carries its
// state, and nothing else may look along them. Throws UserError T0848 at the
// node that blocks the proof. Takes one-example graphs.
DerivedStep derive_step(const Graph& graph, const std::string& length);

// The same for the symbol that comes first in the first input with rows; the
// graph alone, simplified.
Graph derive_step(const Graph& graph);

// The symbol that `derive_step(graph)` takes; empty when no input has rows.
std::string sequence_symbol(const Graph& graph);

}  // namespace treadle
