#pragma once
#include "ir/graph.h"
#include "ir/placement.h"

namespace treadle {

// The attribute of a node that another backend than the first one runs.
inline constexpr const char* backend_attribute = "backend";

// Gives every product that another backend than the first of `models` is
// predicted to run faster the attribute backend = "its name". The prediction is
// made for typical extents of the symbols: 32 for the batch, 64 for the others.
// A library makes code for extents, which costs more than it saves where they are
// new in each batch: products of rows of examples of different lengths stay with
// the first. Runs last: passes that rebuild products drop the attribute.
Graph place(const Graph& graph, BackendModels models);

// Gives every product that `model` claims to it, whatever the prediction says.
Graph place_all(const Graph& graph, const BackendModel& model);

}  // namespace treadle
