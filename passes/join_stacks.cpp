#include "passes/join_stacks.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "ir/builder.h"
#include "passes/graph_copy.h"
#include "passes/join_residuals.h"
#include "passes/prune_scans.h"
#include "passes/scan_edit.h"

namespace treadle {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

std::int64_t axis_of(const Node& node) { return node.attributes.integer("axis"); }

// A range of an axis.
struct Range {
  Dim start, extent;
  friend bool operator==(const Range&, const Range&) = default;
};

Range range_of(const Node& slice) {
  return {slice.attributes.dim("start"), slice.attributes.dim("extent")};
}

void add_once(std::vector<Range>& ranges, const Range& range) {
  if (std::find(ranges.begin(), ranges.end(), range) == ranges.end()) ranges.push_back(range);
}

// Do the ranges, one behind the other in some order, make up the whole extent?
bool cover(const std::vector<Range>& ranges, const Dim& extent) {
  Dim end(0);
  for (std::size_t count = 0; count < ranges.size(); ++count) {
    const auto next = std::find_if(ranges.begin(), ranges.end(),
                                   [&](const Range& range) { return range.start == end; });
    if (next == ranges.end() || next->extent == Dim(0)) return false;
    end = end + next->extent;
  }
  return end == extent;
}

// Are at least half of the elements in one of the ranges?
bool cover_half(const std::vector<Range>& ranges, const Dim& extent) {
  if (!extent.is_constant()) return false;
  std::vector<std::pair<std::int64_t, std::int64_t>> intervals;
  for (const Range& range : ranges) {
    const auto start = range.start.constant(), size = range.extent.constant();
    if (!start || !size) return false;
    intervals.emplace_back(*start, *start + *size);
  }
  std::sort(intervals.begin(), intervals.end());
  std::int64_t covered = 0, end = 0;
  for (const auto& [from, to] : intervals) {
    covered += std::max<std::int64_t>(0, to - std::max(from, end));
    end = std::max(end, to);
  }
  return 2 * covered >= *extent.constant();
}

// Is it in memory whoever reads it?
bool is_stored(const Graph& graph, Value v) {
  const Op op = graph.node(v.node).op;
  return op == Op::matmul || op == Op::scan || op == Op::input || op == Op::argument;
}

// A concatenation of stacks of one scan.
struct Joint {
  NodeId concat = 0;
  std::int64_t axis = 0, inner_axis = 0;
  std::vector<Value> parts;  // of the step
};

std::vector<Value> sorted(std::vector<Value> values) {
  std::sort(values.begin(), values.end());
  return values;
}

// The concatenation of the same parts, in any order, that the step has already.
std::optional<Joint> joint_in(const Graph& body, const Joint& wanted) {
  std::vector<Value> leaves;
  for (const Value v : wanted.parts) parts_of(body, v, wanted.inner_axis, leaves);
  leaves = sorted(std::move(leaves));
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    if (node.op != Op::concat || axis_of(node) != wanted.inner_axis) continue;
    Joint found{id, wanted.axis, wanted.inner_axis, {}};
    parts_of(body, {id, 0}, wanted.inner_axis, found.parts);
    if (sorted(found.parts) == leaves) return found;
  }
  return {};
}

