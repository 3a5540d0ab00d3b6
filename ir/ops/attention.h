// attention and attention_gradient: what their operands and regions mean.
//
//   result, lse = attention(q, k, v, more...) {
//     ^(score, weight, more...)
//       return scores, weights
//   }
//
// q is [batch..., T, D], k [batch..., S, D], v [batch..., S, E]; the domain is
// [batch..., T, S]. With s = q kᵀ, `scores` is pointwise in `score` = s, and
// with p = softmax(scores) along S, `weights` is pointwise in `weight` = p.
// result = weights v is [batch..., T, E]; lse [batch..., T] is the logarithm of
// a row's sum of exp(scores). A row of -inf gives zeros [Dao 2023].
//
//   dq, dk, dv = attention_gradient(q, k, v, dy, result, lse, more...) {
//     ^(score, weight, d_weights, d_scores, more...)
//       return scores, weights, d_weight, d_score
//   }
//
// From dy, the gradient of result: dv = weightsᵀ dy; d_weights = dy vᵀ gives
// d_weight, pointwise; d_scores = p (d_weight - rowsum(d_weight p)) gives
// d_score, pointwise and 0 where d_scores is 0; dq = d_score k, dk = d_scoreᵀ q.
//
// In a region all that depends on the first arguments is pointwise; the rest may
// read `more` at any index.
#pragma once
#include "ir/builder.h"

namespace treadle {

inline bool is_attention(Op op) { return op == Op::attention || op == Op::attention_gradient; }

struct AttentionView {
  explicit AttentionView(const Node& node);
  bool gradient = false;
  const Graph* body = nullptr;
  std::size_t matrices = 0;  // operands in front of `more`
  // The first of them, all but lse: rows of D or E, which may be read in place (rows_view()).
  std::size_t row_operands = 0;
  std::size_t arguments = 0;  // of the region, in front of those of `more`
  const Dims& domain() const { return body->type(body->input_value(0)).dims; }
  Dims batch() const { return Dims(domain().begin(), domain().end() - 2); }
  const Dim& queries() const { return domain()[domain().size() - 2]; }
  const Dim& keys() const { return domain().back(); }
  bool plain_weights() const;  // weights are p, and d_weight is d_weights
};

// The node's outputs by its definition, in core ops and softmax.
std::vector<Value> expand_attention(Builder& b, const Node& node, std::span<const Value> operands);

}  // namespace treadle
