// How the work of a kernel over a domain is cut into units.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// Bytes of the widest element that the body computes with; at least 4.
inline std::size_t widest_element(const Graph& body) {
  std::size_t widest = 4;
  for (const Node& node : body.nodes())
    for (const Type& type : node.types) widest = std::max(widest, size_of(type.dtype));
  return widest;
}

// Columns along the last axis that one unit covers: four vectors.
inline std::int64_t fused_block(std::int64_t vector_bytes, std::size_t widest) {
  return 4 * vector_bytes / static_cast<std::int64_t>(std::max<std::size_t>(4, widest));
}

inline bool is_reduction(Op op) { return op == Op::reduce_sum || op == Op::reduce_max; }

// A body that reads columns of some arguments from the first one on, where `body` reads them
// from a later one on: `starts[i]` of argument i, to which its pointer is to be advanced. The
// code for parts of one value is then the same, as that of a layer's updates by its queries,
// keys and values.
Graph with_parts_at_start(const Graph& body, std::vector<Dim>& starts);

// Is every value read at the index that is written, or the same everywhere? Then the
// kernel walks over so many elements, whatever their dimensions.
bool is_flat(const Graph& body, const Dims& domain);

}  // namespace treadle
