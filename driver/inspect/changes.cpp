#include "driver/inspect/changes.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace treadle {
namespace {

constexpr NodeId none = UINT32_MAX;

bool same_place(const SourceRange& a, const SourceRange& b) {
  const bool same_file = a.file == b.file || (a.file && b.file && a.file->path == b.file->path);
  return same_file && a.begin == b.begin && a.end == b.end;
}

bool is_source(const Node& node) {
  return node.op == Op::input || node.op == Op::parameter || node.op == Op::argument;
}

bool same_regions(const Node& a, const Node& b) {
  return std::equal(a.regions.begin(), a.regions.end(), b.regions.begin(), b.regions.end(),
                    [](const Region& x, const Region& y) { return x == y || same_graph(*x, *y); });
}

class Comparison {
 public:
  Comparison(const Graph& before, const Graph& after)
      : before_(before), after_(after), became_(before.size(), none) {
    out_.before.assign(before.size(), Change::gone);
    out_.after.assign(after.size(), Change::gone);
    out_.bodies.resize(after.size());
    out_.was.assign(after.size(), none);
  }

  GraphChanges run() {
    index();
    for (NodeId id = 0; id < after_.size(); ++id) pair_alike(id);
    for (NodeId id = 0; id < after_.size(); ++id)
      if (out_.was[id] == none) {
        pair_alike(id);
        if (out_.was[id] == none) pair_similar(id);
      }
    for (NodeId id = 0; id < after_.size(); ++id)
      if (out_.was[id] != none) judge(id);
    return std::move(out_);
  }

 private:
  // An argument is known by its position, an input by its name.
  std::string source_name(const Graph& graph, NodeId id) const {
    const Node& node = graph.node(id);
    if (node.op != Op::argument) return node.attributes.string("name", "");
    const auto& inputs = graph.inputs();
    return std::to_string(std::find(inputs.begin(), inputs.end(), id) - inputs.begin());
  }

  void index() {
    for (NodeId id = 0; id < before_.size(); ++id) {
      const Node& node = before_.node(id);
      if (is_source(node))
        sources_[{node.op, source_name(before_, id)}] = id;
      else
        by_op_[node.op].push_back(id);
    }
  }

  void pair(NodeId before, NodeId after) {
    became_[before] = after;
    out_.was[after] = before;
  }

  bool operands_paired(const Node& was, const Node& is) const {
    return std::equal(
        was.operands.begin(), was.operands.end(), is.operands.begin(), is.operands.end(),
        [&](Value a, Value b) { return a.index == b.index && became_[a.node] == b.node; });
  }

  void pair_alike(NodeId id) {
    const Node& node = after_.node(id);
    if (is_source(node)) {
      const auto found = sources_.find({node.op, source_name(after_, id)});
      if (found != sources_.end() && became_[found->second] == none) pair(found->second, id);
      return;
    }
    NodeId best = none;
    for (const NodeId candidate : by_op_[node.op]) {
      if (became_[candidate] != none) continue;
      const Node& was = before_.node(candidate);
      if (was.types != node.types || !operands_paired(was, node) ||
          !(was.attributes == node.attributes) || !same_regions(was, node))
        continue;
      const bool here = same_place(was.location, node.location);
      if (best == none || here) best = candidate;
      if (here) break;
    }
    if (best != none) pair(best, id);
  }

  void pair_similar(NodeId id) {
    const Node& node = after_.node(id);
    NodeId best = none;
    int best_score = -1;
    for (const NodeId candidate : by_op_[node.op]) {
      if (became_[candidate] != none) continue;
      const Node& was = before_.node(candidate);
      if (!same_place(was.location, node.location)) continue;
      const bool types = was.types == node.types, settings = was.attributes == node.attributes;
      if (!node.location && !(types && settings && same_regions(was, node))) continue;
      if (node.op == Op::fused && was.regions[0]->size() != node.regions[0]->size()) continue;
      int score = (types ? 3 : 0) + (settings ? 3 : 0);
      if (node.op == Op::scan &&
          was.attributes.boolean("reverse") == node.attributes.boolean("reverse"))
        score += 4;
      for (std::size_t i = 0; i < std::min(was.operands.size(), node.operands.size()); ++i)
        if (became_[was.operands[i].node] == node.operands[i].node) score += 2;
      if (score > best_score) std::tie(best, best_score) = std::pair(candidate, score);
    }
    if (best != none) pair(best, id);
  }

  void judge(NodeId id) {
    const Node &node = after_.node(id), &was = before_.node(out_.was[id]);
    bool same = was.types == node.types && was.attributes == node.attributes &&
                operands_paired(was, node) && was.regions.size() == node.regions.size();
    if (!node.regions.empty() && !was.regions.empty()) {
      out_.bodies[id] =
          std::make_shared<GraphChanges>(compare_graphs(*was.regions[0], *node.regions[0]));
      same = same && same_regions(was, node);
    }
    out_.after[id] = out_.before[out_.was[id]] = same ? Change::same : Change::changed;
  }

  const Graph &before_, &after_;
  std::vector<NodeId> became_;
  std::map<std::pair<Op, std::string>, NodeId> sources_;
  std::map<Op, std::vector<NodeId>> by_op_;
  GraphChanges out_;
};

}  // namespace

GraphChanges compare_graphs(const Graph& before, const Graph& after) {
  return Comparison(before, after).run();
}

ChangeCounts count_changes(const GraphChanges& changes) {
  ChangeCounts out;
  for (const Change c : changes.before) out.removed += c == Change::gone ? 1 : 0;
  for (const Change c : changes.after) {
    out.added += c == Change::gone ? 1 : 0;
    out.changed += c == Change::changed ? 1 : 0;
  }
  for (const auto& body : changes.bodies) {
    if (body == nullptr) continue;
    const ChangeCounts inner = count_changes(*body);
    out.added += inner.added;
    out.changed += inner.changed;
    out.removed += inner.removed;
  }
  return out;
}

}  // namespace treadle
