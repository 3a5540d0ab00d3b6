#include "passes/fuse_pointwise.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/ops/attention.h"
#include "ir/strided_view.h"
#include "passes/cheap_ops.h"
#include "passes/graph_copy.h"
#include "passes/joined_biases.h"
#include "passes/row_reciprocals.h"
#include "passes/strided_products.h"

namespace treadle {
namespace {

enum class Role : std::uint8_t {
  outside,      // sources, products, scans, scatters
  view,         // stays a node of its own: a product reads it in place
  transparent,  // computed again wherever it is read
  kernel,       // a member of a cluster
  sunk,         // computed inside the one reduction or concat that reads it
};

bool is_reduction(Op op) { return op == Op::reduce_sum || op == Op::reduce_max; }

bool is_addressing(Op op) {
  return is_generated(op) || op == Op::slice || op == Op::transpose || op == Op::reshape ||
         op == Op::reverse || op == Op::pad || op == Op::gather || op == Op::windows;
}

constexpr int largest_repeated_cost = 2;
constexpr std::size_t largest_cluster = 160;
// Of more nodes, those that read other parts of the same value do not become a part.
constexpr std::size_t largest_for_parts = 4;

class Fuser {
 public:
  explicit Fuser(const Graph& graph) : graph_(graph) {}

  Graph run() {
    find_users();
    find_required();
    again_.assign(graph_.size(), false);
    const std::vector<Role> at_first = role_;
    do {
      role_ = at_first;
      units_.clear();
      assign_roles();
      sink();
      cluster();
      join_clusters();
    } while (find_stored_for_nothing());
    return emit();
  }

 private:
  // A cluster, or a node outside of clusters; numbered by `unit_of_`.
  struct Unit {
    std::vector<NodeId> members;
    bool cluster = false;
    Dims domain;
    Op reduction = Op::constant;  // of a cluster that is one reduction
    std::set<NodeId> reads;       // nodes whose memory it reads
  };
  struct Dependency {
    NodeId node = 0;
    bool identity = false;  // read at the index that is being computed
  };

  const Node& node(NodeId id) const { return graph_.node(id); }
  bool fusible(NodeId id) const {
    const Op op = node(id).op;
    return op_def(op).pointwise() || is_addressing(op) || is_reduction(op) || op == Op::concat ||
           op == Op::overlap_add;
  }

  void find_users() {
    live_ = live_nodes(graph_);
    users_ = live_users(graph_);
  }

  void find_required() {
    required_.assign(graph_.size(), false);
    role_.assign(graph_.size(), Role::outside);
    for (const Output& output : graph_.outputs()) required_[output.value.node] = true;
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (!live_[id] || fusible(id)) continue;
      for (std::size_t i = 0; i < node(id).operands.size(); ++i) require_operand(id, i);
    }
  }

  void require_operand(NodeId id, std::size_t i) {
    Value v = node(id).operands[i];
    if (is_attention(node(id).op)) {
      for (const Value base = read_by_attention(graph_, node(id), i); v != base;
           v = node(v.node).operands[0])
        role_[v.node] = Role::view;
    }
    if (is_product(node(id).op) && i < 2) {
      const auto view = product_view(graph_, node(id));
      const Value base = view ? (i == 0 ? view->a : view->b).base : v;
      if (!is_generated(node(base.node).op))
        for (; v != base; v = node(v.node).operands[0]) role_[v.node] = Role::view;
    }
    required_[v.node] = true;
  }

  // Read by slices, directly or through cheap arithmetic, and by nothing that
  // repeats elements.
  void find_sliced() {
    sliced_.assign(graph_.size(), false);
    for (auto id = static_cast<NodeId>(graph_.size()); id-- > 0;)
      if (live_[id] && fusible(id)) sliced_[id] = read_in_slices(id);
  }
  bool read_in_slices(NodeId id) const {
    bool slices = false;
    for (const NodeId user : users_[id]) {
      if (!fusible(user)) return false;
      const Op op = node(user).op;
      if (op == Op::slice || (!required_[user] && is_cheap(op) && sliced_[user]))
        slices = true;
      else if (is_addressing(op) || op == Op::concat)
        return false;
    }
    return slices;
  }

