#include "passes/fuse_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "ir/op_def.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// Why a softmax stays as it is.
struct Refusal {
  std::string why;
};
[[noreturn]] void refuse(std::string why) { throw Refusal{std::move(why)}; }

// A value as a stack of matrices: its axes in the order batch..., row, column.
struct Matrix {
  Value base;
  Integers axes;
  friend bool operator==(const Matrix&, const Matrix&) = default;
};

// A product that reads the matrix of weights, or of its gradient, and is
// replaced: its result is [batch..., row, column], or `turned`.
struct Exit {
  NodeId node = UINT32_MAX;
  bool turned = false;
  bool found() const { return node != UINT32_MAX; }
};

struct Match {
  NodeId softmax = 0;
  Dims domain;
  NodeId product = 0;  // q kᵀ
  Matrix q, k, v, dy;
  Value scores, weights, d_weight, d_score;
  Exit result, dq, dk, dv;
  NodeId d_weights = 0, d_scores = 0;
  bool gradient = false;
  NodeId first_gradient() const { return std::min({dq.node, dk.node, dv.node}); }
};

bool is_addressing(Op op) {
  switch (op) {
    case Op::constant:
    case Op::iota:
    case Op::dimension:
    case Op::broadcast:
    case Op::slice:
    case Op::transpose:
    case Op::reshape:
    case Op::reverse:
    case Op::pad:
    case Op::concat:
    case Op::gather: return true;
    default: return false;
  }
}

