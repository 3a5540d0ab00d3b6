// What a pass changed, node by node.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "ir/graph.h"

namespace treadle {

enum class Change : std::uint8_t {
  same,
  changed,  // the same op at the same place, with other operands, settings, types or body
  gone      // of the graph before: no longer there. Of the graph after: new.
};

// Both graphs of a step of the pipeline, each node with what became of it.
struct GraphChanges {
  std::vector<Change> before, after;  // a node's id is the index
  // Of the nodes whose op has a body and that are in both graphs: what changed
  // in there, at the index of the node after (null for the others), and which
  // node it was before (UINT32_MAX: none).
  std::vector<std::shared_ptr<const GraphChanges>> bodies;
  std::vector<NodeId> was;
};

// Nodes are paired by what they compute first: op, attributes, types and paired
// operands alike. What remains is paired by op and place in the source, the most
// similar first; without a place only nodes alike but for their operands are
// pairs.
GraphChanges compare_graphs(const Graph& before, const Graph& after);

struct ChangeCounts {
  std::size_t added = 0, changed = 0, removed = 0;
};
// Of the nodes, those in bodies that both graphs have included.
ChangeCounts count_changes(const GraphChanges& changes);

}  // namespace treadle
