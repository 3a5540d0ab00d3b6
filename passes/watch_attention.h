// Attention weights as results of their own.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A softmax whose result weighs rows: it multiplies other values and is summed
// over the axis that it normalises, by a product or by hand.
struct WatchedAttention {
  SourceRange location;  // of the softmax
  // The instance around the nearest parameters that queries, keys and values
  // come from: "encoder.layer[1].attention"; "" when they share none.
  std::string path;
  // The output of the graph: the weights, [scan lengths..., dims of the softmax...].
  std::string output;
  std::size_t scans = 0;  // how many scans stand around it
  std::size_t keys = 0;   // the axis that adds up to 1
  // The inputs of the graph that the weighed values depend on.
  std::set<std::string> value_inputs;
};

struct WatchedAttentions {
  Graph graph;
  std::vector<WatchedAttention> attentions;  // in the order of the graph
};

// The model with its attention weights as its only outputs, "attention.0" and so
// on; those of a scan's step have a row for each step.
//
//   %4 = softmax(%3) {axis = 1}           %4 = softmax(%3) {axis = 1}
//   %5 = matmul(%4, %v) {...}       =>    return attention.0 = %4
//   return y = %5
//
// Accepts the stage one-example, before fuse-attention.
WatchedAttentions watch_attention(const Graph& model);

}  // namespace treadle
