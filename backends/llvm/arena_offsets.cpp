#include <algorithm>
#include <iterator>

#include "backends/llvm/program_plan.h"

namespace treadle {

bool LayersPlan::at_once(const DimEnv& env, int threads) const {
  return threads % 2 == 0 && rows.evaluate(env) < rows_below * threads &&
         length.evaluate(env) >= length_at_least;
}

// Largest first, each at the lowest place that is free in its phases. Where
// lengths differ, each batch has extents of its own: what is placed stands in
// order of its place, so that one walk finds a gap.
std::vector<std::size_t> ProgramPlan::arena_offsets(const DimEnv& env, int threads,
                                                    std::size_t* size) const {
  struct Piece {
    std::size_t buffer, bytes;
    int first_phase, last_phase;
  };
  std::vector<LayersPlan> at_once;
  std::copy_if(layers.begin(), layers.end(), std::back_inserter(at_once),
               [&](const LayersPlan& one) { return one.at_once(env, threads); });
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].kind != BufferPlan::Kind::arena || buffers[i].last_phase < 0) continue;
    const auto& turn = buffers[i].turn;
    const bool deferred = turn && turn->rows.evaluate(env) >= turn->least.evaluate(env) * threads;
    const Dim& count = deferred ? turn->elements : buffers[i].elements;
    const auto elements = static_cast<std::size_t>(count.evaluate(env));
    const std::size_t blocks =
        deferred && turn->each_thread ? static_cast<std::size_t>(threads) : 1;
    const std::size_t bytes = elements * size_of(buffers[i].dtype) * blocks;
    const std::size_t copies = buffers[i].per_thread ? static_cast<std::size_t>(threads) : 1;
    int first = buffers[i].first_phase, last = buffers[i].last_phase;
    for (const InterleavedPlan& one : interleaved)
      if (std::count(one.read.begin(), one.read.end(), static_cast<int>(i)) != 0 &&
          one.rows.evaluate(env) == 1)
        last = std::max(last, one.last_phase);
    for (const LayersPlan& one : at_once) {
      if (first > one.last_phase || last < one.first_phase) continue;
      first = std::min(first, one.first_phase);
      last = std::max(last, one.last_phase);
    }
    pieces.push_back({i, (bytes + alignment - 1) / alignment * alignment * copies, first, last});
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.bytes > b.bytes; });
  struct Placed {
    std::size_t begin, end;
    int first_phase, last_phase;
  };
  std::vector<Placed> placed;
  placed.reserve(pieces.size());
  std::vector<std::size_t> offsets(buffers.size(), 0);
  *size = 0;
  for (const Piece& piece : pieces) {
    std::size_t at = 0;
    for (const Placed& other : placed) {
      if (other.first_phase > piece.last_phase || piece.first_phase > other.last_phase) continue;
      if (at + piece.bytes <= other.begin) break;
      at = std::max(at, other.end);
    }
    offsets[piece.buffer] = at;
    const auto place = std::upper_bound(
        placed.begin(), placed.end(), at,
        [](std::size_t begin, const Placed& other) { return begin < other.begin; });
    placed.insert(place, {at, at + piece.bytes, piece.first_phase, piece.last_phase});
    *size = std::max(*size, at + piece.bytes);
  }
  return offsets;
}

std::vector<std::size_t> ProgramPlan::kept_offsets(std::size_t* size) const {
  std::vector<std::size_t> offsets(buffers.size(), 0);
  *size = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].kind != BufferPlan::Kind::kept) continue;
    offsets[i] = *size;
    const auto elements = static_cast<std::size_t>(*buffers[i].elements.constant());
    *size += (elements * size_of(buffers[i].dtype) + alignment - 1) / alignment * alignment;
  }
  return offsets;
}

}  // namespace treadle