// Stacks that are concatenated leave their loop as one.
class OutputJoiner {
 public:
  explicit OutputJoiner(const Graph& graph) : graph_(graph), users_(live_users(graph)) {
    const std::vector<bool> live = live_nodes(graph);
    for (const Output& output : graph.outputs()) returned_.insert(output.value);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live[id] && graph.node(id).op == Op::concat) plan(id);
  }

  Graph run() {
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      if (const auto found = stacks_.find(id); found != stacks_.end()) {
        emit_scan(b, id, found->second, map);
      } else if (const auto joined = joined_.find(id); joined != joined_.end()) {
        map.set({id, 0}, joined->second.whole);
      } else if (!emit_product(b, id, map)) {
        return false;
      }
      return true;
    });
  }

 private:
  // A stack that a scan is to return.
  struct Stack {
    Joint joint;                 // of parts in this order; `concat` is the step's
    bool had = false;            // by the step
    std::vector<Joint> readers;  // the concatenations outside
  };
  // Where a concatenation went.
  struct Joined {
    Value whole;
    std::int64_t axis = 0;
    bool in_order = true;
    std::vector<Range> from_stack;  // its parts, in order, as ranges of `whole`
    std::vector<Range> to_stack;    // the parts of `whole` as ranges of what it was
  };

  void plan(NodeId id) {
    const Joint joint = joint_of(id);
    if (joint.parts.empty()) return;
    const NodeId scan = scan_of(id);
    const Graph& body = *graph_.node(scan).regions[0];
    std::vector<Stack>& stacks = stacks_[scan];
    for (Stack& stack : stacks)
      if (fits(joint, stack.joint)) return stack.readers.push_back(joint);
    if (auto inner = joint_in(body, joint);
        inner && inner->parts.size() == joint.parts.size() && fits(joint, *inner)) {
      stacks.push_back({*inner, true, {joint}});
      return;
    }
    // What only passes through the step would be copied there.
    const bool passes = std::any_of(joint.parts.begin(), joint.parts.end(),
                                    [&](Value v) { return body.node(v.node).op == Op::argument; });
    if (!passes) stacks.push_back({joint, false, {joint}});
    if (stacks.empty()) stacks_.erase(scan);
  }

  bool is_joint(NodeId id) const {
    return graph_.node(id).op == Op::concat && !joint_of(id).parts.empty();
  }

  NodeId scan_of(NodeId concat) const {
    std::vector<Value> stacks;
    parts_of(graph_, {concat, 0}, axis_of(graph_.node(concat)), stacks);
    return stacks[0].node;
  }

  // What is concatenated, when that is stacks of one scan; else no parts.
  Joint joint_of(NodeId id) const {
    const std::int64_t axis = axis_of(graph_.node(id));
    std::vector<Value> stacks;
    parts_of(graph_, {id, 0}, axis, stacks);
    const Node& scan = graph_.node(stacks[0].node);
    if (axis == 0 || stacks.size() < 2 || scan.op != Op::scan) return {};
    const ScanView view(scan);
    Joint joint{id, axis, 0, {}};
    for (const Value stack : stacks) {
      if (stack.node != stacks[0].node || stack.index < view.carries) return {};
      const Value v = view.body->outputs()[stack.index].value;
      const std::int64_t inner_axis = axis - axes_in_front(view, view.body->type(v));
      if (!joint.parts.empty() && inner_axis != joint.inner_axis) return {};
      joint.inner_axis = inner_axis;
      joint.parts.push_back(v);
    }
    return joint;
  }

  // May the concatenation be replaced by that one? In another order if products
  // alone read it.
  bool fits(const Joint& joint, const Joint& stack) const {
    if (joint.axis != stack.axis || joint.inner_axis != stack.inner_axis) return false;
    if (joint.parts == stack.parts) return true;
    const std::vector<Value> parts = sorted(joint.parts);
    if (parts != sorted(stack.parts) ||
        std::adjacent_find(parts.begin(), parts.end()) != parts.end())
      return false;
    const auto is_product = [&](NodeId user) {
      const Node& node = graph_.node(user);
      if (node.op != Op::matmul || node.operands[0] == node.operands[1]) return false;
      const bool left = node.operands[0].node == joint.concat;
      const Integers& batch = node.attributes.integers(left ? "batch_a" : "batch_b");
      return std::find(batch.begin(), batch.end(), joint.axis) == batch.end() &&
             !is_joint(node.operands[left ? 1 : 0].node);
    };
    const std::vector<NodeId>& users = users_[joint.concat];
    return !returned_.contains({joint.concat, 0}) &&
           std::all_of(users.begin(), users.end(), is_product);
  }

  void emit_scan(Builder& b, NodeId id, const std::vector<Stack>& stacks, ValueMap& map) {
    const Node& node = graph_.node(id);
    const LocationScope scope(b, node.location);
    ScanEdit edit(node, map.all(node.operands));
    edit.copy_nodes();
    for (const Stack& stack : stacks)
      edit.add_output(stack.had ? edit.map()[{stack.joint.concat, 0}]
                                : edit.step().concat(edit.map().all(stack.joint.parts),
                                                     stack.joint.inner_axis));
    const std::vector<Value> out = edit.emit(b);
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, out[i]);
    for (std::size_t k = stacks.size(); k-- > 0;)
      place_parts(b, id, stacks[k], out[node.types.size() + k], map);
  }

  // Who reads the parts on their own reads slices, as far as they are not results.
  void place_parts(Builder& b, NodeId id, const Stack& stack, Value whole, ValueMap& map) {
    const ScanView view(graph_.node(id));
    const auto& outputs = view.body->outputs();
    const auto ranges = ranges_of(*view.body, stack.joint);
    for (const Value part : stack.joint.parts) {
      const auto& [start, extent] = ranges.at(part);
      const Value slice = b.slice(whole, stack.joint.axis, start, extent);
      for (auto i = static_cast<std::uint32_t>(view.carries); i < outputs.size(); ++i)
        if (outputs[i].value == part && !returned_.contains({id, i})) map.set({id, i}, slice);
    }
    for (const Joint& reader : stack.readers) {
      Joined& joined = joined_[reader.concat];
      joined = {whole, reader.axis, reader.parts == stack.joint.parts, {}, {}};
      if (joined.in_order) continue;
      const auto own = ranges_of(*view.body, reader);
      for (const Value part : reader.parts) joined.from_stack.push_back(ranges.at(part));
      for (const Value part : stack.joint.parts) joined.to_stack.push_back(own.at(part));
    }
  }

  static std::map<Value, Range> ranges_of(const Graph& body, const Joint& joint) {
    std::map<Value, Range> ranges;
    Dim start(0);
    for (const Value part : joint.parts) {
      const Dim& extent = body.type(part).dims[at(joint.inner_axis)];
      ranges[part] = {start, extent};
      start = start + extent;
    }
    return ranges;
  }

  // A product of a concatenation whose parts stand in another order now.
  bool emit_product(Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph_.node(id);
    if (node.op != Op::matmul) return false;
    for (const std::size_t side : {0U, 1U}) {
      const auto found = joined_.find(node.operands[side].node);
      if (found == joined_.end() || found->second.in_order) continue;
      const LocationScope scope(b, node.location);
      map.set({id, 0}, reordered_product(b, node, side, found->second, map.all(node.operands)));
      return true;
    }
    return false;
  }

  static Value reordered_product(Builder& b, const Node& node, std::size_t side,
                                 const Joined& joined, std::vector<Value> operands) {
    const auto axes = [&](const char* name, std::size_t of) -> const Integers& {
      return node.attributes.integers(std::string(name) + (of == 0 ? "_a" : "_b"));
    };
    const auto has = [](const Integers& list, std::int64_t axis) {
      return std::find(list.begin(), list.end(), axis) != list.end();
    };
    const Integers& contract = axes("contract", side);
    if (const auto met = std::find(contract.begin(), contract.end(), joined.axis);
        met != contract.end()) {
      // The other operand's parts follow.
      const std::int64_t axis = axes("contract", 1 - side)[at(met - contract.begin())];
      operands[1 - side] = concat_ranges(b, operands[1 - side], axis, joined.to_stack);
      return b.clone(node, std::move(operands));
    }
    // Its columns, or rows, come in that order.
    std::int64_t axis = static_cast<std::int64_t>(axes("batch", 0).size());
    for (const std::size_t of : {0U, 1U}) {
      const auto rank = static_cast<std::int64_t>(b.type(operands[of]).rank());
      for (std::int64_t i = 0; i < (of == side ? joined.axis : rank); ++i)
        if (!has(axes("batch", of), i) && !has(axes("contract", of), i)) ++axis;
      if (of == side) break;
    }
    const Value product = b.clone(node, std::move(operands));
    return concat_ranges(b, product, axis, joined.from_stack);
  }

  static Value concat_ranges(Builder& b, Value x, std::int64_t axis,
                             const std::vector<Range>& ranges) {
    std::vector<Value> parts;
    for (const Range& range : ranges) parts.push_back(b.slice(x, axis, range.start, range.extent));
    return b.concat(std::move(parts), axis);
  }

  const Graph& graph_;
  std::vector<std::vector<NodeId>> users_;
  std::map<NodeId, std::vector<Stack>> stacks_;  // by scan
  std::map<NodeId, Joined> joined_;              // by concat
  std::set<Value> returned_;
};