  // Read by several nodes, each at the index that it computes, and computed from one
  // value of its size, or a part of one: reading that instead costs no more, and nobody stores
  // this one.
  bool repeats_one_operand(NodeId id) const {
    int large = 0;
    for (const Value v : node(id).operands) {
      const Op op = node(v.node).op;
      if (is_generated(op)) continue;
      if (is_addressing(op) && op != Op::slice) return false;
      ++large;
    }
    return large == 1 && users_[id].size() > 1 && is_read_as_computed(id);
  }
  bool is_read_as_computed(NodeId id) const {
    return std::all_of(users_[id].begin(), users_[id].end(), [&](NodeId user) {
      const Op op = node(user).op;
      return op_def(op).pointwise() || is_reduction(op);
    });
  }

  // A kernel that reads the same may store, on its way, what another one alone reads, as a
  // forward one what a gradient reads. Where this follows cheaply from one value of its size
  // that is in memory anyway, and from smaller ones, the reader works it out from these. Are
  // there any?
  bool find_stored_for_nothing() {
    const std::vector<bool> stored = read_outside();
    const auto in_memory = [&](NodeId id) {
      return role_[id] == Role::outside || required_[id] || stored[id];
    };
    bool any = false;
    for (const Unit& unit : units_) {
      if (!unit.cluster || unit.reduction != Op::constant) continue;
      for (const NodeId id : unit.members) {
        if (!stored[id] || required_[id] || again_[id] || !is_cheap(node(id).op) ||
            cost_of(id) > largest_repeated_cost || !is_read_as_computed(id))
          continue;
        const Type& type = node(id).types[0];
        std::vector<Dependency> all;
        dependencies(id, true, all);
        std::set<NodeId> large;
        bool small = true;
        for (const Dependency& d : all) {
          const Type& read = graph_.type({d.node, 0});
          if (d.identity && read.dims == type.dims)
            large.insert(d.node);
          else
            small = small && read.rank() < type.rank() && in_memory(d.node);
        }
        if (!small || large.size() != 1 || !in_memory(*large.begin()) ||
            size_of(graph_.type({*large.begin(), 0}).dtype) > size_of(type.dtype))
          continue;
        again_[id] = any = true;
      }
    }
    return any;
  }
  int cost_of(NodeId id) const {
    int sum = 1;
    for (const Value v : node(id).operands) sum += cost_[v.node];
    return sum;
  }
  std::vector<bool> read_outside() const {
    std::vector<bool> out(graph_.size(), false);
    for (const Unit& unit : units_)
      for (const NodeId read : unit.reads) out[read] = true;
    return out;
  }

  void assign_roles() {
    find_sliced();
    cost_.assign(graph_.size(), 0);
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (!live_[id] || !fusible(id)) continue;
      const Op op = node(id).op;
      if (role_[id] == Role::view) {
        // A product reads it in place; others may read through it.
        if (required_[id]) role_[id] = Role::kernel;
        continue;
      }
      role_[id] = Role::kernel;
      if (is_addressing(op)) {
        if (!required_[id]) role_[id] = Role::transparent;
        continue;
      }
      if (!is_cheap(op) || required_[id] || !(sliced_[id] || again_[id] || repeats_one_operand(id)))
        continue;
      const int cost = cost_of(id);
      if (cost > largest_repeated_cost) continue;
      cost_[id] = cost;
      role_[id] = Role::transparent;
    }
  }

