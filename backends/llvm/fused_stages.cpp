#include "backends/llvm/fused_stages.h"

#include <algorithm>
#include <set>

#include "ir/op_def.h"

namespace treadle {

namespace {

constexpr std::size_t most_kept = 4;

class Stages {
 public:
  Stages(const Graph& body, const Dims& domain) : body_(body), domain_(domain) {
    for (NodeId id = 0; id < body_.size(); ++id) {
      const Node& node = body_.node(id);
      int depth = 0;
      for (const Value v : node.operands) depth = std::max(depth, depth_of(v));
      depths_.push_back(depth + (is_long_chain(node) ? 1 : 0));
    }
  }

  std::optional<std::vector<Value>> run(const std::vector<Value>& parts) {
    for (const Value v : parts) find_cuts(v);
    if (kept_.empty() || !simple_) return std::nullopt;
    // Functions that were worked out for what is kept are not again.
    seen_.clear();
    for (const Value v : kept_) find_early(v);
    seen_.clear();
    for (const Value v : parts) keep_early(v);
    if (!simple_ || kept_.size() > most_kept) return std::nullopt;
    return std::vector<Value>(kept_.begin(), kept_.end());
  }

 private:
  int depth_of(Value v) const { return depths_[v.node]; }
  void keep(Value v) {
    if (body_.type(v).dims != domain_) simple_ = false;
    kept_.insert(v);
  }
  // Is it computed from its operands at the same index?
  bool pointwise(Value v) const {
    return body_.type(v).dims == domain_ && op_def(body_.node(v.node).op).pointwise();
  }

  // Operands of functions that are one function of the kernel's operands already.
  void find_cuts(Value v) {
    if (depth_of(v) < 2 || !seen_.insert(v).second) return;
    if (!pointwise(v)) simple_ = false;
    const Node& node = body_.node(v.node);
    for (const Value operand : node.operands)
      if (is_long_chain(node) && depth_of(operand) == 1)
        keep(operand);
      else
        find_cuts(operand);
  }

  void find_early(Value v) {
    if (depth_of(v) == 0 || !seen_.insert(v).second) return;
    if (is_long_chain(body_.node(v.node))) early_.insert(v);
    for (const Value operand : body_.node(v.node).operands) find_early(operand);
  }

  void keep_early(Value v) {
    if (depth_of(v) == 0 || kept_.contains(v) || !seen_.insert(v).second) return;
    if (early_.contains(v)) return keep(v);
    if (!pointwise(v)) simple_ = false;
    for (const Value operand : body_.node(v.node).operands) keep_early(operand);
  }

  const Graph& body_;
  const Dims& domain_;
  std::vector<int> depths_;  // of each node: functions on the longest way to an operand
  std::set<Value> kept_, early_, seen_;
  bool simple_ = true;
};

}  // namespace

bool is_long_chain(const Node& node) {
  switch (node.op) {
    case Op::exp:
    case Op::expm1:
    case Op::sigmoid:
    case Op::tanh:
    case Op::gelu:
    case Op::silu:
    case Op::softplus:
    case Op::log:
    case Op::log1p:
    case Op::erf:
    case Op::normal_cdf:
    case Op::normal_pdf:
    case Op::sin:
    case Op::cos:
    case Op::pow: return node.types[0].dtype == DType::f32;
    default: return false;
  }
}

std::optional<std::vector<Value>> first_stage(const Graph& body, const Dims& domain,
                                              const std::vector<Value>& parts) {
  return Stages(body, domain).run(parts);
}

}  // namespace treadle