// Slices of one value that a loop reads: which sequences, which ranges.
struct SlicedSequence {
  std::vector<std::size_t> arguments;
  std::vector<Range> ranges;
};
using SlicedSequences = std::map<std::pair<Value, std::int64_t>, SlicedSequence>;

SlicedSequences sliced_sequences(const Graph& graph, const Node& node, const ScanView& view) {
  SlicedSequences out;
  for (std::size_t i = view.first_sequence(); i < view.first_count(); ++i) {
    const Node& slice = graph.node(node.operands[i].node);
    if (slice.op != Op::slice || axis_of(slice) == 0) continue;
    SlicedSequence& found = out[{slice.operands[0], axis_of(slice)}];
    found.arguments.push_back(i);
    add_once(found.ranges, range_of(slice));
  }
  std::erase_if(out, [&](const auto& entry) {
    const auto& [value, axis] = entry.first;
    const Dim& extent = graph.type(value).dims[at(axis)];
    const std::vector<Range>& ranges = entry.second.ranges;
    return !cover(ranges, extent) && !(is_stored(graph, value) && cover_half(ranges, extent));
  });
  return out;
}

Graph join_sequences(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op != Op::scan) return false;
    const SlicedSequences sliced = sliced_sequences(graph, node, ScanView(node));
    if (sliced.empty()) return false;
    const LocationScope scope(b, node.location);
    ScanEdit edit(node, map.all(node.operands));
    for (const auto& [key, sequence] : sliced) {
      const auto& [value, axis] = key;
      Type row = edit.body().type(edit.body().input_value(sequence.arguments[0]));
      const std::int64_t inner_axis = axis - axes_in_front(edit.view(), row);
      row.dims[at(inner_axis)] = graph.type(value).dims[at(axis)];
      const Value whole = edit.add_sequence(map[value], row);
      for (const std::size_t i : sequence.arguments) {
        const Range range = range_of(graph.node(node.operands[i].node));
        edit.map().set(edit.body().input_value(i),
                       edit.step().slice(whole, inner_axis, range.start, range.extent));
      }
    }
    edit.copy_nodes();
    const std::vector<Value> out = edit.emit(b);
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, out[i]);
    return true;
  });
}