  void sink() {
    into_.assign(graph_.size(), UINT32_MAX);
    for (NodeId id = static_cast<NodeId>(graph_.size()); id-- > 0;) {
      if (role_[id] != Role::kernel || required_[id] || users_[id].empty()) continue;
      const bool pointwise = op_def(node(id).op).pointwise();
      NodeId target = UINT32_MAX;
      bool one = true;
      for (const NodeId user : users_[id]) {
        NodeId next = UINT32_MAX;
        if (role_[user] == Role::sunk && pointwise && op_def(node(user).op).pointwise())
          next = into_[user];
        else if (role_[user] == Role::kernel && pointwise && is_reduction(node(user).op))
          next = user;
        else if (node(id).op == Op::concat && node(user).op == Op::concat &&
                 node(id).attributes.integer("axis") == node(user).attributes.integer("axis") &&
                 users_[id].size() == 1)
          next = role_[user] == Role::sunk ? into_[user] : user;
        one = one && next != UINT32_MAX && (target == UINT32_MAX || next == target);
        target = next;
      }
      if (!one) continue;
      role_[id] = Role::sunk;
      into_[id] = target;
    }
  }

  // The parts of a concat, those of the ones sunk into it included.
  void parts_of(NodeId id, std::vector<Value>& parts) const {
    for (const Value v : node(id).operands) {
      if (role_[v.node] == Role::sunk && node(v.node).op == Op::concat)
        parts_of(v.node, parts);
      else
        parts.push_back(v);
    }
  }

  // Equal parts are written each to its place by a kernel over one part.
  bool equal_parts(NodeId id, Dims* dims) const {
    std::vector<Value> parts;
    parts_of(id, parts);
    for (const Value v : parts)
      if (graph_.type(v).dims != graph_.type(parts[0]).dims) return false;
    *dims = graph_.type(parts[0]).dims;
    return true;
  }

  Dims domain_of(NodeId id) const {
    const Node& n = node(id);
    if (is_reduction(n.op)) return graph_.type(n.operands[0]).dims;
    Dims out = n.types[0].dims;
    if (n.op == Op::concat) equal_parts(id, &out);
    return out;
  }

  // Whoever reads it in a kernel has its own copy of the node.
  bool computed_again(NodeId id) const {
    const Role role = role_[id];
    return role == Role::transparent || role == Role::sunk || role == Role::view ||
           (role == Role::kernel && is_generated(node(id).op));
  }

  void dependencies(NodeId id, bool identity, std::vector<Dependency>& out) const {
    const Node& n = node(id);
    Dims part;
    if (is_addressing(n.op) || n.op == Op::overlap_add) identity = false;
    if (n.op == Op::concat && !equal_parts(id, &part)) identity = false;
    const bool fused = role_[id] != Role::outside && role_[id] != Role::view;
    for (const Value v : n.operands) {
      if (fused && computed_again(v.node))
        dependencies(v.node, identity, out);
      else
        out.push_back({v.node, identity});
    }
  }

  // Is `target` reached from what the unit reads, other than directly?
  bool reaches(const std::set<NodeId>& reads, std::size_t target) const {
    std::vector<std::size_t> open;
    std::vector<bool> seen(units_.size(), false);
    for (const NodeId id : reads)
      if (unit_of_[id] != target) open.push_back(unit_of_[id]);
    while (!open.empty()) {
      const std::size_t unit = open.back();
      open.pop_back();
      if (unit == target) return true;
      if (seen[unit]) continue;
      seen[unit] = true;
      for (const NodeId id : units_[unit].reads) open.push_back(unit_of_[id]);
    }
    return false;
  }

  bool may_join(const std::vector<Dependency>& dependencies, const std::set<NodeId>& reads,
                std::size_t unit) const {
    const bool crosswise =
        std::any_of(dependencies.begin(), dependencies.end(),
                    [&](const Dependency& d) { return unit_of_[d.node] == unit && !d.identity; });
    return !crosswise && units_[unit].members.size() < largest_cluster && !reaches(reads, unit);
  }