Integers ascending(std::size_t count) {
  Integers out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

Integers without(const Integers& axes, std::size_t rank) {
  Integers out;
  for (const std::int64_t axis : ascending(rank))
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) out.push_back(axis);
  return out;
}

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph), users_(graph.size()) {
    const std::vector<bool> live = live_nodes(graph);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live[id])
        for (const Value v : graph.node(id).operands) users_[v.node].push_back(id);
    for (const Output& output : graph.outputs()) outputs_.insert(output.value.node);
  }

  // Throws Refusal.
  Match match(NodeId softmax) {
    Match m;
    m.softmax = softmax;
    const Node& node = this->node(softmax);
    m.domain = domain_ = node.types[0].dims;
    m.scores = node.operands[0];
    const std::size_t rank = domain_.size();
    if (rank < 2 || node.attributes.integer("axis") != static_cast<std::int64_t>(rank) - 1)
      refuse("it does not run along the rows of a product");
    if (domain_[rank - 2].constant() == 1) refuse("one row of queries has no matrix of weights");
    if (outputs_.contains(softmax)) refuse("the weights are an output");
    m.product = find_product(m.scores, softmax);
    m.q = operand(m.product, 0);
    m.k = operand(m.product, 1);
    backward_core(m);
    readers_of_weights(m);
    readers_of_scores(m);
    if (!m.result.found()) refuse("no product reads the weights");
    if (m.gradient) check_gradient(m);
    return m;
  }

 private:
  using Nodes = std::set<NodeId>;
  const Node& node(NodeId id) const { return graph_.node(id); }
  bool pointwise_here(NodeId id) const {
    return op_def(node(id).op).pointwise() && node(id).types[0].dims == domain_;
  }

  // The node and all that is pointwise in it.
  Nodes pointwise_in(NodeId from) const {
    Nodes out{from};
    std::vector<NodeId> open{from};
    while (!open.empty()) {
      const NodeId id = open.back();
      open.pop_back();
      for (const NodeId user : users_[id])
        if (pointwise_here(user) && out.insert(user).second) open.push_back(user);
    }
    return out;
  }

  // The one product of two matrices in which `v` is pointwise.
  NodeId find_product(Value v, NodeId stop) const {
    Nodes seen, products;
    std::vector<NodeId> open{v.node};
    while (!open.empty()) {
      const NodeId id = open.back();
      open.pop_back();
      if (id == stop || !seen.insert(id).second) continue;
      if (node(id).op == Op::matmul && node(id).types[0].dims == domain_) products.insert(id);
      if (pointwise_here(id))
        for (const Value operand : node(id).operands) open.push_back(operand.node);
    }
    if (products.empty()) refuse("it is not pointwise in a product");
    if (products.size() > 1) refuse("it depends on several products");
    return *products.begin();
  }

  Matrix looked_through(Value v, Integers axes) const {
    while (node(v.node).op == Op::transpose) {
      const Integers& permutation = node(v.node).attributes.integers("permutation");
      for (std::int64_t& axis : axes) axis = permutation[static_cast<std::size_t>(axis)];
      v = node(v.node).operands[0];
    }
    return {v, std::move(axes)};
  }

  // Operand i of a product whose result is the domain, [batch..., row, contracted].
  Matrix operand(NodeId product, std::size_t i) const {
    const Node& matmul = node(product);
    const Integers& batch = matmul.attributes.integers(i == 0 ? "batch_a" : "batch_b");
    const Integers& contract = matmul.attributes.integers(i == 0 ? "contract_a" : "contract_b");
    const Value v = matmul.operands[i];
    Integers axes = batch;
    axes.insert(axes.end(), contract.begin(), contract.end());
    const Integers free = without(axes, graph_.type(v).rank());
    if (batch.size() + 2 != domain_.size() || contract.size() != 1 || free.size() != 1)
      refuse("its product is not one of matrices with rows, columns and a common batch");
    axes = batch;
    axes.push_back(free[0]);
    axes.push_back(contract[0]);
    return looked_through(v, std::move(axes));
  }

  // A product with the matrix `v` of the domain, contracted along its last axis
  // or the one before; `other` is the other operand, [batch..., contracted, free].
  struct Reader {
    Exit exit;
    bool along_keys = false;
    Matrix other;
  };
  std::optional<Reader> reader(NodeId id, NodeId v) const {
    const Node& matmul = node(id);
    if (matmul.op != Op::matmul) return std::nullopt;
    const std::size_t mine = matmul.operands[0].node == v ? 0 : 1;
    if (matmul.operands[1 - mine].node == v) return std::nullopt;
    const auto list = [&](const char* name, std::size_t i) {
      return matmul.attributes.integers(std::string(name) + (i == 0 ? "_a" : "_b"));
    };
    const Integers contract = list("contract", mine), theirs = list("contract", 1 - mine);
    Integers axes = list("batch", 1 - mine);
    if (list("batch", mine) != ascending(domain_.size() - 2) || contract.size() != 1)
      return std::nullopt;
    axes.push_back(theirs[0]);
    const Value other = matmul.operands[1 - mine];
    const Integers free = without(axes, graph_.type(other).rank());
    if (free.size() != 1) return std::nullopt;
    axes.push_back(free[0]);
    const bool along_keys = contract[0] == static_cast<std::int64_t>(domain_.size()) - 1;
    return Reader{{id, mine == 1}, along_keys, looked_through(other, std::move(axes))};
  }

  NodeId only_user(NodeId id, Op op) const {
    if (users_[id].size() != 1 || outputs_.contains(id) || node(users_[id][0]).op != op)
      refuse("its gradient has not the form that softmax gives it");
    return users_[id][0];
  }

  Value other_factor(NodeId id, NodeId one) const {
    const std::vector<Value>& x = node(id).operands;
    if (node(id).op != Op::mul || (x[0].node != one && x[1].node != one))
      refuse("its gradient has not the form that softmax gives it");
    return x[0].node == one ? x[1] : x[0];
  }

  // d_scores = p * (d_weight - sum(p * d_weight)), if it is there.
  void backward_core(Match& m) {
    from_weights_ = pointwise_in(m.softmax);
    std::vector<NodeId> sums;
    const Integers last{static_cast<std::int64_t>(domain_.size()) - 1};
    for (const NodeId id : from_weights_)
      for (const NodeId user : users_[id])
        if (node(user).op == Op::reduce_sum && node(user).attributes.integers("axes") == last)
          sums.push_back(user);
    if (sums.empty()) return;
    if (sums.size() > 1) refuse("several sums over its rows are taken");
    m.gradient = true;
    weighted_ = node(sums[0]).operands[0].node;
    m.d_weight = other_factor(weighted_, m.softmax);
    only_user(weighted_, Op::reduce_sum);
    const NodeId spread = only_user(sums[0], Op::broadcast);
    difference_ = only_user(spread, Op::sub);
    if (node(difference_).operands != std::vector<Value>{m.d_weight, {spread, 0}})
      refuse("its gradient has not the form that softmax gives it");
    m.d_scores = only_user(difference_, Op::mul);
    if (other_factor(m.d_scores, m.softmax) != Value{difference_, 0})
      refuse("its gradient has not the form that softmax gives it");
    m.d_weights = find_product(m.d_weight, m.softmax);
    from_scores_gradient_ = pointwise_in(m.d_scores);
    from_d_weights_ = pointwise_in(m.d_weights);
  }

  void note(Exit& exit, Value& read, const Reader& found, NodeId v, const char* what) const {
    if (exit.found()) refuse(fmt::format("several products need {}", what));
    if (read.valid() && read.node != v) refuse("its products read different matrices");
    exit = found.exit;
    read = {v, 0};
  }

  [[noreturn]] void refuse_reader(const char* what, NodeId user) const {
    const std::string place = to_string(node(user).location);
    refuse(fmt::format("{} read by {}{}", what, to_string(node(user).op),
                       place.empty() ? "" : " at " + place));
  }

  void readers_of_weights(Match& m) {
    for (const NodeId id : from_weights_) {
      const bool of_gradient = from_scores_gradient_.contains(id);
      if (outputs_.contains(id))
        refuse(of_gradient ? "the gradient of the scores is an output"
                           : "the weights are an output");
      if (id == weighted_ || (from_d_weights_.contains(id) && !of_gradient)) continue;
      for (const NodeId user : users_[id]) {
        if (from_weights_.contains(user)) continue;
        const auto found = reader(user, id);
        if (!found)
          refuse_reader(of_gradient ? "the gradient of the scores is" : "the weights are", user);
        if (of_gradient && found->along_keys) {
          note(m.dq, m.d_score, *found, id, "the gradient by q");
          if (found->other != m.k) refuse("its gradient reads other keys");
        } else if (of_gradient) {
          note(m.dk, m.d_score, *found, id, "the gradient by k");
          if (found->other != m.q) refuse("its gradient reads other queries");
        } else if (found->along_keys) {
          note(m.result, m.weights, *found, id, "the weights");
          m.v = found->other;
        } else {
          note(m.dv, m.weights, *found, id, "the gradient by v");
          m.dy = found->other;
        }
      }
    }
  }

  void readers_of_scores(const Match& m) const {
    for (const NodeId id : pointwise_in(m.product)) {
      if (outputs_.contains(id)) refuse("the scores are an output");
      for (const NodeId user : users_[id])
        if (user != m.softmax && !pointwise_here(user) && !from_weights_.contains(id))
          refuse_reader("the scores are", user);
    }
  }

  void check_gradient(Match& m) const {
    const Matrix dy = operand(m.d_weights, 0);
    if (m.dv.found() && m.dy != dy) refuse("its gradient reads other results");
    m.dy = dy;
    if (operand(m.d_weights, 1) != m.v) refuse("its gradient reads other values");
    if (!m.d_score.valid()) refuse("no product reads the gradient of the scores");
    for (const NodeId id : from_d_weights_) {
      if (id == weighted_ || id == difference_ || from_scores_gradient_.contains(id)) continue;
      for (const NodeId user : users_[id])
        if (!from_d_weights_.contains(user)) refuse_reader("the gradient of the weights is", user);
    }
    for (const NodeId id :
         {m.q.base.node, m.k.base.node, m.v.base.node, m.dy.base.node, m.result.node})
      if (id >= m.first_gradient()) refuse("its gradient stands in front of what it needs");
  }

  const Graph& graph_;
  std::vector<std::vector<NodeId>> users_;
  Nodes outputs_;
  Dims domain_;
  Nodes from_weights_, from_scores_gradient_, from_d_weights_;
  NodeId weighted_ = UINT32_MAX, difference_ = UINT32_MAX;
};

