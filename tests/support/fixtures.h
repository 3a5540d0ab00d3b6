// Comparisons with what other libraries computed (tests/golden).
#pragma once
#include <map>
#include <set>
#include <string>

#include "ir/graph.h"

namespace treadle::test {

// loss = sum of weight_i * output_i, the weights being further inputs "weight0",
// "weight1", ...; with the gradient by every input and parameter of real
// numbers, "grad:NAME".
Graph with_gradients(Graph graph);

using Fixtures = std::map<std::string, Tensor>;
Fixtures read_fixtures(const std::string& file);  // of tests/golden

// Evaluates `graph`, compiled too with `compiles`; every output and gradient of which `fixtures`
// has PREFIX + name is compared in the graph's precision, relative to its largest
// element. Returns the
// names (with the prefix) that were.
std::set<std::string> require_fixtures(const Graph& graph, const std::string& prefix,
                                       const Fixtures& fixtures, double tolerance,
                                       bool compiles = true);

}  // namespace treadle::test
