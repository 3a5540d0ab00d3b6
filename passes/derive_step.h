#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A model that reads one row at a time: the one-token step of `generate`.
struct DerivedStep {
  // The model on one row (its length is 1). State that runs on from row to row
  // is an input "carry.N" {role = "state", successor = "carry.N.next"}. What a
  // row reads of all rows before it, the keys and values of an attention, is an
  // input "cache.N" {role = "cache", successor = "cache.N.next"} with `capacity`
  // rows: zeros before the first row; at row t, rows 0 ... t of the successor
  // are filled. What does not change from row to row and depends on inputs is
  // an input "fixed.N" {role = "fixed"}. The number of rows before this one is
  // the input "position" {role = "position"}, an i64 scalar; it exists only when
  // it is used, and is below the capacity. The model's own inputs and outputs
  // keep their names; an output that belongs to the whole sequence is the one
  // of the rows so far, and one that holds each row against each other is left
  // out.
  Graph graph;
  // From parameters and from inputs without rows: the outputs "carry.N", the
  // state before the first row, and "fixed.N".
  Graph start;
  // The symbol of the caches' extent, and the names of the caches.
  std::string capacity;
  std::vector<std::string> caches;
  // The model reads a table that is as long as this: no row behind it.
  std::optional<std::int64_t> longest;
};

// `length` is the symbol of the sequence, as in x: [T, 3]. Row t of every
// output must depend on rows 0 ... t alone. That is proved node by node: what
// has rows is computed row by row, a forward scan over the rows carries its
// state, and what looks along them (a softmax of scores, a sum over values)
// must be masked so that later rows count for nothing. Throws UserError T0848 at the
// node that blocks the proof. Takes one-example graphs.
DerivedStep derive_step(const Graph& graph, const std::string& length);

// The same for `sequence_symbol`; the graph alone, simplified.
Graph derive_step(const Graph& graph);

// The symbol that `derive_step(graph)` takes: of the inputs' first extents the
// one that is also an output's, else the first; empty when no input has rows.
std::string sequence_symbol(const Graph& graph);

}  // namespace treadle