// Sums of slices, across the axis that is sliced.
using SumKey = std::tuple<Value, std::int64_t, Integers>;

std::optional<SumKey> sum_of_slice(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op != Op::reduce_sum) return {};
  const Node& slice = graph.node(node.operands[0].node);
  if (slice.op != Op::slice) return {};
  const Integers& axes = node.attributes.integers("axes");
  if (std::find(axes.begin(), axes.end(), axis_of(slice)) != axes.end()) return {};
  return SumKey{slice.operands[0], axis_of(slice), axes};
}

Graph join_sums(const Graph& graph) {
  std::map<SumKey, std::vector<Range>> groups;
  const std::vector<bool> live = live_nodes(graph);
  for (NodeId id = 0; id < graph.size(); ++id)
    if (const auto key = sum_of_slice(graph, id); key && live[id])
      add_once(groups[*key], range_of(graph.node(graph.node(id).operands[0].node)));
  std::erase_if(groups, [&](const auto& entry) {
    const auto& [value, axis, axes] = entry.first;
    return !cover(entry.second, graph.type(value).dims[at(axis)]);
  });
  std::map<SumKey, Value> sums;
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const auto key = sum_of_slice(graph, id);
    if (!key || !live[id] || !groups.contains(*key)) return false;
    const auto& [value, axis, axes] = *key;
    const LocationScope scope(b, graph.node(id).location);
    Value& sum = sums[*key];
    if (!sum.valid()) sum = b.reduce_sum(map[value], axes);
    const Range range = range_of(graph.node(graph.node(id).operands[0].node));
    const std::int64_t gone = std::count_if(axes.begin(), axes.end(),
                                            [&, axis = axis](std::int64_t a) { return a < axis; });
    map.set({id, 0}, b.slice(sum, axis - gone, range.start, range.extent));
    return true;
  });
}

Graph join_in_regions(const Graph& graph) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    copy_node(b, with_regions(graph.node(id), join_stacks), id, map);
    return true;
  });
}

}  // namespace

Graph join_stacks(const Graph& graph) {
  const Graph joined = OutputJoiner(join_in_regions(graph)).run();
  const Graph summed = without_dead_nodes(join_sums(join_sequences(joined)));
  return without_dead_nodes(prune_scans(without_dead_nodes(join_residuals(summed))));
}

}  // namespace treadle