  std::size_t find_cluster(NodeId id, const std::vector<Dependency>& dependencies,
                           const std::set<NodeId>& reads) const {
    if (is_reduction(node(id).op)) return units_.size();
    const Dims domain = domain_of(id);
    const auto fits = [&](std::size_t unit) {
      return units_[unit].cluster && units_[unit].reduction == Op::constant &&
             units_[unit].domain == domain && may_join(dependencies, reads, unit);
    };
    for (auto d = dependencies.rbegin(); d != dependencies.rend(); ++d)
      if (d->identity && fits(unit_of_[d->node])) return unit_of_[d->node];
    for (std::size_t unit = units_.size(); unit-- > 0;) {
      const bool small = units_[unit].members.size() < largest_for_parts;
      const std::set<NodeId>& theirs = units_[unit].reads;
      const auto shared = [&](const Dependency& d) {
        return (small || d.identity) && theirs.contains(d.node) &&
               graph_.type({d.node, 0}).rank() > 0;
      };
      const bool share =
          domain.empty() || std::any_of(dependencies.begin(), dependencies.end(), shared);
      if (share && fits(unit)) return unit;
    }
    return units_.size();
  }

  void cluster() {
    unit_of_.assign(graph_.size(), SIZE_MAX);
    for (NodeId id = 0; id < graph_.size(); ++id) {
      if (!live_[id] || role_[id] == Role::transparent || role_[id] == Role::sunk) continue;
      std::vector<Dependency> dependencies;
      this->dependencies(id, true, dependencies);
      std::set<NodeId> reads;
      for (const Dependency& d : dependencies) reads.insert(d.node);
      const bool member = role_[id] == Role::kernel;
      std::size_t unit = member ? find_cluster(id, dependencies, reads) : units_.size();
      if (unit == units_.size()) {
        units_.emplace_back();
        units_[unit].cluster = member;
        if (member) units_[unit].domain = domain_of(id);
        if (member && is_reduction(node(id).op)) units_[unit].reduction = node(id).op;
      }
      unit_of_[id] = unit;
      units_[unit].members.push_back(id);
      for (const NodeId read : reads)
        if (unit_of_[read] != unit) units_[unit].reads.insert(read);
    }
  }

