#include "passes/batch.h"

#include <algorithm>
#include <utility>

#include "ir/diagnostic.h"
#include "passes/batch_ragged.h"
#include "passes/expand_derivatives.h"
#include "passes/graph_copy.h"
#include "passes/substitute_dims.h"

namespace treadle {
namespace {

// [B, T, ...] <-> [T, B, ...]
Value swap_leading(Builder& b, Value x) {
  Integers permutation(b.type(x).rank());
  for (std::size_t i = 0; i < permutation.size(); ++i)
    permutation[i] = static_cast<std::int64_t>(i);
  std::swap(permutation[0], permutation[1]);
  return b.transpose(x, std::move(permutation));
}

Value force_batched(Builder& b, Value x, const Dim& size) {
  const Dims& dims = b.type(x).dims;
  Dims wide{size};
  wide.insert(wide.end(), dims.begin(), dims.end());
  Integers axes;
  for (std::size_t i = 0; i < dims.size(); ++i) axes.push_back(static_cast<std::int64_t>(i) + 1);
  return b.broadcast(x, std::move(wide), std::move(axes));
}

struct Batched {
  std::vector<Value> values;
  std::vector<bool> batched;
};

Batched batch_scan(Builder& b, const Node& node, std::vector<Value> operands,
                   const std::vector<bool>& operand_batched, const Dim& size) {
  const ScanView view(node);
  ensure(view.bounds.empty(), "batch", "a scan over a batch of sequences is batched again");
  std::vector<bool> arguments = operand_batched;
  std::vector<bool> force(view.body->outputs().size(), false);
  BatchedRegion body;
  // A carry is batched when it starts so or a step makes it so: the least
  // fixed point, reached after at most one round a carry.
  for (;;) {
    for (std::size_t i = 0; i < view.carries; ++i) force[i] = arguments[view.first_carry() + i];
    body = batch_region(*view.body, arguments, force, size);
    bool grew = false;
    for (std::size_t i = 0; i < view.carries; ++i) {
      if (!body.outputs_batched[i] || arguments[view.first_carry() + i]) continue;
      arguments[view.first_carry() + i] = true;
      grew = true;
    }
    if (!grew) break;
  }
  Builder::ScanSpec spec;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    Value v = operands[i];
    if (i < view.constants) {
      spec.constants.push_back(v);
    } else if (i < view.first_sequence()) {
      if (arguments[i] && !operand_batched[i]) v = force_batched(b, v, size);
      spec.carries.push_back(v);
    } else {
      spec.sequences.push_back(arguments[i] ? swap_leading(b, v) : v);
    }
  }
  spec.length = view.length;
  spec.reverse = view.reverse;
  spec.body = std::make_shared<const Graph>(std::move(body.graph));
  spec.more = node.attributes;
  Batched out;
  out.values = b.scan(std::move(spec));
  out.batched = body.outputs_batched;
  for (std::size_t i = view.carries; i < out.values.size(); ++i)
    if (out.batched[i]) out.values[i] = swap_leading(b, out.values[i]);
  return out;
}

// Copies `graph` into b's graph; `batched` holds for every value whether it
// has the batch dimension.
class Batcher {
 public:
  Batcher(const Graph& graph, Builder& b, Dim size)
      : graph_(graph), b_(b), size_(std::move(size)), map_(graph) {
    for (const Node& node : graph.nodes()) batched_.emplace_back(node.types.size(), false);
  }

  void source(NodeId id, bool batched) {
    const Node& node = graph_.node(id);
    Type type = node.types[0];
    if (batched) type.dims.insert(type.dims.begin(), size_);
    map_.set({id, 0}, b_.source(node, std::move(type)));
    batched_[id][0] = batched;
  }

  void node(NodeId id) {
    const Node& node = graph_.node(id);
    const LocationScope scope(b_, node.location);
    std::vector<bool> batched;
    for (const Value v : node.operands) batched.push_back(batched_[v.node][v.index]);
    if (std::find(batched.begin(), batched.end(), true) == batched.end()) {
      copy_node(b_, graph_, id, map_);
      return;
    }
    const std::vector<Value> operands = map_.all(node.operands);
    Batched out;
    if (node.op == Op::scan) {
      out = batch_scan(b_, node, operands, batched, size_);
    } else {
      out.values = batch_node(b_, graph_, node, operands, batched, size_);
      out.batched.assign(out.values.size(), true);
    }
    for (std::uint32_t i = 0; i < out.values.size(); ++i) {
      map_.set({id, i}, out.values[i]);
      batched_[id][i] = out.batched[i];
    }
  }

  Value value(Value v) const { return map_[v]; }
  bool is_batched(Value v) const { return batched_[v.node][v.index]; }

 private:
  const Graph& graph_;
  Builder& b_;
  Dim size_;
  ValueMap map_;
  std::vector<std::vector<bool>> batched_;
};

}  // namespace

std::vector<Value> batch_node(Builder& b, const Graph& graph, const Node& node,
                              const std::vector<Value>& operands, const std::vector<bool>& batched,
                              const Dim& size) {
  if (node.op == Op::scan) {
    Batched out = batch_scan(b, node, operands, batched, size);
    for (std::size_t i = 0; i < out.values.size(); ++i)
      if (!out.batched[i]) out.values[i] = force_batched(b, out.values[i], size);
    return out.values;
  }
  const OpDef& def = op_def(node.op);
  ensure(def.batch != nullptr, def.name, "the record has no batching rule");
  BatchContext context{b, node, graph, operands, batched, size};
  return def.batch(context);
}

BatchedRegion batch_region(const Graph& region, const std::vector<bool>& arguments_batched,
                           const std::vector<bool>& force_output, const Dim& size) {
  BatchedRegion out;
  out.graph.name = region.name;
  out.graph.stage = region.stage;
  Builder b(out.graph);
  Batcher batcher(region, b, size);
  std::size_t argument = 0;
  for (NodeId id = 0; id < region.size(); ++id) {
    if (region.node(id).op == Op::argument)
      batcher.source(id, arguments_batched.at(argument++));
    else
      batcher.node(id);
  }
  for (std::size_t i = 0; i < region.outputs().size(); ++i) {
    const Output& output = region.outputs()[i];
    Value v = batcher.value(output.value);
    bool batched = batcher.is_batched(output.value);
    if (!batched && force_output.at(i)) {
      v = force_batched(b, v, size);
      batched = true;
    }
    out.graph.add_output(output.name, v);
    out.outputs_batched.push_back(batched);
  }
  return out;
}

Graph mark_ragged(const Graph& graph, const std::vector<std::string>& symbols) {
  DimMap marked;
  for (const std::string& name : symbols) marked.emplace(name, Dim::symbol(name, true));
  return substitute(graph, marked);
}

Graph batch(const Graph& source, const BatchOptions& options) {
  const Graph graph = expand_derivatives(source);
  if (has_ragged_inputs(graph)) return batch_ragged(graph, options);
  Graph out;
  out.name = graph.name;
  out.stage = graph.stage == Stage::one_example ? Stage::batched : graph.stage;
  Builder b(out);
  Batcher batcher(graph, b, options.size);
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (node.op == Op::input)
      batcher.source(id, !node.attributes.boolean("shared"));
    else if (node.op == Op::parameter)
      batcher.source(id, false);
    else
      batcher.node(id);
  }
  for (const Output& output : graph.outputs())
    out.add_output(output.name, batcher.value(output.value));
  return out;
}

}  // namespace treadle
