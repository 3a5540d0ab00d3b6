// What a pass may know of the backends: who can run a node, and how long it
// would take there. The backends implement it; passes never see a backend.
#pragma once
#include <span>
#include <string_view>

#include "ir/graph.h"

namespace treadle {

class BackendModel {
 public:
  virtual ~BackendModel() = default;
  virtual std::string_view name() const = 0;
  // Can this backend run the node?
  virtual bool claims(const Graph& graph, NodeId node) const = 0;
  // Predicted seconds of one run of the node on one core. The same for the same
  // graph and extents, wherever it is asked: it never depends on a timing.
  virtual double seconds(const Graph& graph, NodeId node, const DimEnv& env) const = 0;
};

// The first one is the backend that runs what nobody else claims.
using BackendModels = std::span<const BackendModel* const>;

}  // namespace treadle