// The region of a fused node.
class TileRegion {
 public:
  TileRegion(const Graph& graph, const Dims& domain) : graph_(graph), domain_(domain) {}

  void bind(Value v) {
    known_[v] = b_.argument(graph_.type(v));
    bound_.push_back(known_[v]);
  }
  void output(Value v) { body_.add_output("", inside(v)); }

  // All that depends on the bound values is pointwise, on the domain.
  void check() const {
    const std::vector<bool> reached = reached_from(body_, bound_);
    for (NodeId id = 0; id < body_.size(); ++id) {
      const Node& node = body_.node(id);
      if (reached[id] && node.op != Op::argument &&
          (!op_def(node.op).pointwise() || node.types[0].dims != domain_))
        refuse("what is done to the scores is not pointwise");
    }
  }

  // Is output i a multiple of bound value k, by what does not depend on it?
  bool linear(std::size_t i, std::size_t k) const {
    enum class Kind : std::uint8_t { other, independent, zero, linear };
    const std::vector<bool> reached = reached_from(body_, {bound_[k]});
    std::vector<Kind> kinds(body_.size(), Kind::independent);
    for (NodeId id = 0; id < body_.size(); ++id) {
      const Node& node = body_.node(id);
      const auto kind = [&](std::size_t x) { return kinds[node.operands[x].node]; };
      const auto scales = [&](std::size_t x) {
        return kind(x) == Kind::linear || kind(x) == Kind::zero;
      };
      const auto free = [&](std::size_t x) {
        return kind(x) == Kind::independent || kind(x) == Kind::zero;
      };
      if (!reached[id]) {
        if (node.op == Op::constant) {
          const Tensor& value = node.attributes.tensor("value");
          if (value.size() == 1 && value.get(0) == 0) kinds[id] = Kind::zero;
        } else if (node.op == Op::broadcast) {
          kinds[id] = kind(0);
        }
        continue;
      }
      bool is = false;
      switch (node.op) {
        case Op::argument: is = true; break;
        case Op::mul: is = (scales(0) && free(1)) || (free(0) && scales(1)); break;
        case Op::div: is = scales(0) && free(1); break;
        case Op::add:
        case Op::sub: is = scales(0) && scales(1); break;
        case Op::select: is = free(0) && scales(1) && scales(2); break;
        case Op::neg: is = scales(0); break;
        default: break;
      }
      kinds[id] = is ? Kind::linear : Kind::other;
    }
    return kinds[body_.outputs()[i].value.node] == Kind::linear;
  }

