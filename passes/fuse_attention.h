// Attention becomes one node, and its gradient another; neither stores the
// matrix of weights.
//
//   %2 = matmul(%q, %k) {batch_a = [0], ...}     %2 = attention(%q, %k, %v) {
//   %3 = mul(%2, %scale)                           ^(%0, %1)
//   %4 = softmax(%3) {axis = 2}              =>     %3 = mul(%0, ...)
//   %5 = matmul(%4, %v) {batch_a = [0], ...}        return %3, %1
//                                                }
//
// What stands between the product and the softmax (scale, mask, bias), and
// between the softmax and the second product (dropout), is pointwise and goes
// into the region, and so does what it reads that is as large as the matrix. The
// backward half is what `vjp` makes of the forward one. Masks and biases are not
// told apart: nothing here knows what they mean. ir/ops/attention.h has the nodes.
#pragma once
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// A softmax that the pass looked at.
struct AttentionReport {
  SourceRange location;
  bool fused = false;
  std::string text;  // "forward and backward", or why not
};

// Softmaxes over anything but the last of at least two dimensions' products are
// left alone; `reports`, if any, has a row for every softmax, those of scans
// included.
Graph fuse_attention(const Graph& graph, std::vector<AttentionReport>* reports = nullptr);

}  // namespace treadle
