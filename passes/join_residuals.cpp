#include "passes/join_residuals.h"

#include <algorithm>
#include <map>
#include <set>

#include "ir/op_def.h"
#include "passes/scan_edit.h"

namespace treadle {
namespace {

class ResidualJoiner {
 public:
  explicit ResidualJoiner(const Graph& graph) : graph_(graph), live_(live_nodes(graph)) {
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live_[id])
        for (const Value v : graph.node(id).operands) ++uses_[v];
    for (const Output& output : graph.outputs()) ++uses_[output.value];
    for (NodeId id = 0; id < graph.size(); ++id)
      if (live_[id] && graph.node(id).op == Op::scan) plan(id);
  }

  Graph run() {
    return copy_graph(graph_, [&](Builder& b, NodeId id, ValueMap& map) {
      const auto written = written_.find(id), read = read_.find(id);
      if (written == written_.end() && read == read_.end()) return false;
      const Node& node = graph_.node(id);
      const LocationScope scope(b, node.location);
      ScanEdit edit(node, map.all(node.operands));
      if (read != read_.end())
        for (const std::size_t group : read->second) read_joined(edit, groups_[group]);
      edit.copy_nodes();
      if (written != written_.end())
        for (const std::size_t group : written->second)
          edit.add_output(
              edit.step().concat(edit.map().all(groups_[group].parts), groups_[group].axis));
      const std::vector<Value> out = edit.emit(b);
      for (std::uint32_t i = 0; i < node.types.size(); ++i) map.set({id, i}, out[i]);
      if (written != written_.end())
        for (std::size_t i = 0; i < written->second.size(); ++i)
          groups_[written->second[i]].whole = out[node.types.size() + i];
      return true;
    });
  }

 private:
  // Stacks of one scan that become one.
  struct Group {
    std::int64_t axis = 0;               // of a step's value
    Type type;                           // of the joint value of a step
    std::vector<Value> parts;            // in the step that yields them
    std::vector<std::size_t> arguments;  // of the step that reads them
    Value whole;
  };

  void plan(NodeId id) {
    const ScanView view(graph_.node(id));
    std::set<std::size_t> taken;
    for (std::size_t i = 0; i < view.outputs; ++i) {
      const Value written = view.body->outputs()[view.carries + i].value;
      const Node& concat = view.body->node(written.node);
      if (concat.op != Op::concat) continue;
      Group group;
      group.axis = concat.attributes.integer("axis");
      group.type = view.body->type(written);
      std::vector<Value> parts;
      parts_of(*view.body, written, group.axis, parts);
      const Type& part = view.body->type(parts[0]);
      if (std::any_of(parts.begin(), parts.end(),
                      [&](Value v) { return view.body->type(v) != part; }))
        continue;
      find_stacks(id, view, part, parts.size(), taken, group);
    }
  }

  // `count` stacks of one scan whose rows are of that type.
  void find_stacks(NodeId id, const ScanView& view, const Type& type, std::size_t count,
                   std::set<std::size_t>& taken, Group& group) {
    const Node& node = graph_.node(id);
    std::map<NodeId, std::vector<std::size_t>> found;
    for (std::size_t i = view.first_sequence(); i < view.first_count(); ++i) {
      if (taken.contains(i) || view.body->type(view.body->input_value(i)) != type ||
          !may_join(node.operands[i], view, i))
        continue;
      std::vector<std::size_t>& arguments = found[node.operands[i].node];
      arguments.push_back(i);
      if (arguments.size() != count) continue;
      const NodeId source = node.operands[i].node;
      const Graph& step = *graph_.node(source).regions[0];
      group.parts.clear();
      for (const std::size_t argument : arguments)
        group.parts.push_back(step.outputs()[node.operands[argument].index].value);
      if (across_products(step, group.parts)) continue;
      group.arguments = arguments;
      taken.insert(arguments.begin(), arguments.end());
      written_[source].push_back(groups_.size());
      read_[id].push_back(groups_.size());
      groups_.push_back(std::move(group));
      return;
    }
  }

  // Is the stack read here alone, by pointwise work, and computed for that alone?
  bool may_join(Value stack, const ScanView& reader, std::size_t argument) const {
    const Node& source = graph_.node(stack.node);
    if (source.op != Op::scan || uses_.at(stack) != 1) return false;
    const ScanView view(source);
    if (stack.index < view.carries) return false;
    const auto& outputs = view.body->outputs();
    const Value v = outputs[stack.index].value;
    if (view.body->node(v.node).op == Op::argument ||
        std::count_if(outputs.begin(), outputs.end(),
                      [&](const Output& output) { return output.value == v; }) != 1)
      return false;
    const Value row = reader.body->input_value(argument);
    const auto pointwise = [&](const Node& node) {
      return std::find(node.operands.begin(), node.operands.end(), row) == node.operands.end() ||
             op_def(node.op).pointwise();
    };
    const auto returned = [&](const Output& output) { return output.value == row; };
    return std::all_of(reader.body->nodes().begin(), reader.body->nodes().end(), pointwise) &&
           std::none_of(reader.body->outputs().begin(), reader.body->outputs().end(), returned);
  }

  // Does a product stand between them? No one kernel writes them then.
  static bool across_products(const Graph& step, const std::vector<Value>& parts) {
    const std::vector<bool> behind = reached_from(step, parts);
    std::vector<Value> products;
    for (NodeId id = 0; id < step.size(); ++id)
      if (behind[id] && step.node(id).op == Op::matmul) products.push_back({id, 0});
    const std::vector<bool> further = reached_from(step, products);
    return std::any_of(parts.begin(), parts.end(), [&](Value v) { return further[v.node]; });
  }

  static void read_joined(ScanEdit& edit, const Group& group) {
    const Value whole = edit.add_sequence(group.whole, group.type);
    Dim start(0);
    for (const std::size_t i : group.arguments) {
      const Value row = edit.body().input_value(i);
      const Dim& extent = edit.body().type(row).dims[static_cast<std::size_t>(group.axis)];
      edit.map().set(row, edit.step().slice(whole, group.axis, start, extent));
      start = start + extent;
    }
  }

  const Graph& graph_;
  std::vector<bool> live_;
  std::map<Value, std::size_t> uses_;
  std::vector<Group> groups_;
  std::map<NodeId, std::vector<std::size_t>> written_, read_;  // groups by scan
};

}  // namespace

Graph join_residuals(const Graph& graph) { return ResidualJoiner(graph).run(); }

}  // namespace treadle
