#include "passes/batch_ragged.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "ir/diagnostic.h"
#include "passes/graph_copy.h"
#include "passes/hoist_scan.h"
#include "passes/prune_scans.h"
#include "passes/ragged_inputs.h"
#include "passes/ragged_plan.h"
#include "passes/substitute_dims.h"

namespace treadle {
namespace {

Integers ascending(std::size_t count, std::int64_t first) {
  Integers out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(first + static_cast<std::int64_t>(i));
  return out;
}

Dims without_first(const Dims& dims) { return {dims.begin() + 1, dims.end()}; }
Dims with_first(const Dim& first, const Dims& rest) {
  Dims out{first};
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

class RaggedBatcher {
 public:
  RaggedBatcher(const Graph& graph, Graph& out, const Dim& size)
      : graph_(graph),
        size_(size),
        b_(out),
        plan_(plan_ragged(graph)),
        inputs_(b_, size, ragged_symbols(graph).front()),
        map_(graph) {}

  void run() {
    for (const NodeId id : graph_.inputs())
      if (has_ragged(graph_.node(id).types[0].dims) && !is_rows(graph_.node(id).types[0]))
        refuse(graph_.node(id));
    // It gives the batch's size its value, which no other input need mention.
    inputs_.lengths(Dim::symbol(ragged_symbols(graph_).front(), true));
    for (NodeId id = 0; id < graph_.size(); ++id) emit(id);
    for (const Output& output : graph_.outputs()) {
      ensure(map_.has(output.value), "batch",
             "the output '" + output.name + "' is no row of a batch");
      b_.output(output.name, map_[output.value]);
    }
  }

 private:
  const Type& type(Value v) const { return graph_.type(v); }
  bool batched(Value v) const { return plan_.batched[v.node]; }
  Value at(Value v) const { return map_[v]; }

  // ---- the order of nodes ----

  // A loop over the examples stands where the first of its nodes did, behind
  // everything that it reads.
  void emit(NodeId id) {
    if (done(id)) return;
    const int group = plan_.group[id];
    if (group < 0) {
      for (const Value v : graph_.node(id).operands) emit(v.node);
      const LocationScope scope(b_, graph_.node(id).location);
      in_rows(id);
      return;
    }
    const std::vector<NodeId>& nodes = plan_.groups[static_cast<std::size_t>(group)];
    for (const NodeId member : nodes)
      for (const Value v : graph_.node(member).operands)
        if (plan_.group[v.node] != group) emit(v.node);
    const LocationScope scope(b_, graph_.node(nodes.front()).location);
    example_by_example(nodes, group);
    emitted_.insert(group);
  }
  bool done(NodeId id) const {
    if (plan_.group[id] >= 0) return emitted_.contains(plan_.group[id]);
    return map_.has({id, 0}) || graph_.node(id).types.empty();
  }

  // ---- one node on all rows ----

  void set(NodeId id, const std::vector<Value>& values) {
    for (std::uint32_t i = 0; i < values.size(); ++i) map_.set({id, i}, values[i]);
  }

  void in_rows(NodeId id) {
    const Node& n = graph_.node(id);
    if (n.op == Op::input || n.op == Op::parameter) return source(id);
    if (n.op == Op::dimension && n.attributes.dim("dim").is_ragged())
      return set(id, {b_.cast(inputs_.lengths(n.attributes.dim("dim")), n.types[0].dtype)});
    if (!plan_.batched[id]) {
      copy_node(b_, graph_, id, map_);
      return;
    }
    bool rows = is_rows(n.types[0]);
    for (const Value v : n.operands) rows = rows || is_rows(type(v));
    if (!rows && n.op != Op::scan) {
      std::vector<bool> operands_batched;
      for (const Value v : n.operands) operands_batched.push_back(batched(v));
      return set(id, batch_node(b_, graph_, n, map_.all(n.operands), operands_batched, size_));
    }
    switch (n.op) {
      case Op::scan: return set(id, view_is_ragged(n) ? scan(n) : dense_scan(n));
      case Op::matmul: return set(id, {matmul(n)});
      case Op::broadcast: return set(id, {broadcast(n)});
      case Op::iota: return set(id, {iota(n)});
      case Op::reduce_sum:
      case Op::mean: return set(id, {reduce(n)});
      default: return set(id, same_node(n, map_.all(n.operands)));
    }
  }

  void source(NodeId id) {
    const Node& n = graph_.node(id);
    Type batched_type = n.types[0];
    if (is_rows(batched_type))
      batched_type.dims[0] = inputs_.rows(batched_type.dims[0]);
    else if (plan_.batched[id])
      batched_type.dims.insert(batched_type.dims.begin(), size_);
    set(id, {b_.source(n, batched_type)});
  }

  [[noreturn]] static void refuse(const Node& input) {
    Type one = input.types[0];
    for (Dim& dim : one.dims) dim = for_one_example(dim);
    throw_user_error(
        "T0520",
        fmt::format("'{}' is {}, and examples differ in more than the number of its rows",
                    input.attributes.string("name"), to_string(one)),
        "only the first dimension may differ between examples: real[T, 4]", input.location);
  }

  // The node under other operands; where it says what it makes, rows.
  std::vector<Value> same_node(const Node& n, std::vector<Value> operands) {
    Attributes attributes = n.attributes;
    if (attributes.has("dims")) attributes.set("dims", row_dims(attributes.dims("dims")));
    const Value first = b_.add_node(n.op, std::move(operands), std::move(attributes));
    std::vector<Value> out;
    for (std::uint32_t i = 0; i < n.types.size(); ++i) out.push_back({first.node, i});
    return out;
  }
  Dims row_dims(Dims dims) {
    if (!dims.empty() && dims[0].is_ragged()) dims[0] = inputs_.rows(dims[0]);
    return dims;
  }

  // A dense value once for each row of its example.
  Value for_each_row(Value dense, const Dim& e) { return b_.gather(dense, inputs_.examples(e)); }

  Value broadcast(const Node& n) {
    const Value x = n.operands[0];
    const Integers& axes = n.attributes.integers("axes");
    if (is_rows(type(x)) || !batched(x)) return same_node(n, {at(x)})[0];
    const Value rows = for_each_row(at(x), n.types[0].dims[0]);
    Integers with_rows{0};
    with_rows.insert(with_rows.end(), axes.begin(), axes.end());
    return b_.broadcast(rows, row_dims(n.types[0].dims), std::move(with_rows));
  }

  Value iota(const Node& n) {
    if (n.attributes.integer("axis") != 0) return same_node(n, {})[0];
    const Value times = b_.cast(inputs_.times(n.types[0].dims[0]), n.types[0].dtype);
    return b_.broadcast(times, row_dims(n.types[0].dims), {0});
  }

  Value matmul(const Node& n) {
    const Attributes& a = n.attributes;
    const Value x = n.operands[0], y = n.operands[1];
    switch (row_product(graph_, n, plan_.batched)) {
      case RowProduct::shared_times_rows:
        return b_.matmul(at(y), at(x), a.integers("contract_b"), a.integers("contract_a"));
      case RowProduct::vector_each: {
        const Dims dims = row_dims(type(y).dims);
        const std::int64_t axis = a.integers("contract_b")[0];
        const Value rows = for_each_row(at(x), type(y).dims[0]);
        const Value product = b_.mul(at(y), b_.broadcast(rows, dims, {0, axis}));
        return b_.reduce_sum(product, {axis});
      }
      case RowProduct::weighted_sum: {
        const bool weights_first = type(x).rank() == 1;
        const Value weights = weights_first ? x : y, rows = weights_first ? y : x;
        const Dims dims = row_dims(type(rows).dims);
        const Value wide = b_.broadcast(at(weights), dims, {0});
        return sum_of_rows(b_.mul(at(rows), wide), type(rows).dims[0]);
      }
      default: return same_node(n, {at(x), at(y)})[0];
    }
  }

  // [rows, ...] -> [B, ...]: each example's rows, added up from its first on.
  Value sum_of_rows(Value x, const Dim& e) {
    const Type zeros{b_.type(x).dtype, with_first(size_, without_first(b_.type(x).dims))};
    return b_.scatter_add(b_.constant(zeros, 0), inputs_.examples(e), x);
  }

  Value reduce(const Node& n) {
    const Integers& axes = n.attributes.integers("axes");
    const Value x = n.operands[0];
    if (std::find(axes.begin(), axes.end(), 0) == axes.end()) return same_node(n, {at(x)})[0];
    Integers others = axes;
    std::erase(others, 0);
    const Value in_row = others.empty() ? at(x) : b_.reduce_sum(at(x), others);
    const Value sum = sum_of_rows(in_row, type(x).dims[0]);
    if (n.op == Op::reduce_sum) return sum;
    Dim count(1);
    for (const std::int64_t axis : axes)
      count = count * type(x).dims[static_cast<std::size_t>(axis)];
    const Value number = b_.cast(inputs_.lengths(count.at_least(1)), n.types[0].dtype);
    return b_.div(sum, b_.broadcast(number, Dims(b_.type(sum).dims), {0}));
  }

  // ---- scans ----

  static bool view_is_ragged(const Node& n) { return n.attributes.dim("length").is_ragged(); }

  Value forced(Value v) {
    if (batched(v)) return at(v);
    const Dims dims = b_.type(at(v)).dims;
    return b_.broadcast(at(v), with_first(size_, dims), ascending(dims.size(), 1));
  }

  // All examples have the same steps. What a step sees whole is padded to the
  // longest example.
  std::vector<Value> dense_scan(Node n) {
    const ScanView view(n);
    const std::vector<Value> given = n.operands;
    std::vector<Value> operands;
    std::vector<bool> operands_batched;
    const auto operand = [&](Value v, bool differs) {
      operands.push_back(v);
      operands_batched.push_back(differs);
    };
    const std::size_t constants = view.constants;
    for (std::size_t i = 0; i < constants; ++i) operand(whole(given[i]), batched(given[i]));
    if (ragged_step(n)) {
      PaddedStep padded = *step_for_longest(n);
      for (const std::string& symbol : padded.symbols)
        operand(inputs_.lengths(Dim::symbol(symbol, true)), true);
      n.attributes.set("constants", static_cast<std::int64_t>(operands.size()));
      n.regions = {padded.body};
    }
    for (std::size_t i = constants; i < given.size(); ++i) operand(at(given[i]), batched(given[i]));
    return batch_node(b_, graph_, n, operands, operands_batched, size_);
  }

  // As a step sees it.
  Value whole(Value v) { return is_rows(type(v)) ? inputs_.padded(at(v), type(v).dims[0]) : at(v); }

  // Step t runs the examples that are longer than t, the first ones. What a step
  // sees whole is padded to the longest example.
  std::vector<Value> scan(const Node& n) {
    const ScanView view(n);
    const Dim& e = view.length;
    const std::optional<PaddedStep> padded =
        ragged_step(n) ? step_for_longest(n) : std::optional<PaddedStep>{};
    std::vector<bool> arguments, outputs(view.body->outputs().size(), true);
    Builder::ScanSpec spec;
    const auto constant = [&](Value v, bool differs) {
      arguments.push_back(differs);
      spec.constants.push_back(differs ? inputs_.ordered(v, e) : v);
    };
    for (std::size_t i = 0; i < view.constants; ++i) {
      const Value v = n.operands[i];
      constant(whole(v), batched(v));
    }
    if (padded)
      for (const std::string& symbol : padded->symbols)
        constant(inputs_.lengths(Dim::symbol(symbol, true)), true);
    for (std::size_t i = view.first_carry(); i < view.first_count(); ++i) {
      const Value v = n.operands[i];
      arguments.push_back(true);
      if (i < view.first_sequence())
        spec.carries.push_back(inputs_.ordered(forced(v), e));
      else
        spec.sequences.push_back(at(v));
    }
    const Dim active = RaggedInputs::active(e);
    const Graph& step = padded ? *padded->body : *view.body;
    spec.body = std::make_shared<const Graph>(batch_region(step, arguments, outputs, active).graph);
    spec.length = inputs_.longest(e);
    spec.reverse = view.reverse;
    spec.more = n.attributes;
    spec.more.erase("unroll");
    spec.bounds = {{active, inputs_.rows(e), size_}};
    spec.counts = {inputs_.counts(e)};
    std::vector<Value> out = b_.scan(std::move(spec));
    for (std::size_t i = 0; i < view.carries; ++i) out[i] = inputs_.restored(out[i], e);
    return out;
  }
  // ---- a loop over the examples ----

  // Some nodes as they were written, for one example after another.
  void example_by_example(const std::vector<NodeId>& nodes, int group) {
    Graph body;
    body.stage = b_.graph().stage;
    Builder inner(body);
    ValueMap inside(graph_);
    Builder::ScanSpec spec;
    const auto plain = plain_symbols(nodes);
    std::vector<Value> constants, sequences;
    const auto outside = [&](Value v) { return plan_.group[v.node] != group; };
    for (const NodeId id : nodes)
      for (const Value v : graph_.node(id).operands) {
        if (!outside(v) || graph_.node(v.node).op == Op::constant) continue;
        auto& list = batched(v) ? sequences : constants;
        if (std::find(list.begin(), list.end(), v) == list.end()) list.push_back(v);
      }
    std::set<Dim> bounds;
    for (const auto& [name, dim] : plain) bounds.insert(Dim::symbol(name, true));
    const auto argument = [&](Value v) {
      const Type& t = type(v);
      inside.set(v, inner.argument({t.dtype, substitute(t.dims, plain)}));
      if (is_rows(t)) bounds.insert(t.dims[0]);
    };
    for (const Value v : constants) {
      argument(v);
      spec.constants.push_back(at(v));
    }
    for (const Value v : sequences) {
      argument(v);
      spec.sequences.push_back(
          is_rows(type(v)) ? b_.gather(at(v), inputs_.by_example(type(v).dims[0])) : at(v));
    }
    for (const NodeId id : nodes) {
      const Node& n = graph_.node(id);
      for (const Value v : n.operands)
        if (!inside.has(v)) inside.set(v, clone_with_dims(inner, graph_.node(v.node), {}, plain));
      const Value first = clone_with_dims(inner, n, inside.all(n.operands), plain);
      for (std::uint32_t i = 0; i < n.types.size(); ++i) inside.set({id, i}, {first.node, i});
    }
    std::vector<Value> results;
    for (const Value v : read_outside(nodes, group)) {
      results.push_back(v);
      body.add_output("", inside[v]);
      if (is_rows(type(v))) bounds.insert(type(v).dims[0]);
    }
    for (const Dim& e : bounds) {
      spec.bounds.push_back({for_one_example(e), inputs_.rows(e), inputs_.longest(e)});
      spec.counts.push_back(inputs_.lengths(e));
    }
    spec.length = size_;
    spec.body = std::make_shared<const Graph>(std::move(body));
    if (results.empty()) return;
    const std::vector<Value> out = b_.scan(std::move(spec));
    for (std::size_t i = 0; i < results.size(); ++i) {
      const Type& t = type(results[i]);
      map_.set(results[i], is_rows(t) ? b_.gather(out[i], inputs_.by_time(t.dims[0])) : out[i]);
    }
  }

  // The ragged symbols that the nodes mention, as symbols of one example.
  DimMap plain_symbols(const std::vector<NodeId>& nodes) const {
    DimMap out;
    for (const std::string& name : ragged_symbols(graph_)) {
      const auto wanted = [&](const std::string& symbol) { return symbol == name; };
      const bool used = std::any_of(nodes.begin(), nodes.end(), [&](NodeId id) {
        const Node& n = graph_.node(id);
        return mentions(n, wanted) ||
               std::any_of(n.operands.begin(), n.operands.end(),
                           [&](Value v) { return mentions(graph_.node(v.node), wanted); });
      });
      if (used) out.emplace(name, Dim::symbol(name));
    }
    return out;
  }

  std::vector<Value> read_outside(const std::vector<NodeId>& nodes, int group) const {
    std::set<Value> read;
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (plan_.group[id] != group)
        for (const Value v : graph_.node(id).operands) read.insert(v);
    for (const Output& output : graph_.outputs()) read.insert(output.value);
    std::vector<Value> out;
    for (const NodeId id : nodes)
      for (std::uint32_t i = 0; i < graph_.node(id).types.size(); ++i)
        if (read.contains({id, i})) out.push_back({id, i});
    return out;
  }

  const Graph& graph_;
  Dim size_;
  Builder b_;
  RaggedPlan plan_;
  RaggedInputs inputs_;
  ValueMap map_;
  std::set<int> emitted_;
};

}  // namespace

bool has_ragged_inputs(const Graph& graph) { return !ragged_symbols(graph).empty(); }

Graph batch_ragged(const Graph& graph, const BatchOptions& options) {
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage == Stage::one_example ? Stage::batched : graph.stage;
  // What a step makes of its memory alone is made once, on rows.
  const bool attends = std::any_of(graph.nodes().begin(), graph.nodes().end(), ragged_step);
  const Graph work = attends ? hoist_scan(prune_scans(graph)) : graph;
  RaggedBatcher(work, out, options.size).run();
  return out;
}

}  // namespace treadle