  const std::vector<Value>& more() const { return more_; }
  Region take() { return std::make_shared<const Graph>(std::move(body_)); }

 private:
  // As large as the matrix, in whatever shape.
  bool large(const Type& type) const {
    return type.count().exact_div(domain_[domain_.size() - 2] * domain_.back()).has_value();
  }

  // Computed in the tile: what would be as large as the matrix, and of the rest
  // what costs nothing, conditions among it, so that a tile can be judged by
  // them.
  bool pulled(Value v) const {
    const Node& node = graph_.node(v.node);
    const bool computable = op_def(node.op).pointwise() || is_addressing(node.op);
    if (!computable) return false;
    if (node.op == Op::constant || node.op == Op::iota || node.op == Op::dimension) return true;
    return large(graph_.type(v)) || !is_float(graph_.type(v).dtype);
  }

  Value inside(Value v) {
    if (const auto found = known_.find(v); found != known_.end()) return found->second;
    Value out;
    if (pulled(v)) {
      std::vector<Value> operands;
      for (const Value operand : graph_.node(v.node).operands) operands.push_back(inside(operand));
      out = b_.clone(graph_.node(v.node), std::move(operands));
    } else {
      out = b_.argument(graph_.type(v));
      more_.push_back(v);
    }
    return known_[v] = out;
  }

  const Graph& graph_;
  const Dims& domain_;
  Graph body_;
  Builder b_{body_};
  std::map<Value, Value> known_;
  std::vector<Value> bound_, more_;
};

// A match with its regions.
struct Fusion {
  Match match;
  Region forward, gradient;
  std::vector<Value> forward_more, gradient_more;
  Value result, lse;  // in the new graph
};

Fusion fusion_of(const Graph& graph, const Match& m) {
  Fusion out;
  out.match = m;
  TileRegion forward(graph, m.domain);
  forward.bind({m.product, 0});
  forward.bind({m.softmax, 0});
  forward.output(m.scores);
  forward.output(m.weights);
  forward.check();
  if (!forward.linear(1, 1)) refuse("what is done to the weights is not linear");
  out.forward_more = forward.more();
  out.forward = forward.take();
  if (!m.gradient) return out;
  TileRegion gradient(graph, m.domain);
  for (const NodeId id : {m.product, m.softmax, m.d_weights, m.d_scores}) gradient.bind({id, 0});
  for (const Value v : {m.scores, m.weights, m.d_weight, m.d_score}) gradient.output(v);
  gradient.check();
  if (!gradient.linear(3, 3)) refuse("the gradient of the scores is not linear");
  out.gradient_more = gradient.more();
  for (const Value v : out.gradient_more)
    if (v.node >= m.first_gradient()) refuse("its gradient stands in front of what it needs");
  out.gradient = gradient.take();
  return out;
}