  // A cluster that another one reads only at the index that it computes becomes a
  // part of it: a node joins one of the clusters that it reads, and there may be two.
  void join_clusters() {
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
      for (bool joined = true; joined;) {
        joined = false;
        for (const NodeId read : units_[unit].reads) {
          if (!can_join(unit_of_[read], unit)) continue;
          join(unit_of_[read], unit);
          joined = true;
          break;
        }
      }
    }
    std::vector<Unit> left;
    for (Unit& unit : units_) {
      if (unit.members.empty()) continue;
      for (const NodeId id : unit.members) unit_of_[id] = left.size();
      left.push_back(std::move(unit));
    }
    units_ = std::move(left);
  }

  bool can_join(std::size_t from, std::size_t unit) const {
    const Unit &a = units_[from], &b = units_[unit];
    const auto joins = [](const Unit& u) { return u.cluster && u.reduction == Op::constant; };
    if (!joins(a) || !joins(b) || a.domain != b.domain ||
        a.members.size() + b.members.size() > largest_cluster)
      return false;
    for (const NodeId id : b.members) {
      std::vector<Dependency> dependencies;
      this->dependencies(id, true, dependencies);
      for (const Dependency& d : dependencies)
        if (unit_of_[d.node] == from && !d.identity) return false;
    }
    return !reaches(b.reads, from);
  }

  void join(std::size_t from, std::size_t unit) {
    Unit &a = units_[from], &b = units_[unit];
    for (const NodeId id : a.members) unit_of_[id] = unit;
    b.members.insert(b.members.end(), a.members.begin(), a.members.end());
    std::sort(b.members.begin(), b.members.end());
    b.reads.insert(a.reads.begin(), a.reads.end());
    for (const NodeId id : b.members) b.reads.erase(id);
    a = {};
  }

  std::vector<std::size_t> unit_order() const {
    std::vector<std::size_t> waiting(units_.size(), 0);
    std::vector<std::set<std::size_t>> after(units_.size());
    for (std::size_t unit = 0; unit < units_.size(); ++unit)
      for (const NodeId read : units_[unit].reads)
        if (after[unit_of_[read]].insert(unit).second) ++waiting[unit];
    using Entry = std::pair<NodeId, std::size_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    const auto push = [&](std::size_t unit) { ready.emplace(units_[unit].members.front(), unit); };
    for (std::size_t unit = 0; unit < units_.size(); ++unit)
      if (waiting[unit] == 0) push(unit);
    std::vector<std::size_t> order;
    while (!ready.empty()) {
      const std::size_t unit = ready.top().second;
      ready.pop();
      order.push_back(unit);
      for (const std::size_t next : after[unit])
        if (--waiting[next] == 0) push(next);
    }
    ensure(order.size() == units_.size(), "fuse-pointwise", "clusters depend on each other");
    return order;
  }

  // ---- the new graph ----

  struct Body {
    Graph graph;
    Builder b{graph};
    std::map<Value, Value> known;
    std::vector<Value> operands;  // outside
  };

  Value inside(Body& body, Value v, std::size_t unit) const {
    if (const auto found = body.known.find(v); found != body.known.end()) return found->second;
    const bool own =
        computed_again(v.node) || (role_[v.node] == Role::kernel && unit_of_[v.node] == unit);
    Value out;
    if (own) {
      std::vector<Value> operands;
      for (const Value operand : node(v.node).operands)
        operands.push_back(inside(body, operand, unit));
      out = body.b.clone(node(v.node), std::move(operands));
    } else {
      out = body.b.argument(graph_.type(v));
      body.operands.push_back(v);
    }
    body.known[v] = out;
    return out;
  }

  void emit_cluster(Builder& b, std::size_t unit, const std::vector<bool>& stored,
                    ValueMap& map) const {
    Body body;
    std::vector<NodeId> results;
    for (const NodeId id : units_[unit].members)
      if (required_[id] || stored[id]) results.push_back(id);
    if (results.empty()) return;
    for (const NodeId id : results) body.graph.add_output("", inside(body, {id, 0}, unit));
    std::vector<Value> operands;
    for (const Value v : body.operands) operands.push_back(map[v]);
    const LocationScope scope(b, node(results.front()).location);
    const Value fused =
        b.add_node(Op::fused, std::move(operands), {{"domain", units_[unit].domain}},
                   {std::make_shared<const Graph>(std::move(body.graph))});
    for (std::uint32_t i = 0; i < results.size(); ++i) map.set({results[i], 0}, {fused.node, i});
  }

  void emit_outside(Builder& b, NodeId id, ValueMap& map) const {
    if (node(id).op == Op::scan)
      copy_node(b, with_regions(node(id), treadle::fuse_pointwise), id, map);
    else
      copy_node(b, graph_, id, map);
  }

  Graph emit() const {
    const std::vector<bool> stored = read_outside();
    Graph out;
    out.name = graph_.name;
    out.stage = std::max(graph_.stage, Stage::optimised);
    Builder b(out);
    ValueMap map(graph_);
    // Sources keep their order.
    for (const NodeId id : graph_.inputs()) copy_node(b, graph_, id, map);
    for (const std::size_t unit : unit_order()) {
      if (units_[unit].cluster) {
        emit_cluster(b, unit, stored, map);
        continue;
      }
      const NodeId id = units_[unit].members.front();
      if (!map.has({id, 0})) emit_outside(b, id, map);
    }
    for (const Output& output : graph_.outputs()) out.add_output(output.name, map[output.value]);
    return out;
  }

  const Graph& graph_;
  std::vector<bool> live_, required_, sliced_;
  std::vector<bool> again_;  // transparent, since it was stored for nothing
  std::vector<int> cost_;    // of working it out again, where it is transparent
  std::vector<std::vector<NodeId>> users_;
  std::vector<Role> role_;
  std::vector<NodeId> into_;
  std::vector<std::size_t> unit_of_;
  std::vector<Unit> units_;
};

}  // namespace

Graph fuse_pointwise(const Graph& graph) {
  const Graph strided = with_strided_products(with_row_reciprocals(with_joined_biases(graph)));
  return Fuser(strided).run();
}

}  // namespace treadle