class Rewriter {
 public:
  Rewriter(const Graph& graph, std::vector<AttentionReport>* reports)
      : graph_(graph), reports_(reports) {}

  Graph run() {
    find();
    Graph out = copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      const auto role = roles_.find(id);
      if (role == roles_.end()) return region(b, id, map);
      Fusion& fusion = fusions_[role->second];
      const LocationScope scope(b, graph_.node(id).location);
      if (id == fusion.match.result.node)
        emit_forward(b, fusion, map);
      else if (id == fusion.match.first_gradient())
        emit_gradient(b, fusion, map);
      return true;
    });
    return fusions_.empty() ? out : without_dead_nodes(out);
  }

 private:
  void find() {
    const std::vector<bool> live = live_nodes(graph_);
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (!live[id] || graph_.node(id).op != Op::softmax) continue;
      AttentionReport report{graph_.node(id).location, false, {}};
      try {
        Fusion fusion = fusion_of(graph_, Matcher(graph_).match(id));
        const Match& m = fusion.match;
        for (const Exit& exit : {m.result, m.dq, m.dk, m.dv})
          if (exit.found()) roles_[exit.node] = fusions_.size();
        report.fused = true;
        report.text = m.gradient ? "forward and backward" : "forward";
        fusions_.push_back(std::move(fusion));
      } catch (const Refusal& refusal) {
        report.text = refusal.why;
      }
      if (reports_ != nullptr) reports_->push_back(std::move(report));
    }
  }

  bool region(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    if (node.op != Op::scan) return false;
    const auto fuse = [&](const Graph& body) { return fuse_attention(body, reports_); };
    copy_node(b, with_regions(node, fuse), id, map);
    return true;
  }

  static Value operand(Builder& b, const Matrix& matrix, const ValueMap& map) {
    const Value v = map[matrix.base];
    return matrix.axes == ascending(matrix.axes.size()) ? v : b.transpose(v, matrix.axes);
  }

  static void set(Builder& b, const Exit& exit, Value v, ValueMap& map) {
    if (!exit.found()) return;
    if (exit.turned) {
      Integers swapped = ascending(b.type(v).rank());
      std::swap(swapped[swapped.size() - 1], swapped[swapped.size() - 2]);
      v = b.transpose(v, swapped);
    }
    map.set({exit.node, 0}, v);
  }

  static void emit_forward(Builder& b, Fusion& fusion, ValueMap& map) {
    const Match& m = fusion.match;
    std::vector<Value> operands{operand(b, m.q, map), operand(b, m.k, map), operand(b, m.v, map)};
    for (const Value v : fusion.forward_more) operands.push_back(map[v]);
    fusion.result = b.add_node(Op::attention, std::move(operands), {}, {fusion.forward});
    fusion.lse = {fusion.result.node, 1};
    set(b, m.result, fusion.result, map);
  }

  static void emit_gradient(Builder& b, const Fusion& fusion, ValueMap& map) {
    const Match& m = fusion.match;
    std::vector<Value> operands{operand(b, m.q, map),  operand(b, m.k, map), operand(b, m.v, map),
                                operand(b, m.dy, map), fusion.result,        fusion.lse};
    for (const Value v : fusion.gradient_more) operands.push_back(map[v]);
    const Value dq = b.add_node(Op::attention_gradient, std::move(operands), {}, {fusion.gradient});
    set(b, m.dq, dq, map);
    set(b, m.dk, {dq.node, 1}, map);
    set(b, m.dv, {dq.node, 2}, map);
  }

  const Graph& graph_;
  std::vector<AttentionReport>* reports_;
  std::vector<Fusion> fusions_;
  std::map<NodeId, std::size_t> roles_;
};

}  // namespace

Graph fuse_attention(const Graph& graph, std::vector<AttentionReport>* reports) {
  return Rewriter(graph, reports).run();
}

}  // namespace treadle
