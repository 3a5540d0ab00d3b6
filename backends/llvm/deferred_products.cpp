#include "backends/llvm/deferred_products.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace treadle {

namespace {

// A turn reads k weights for each column, and saves writing and reading a number for
// each column and row. An LSTM's forward and backward pass, both of its weights in the
// third level of cache, takes as long either way with 8 weights a row, 1.05 of the
// time with 32, and 0.97 with 4 or less.
constexpr std::int64_t weights_per_row = 8;

bool stands_in(const Location& place, int buffer) {
  return place.buffer == buffer || place.alternate == buffer;
}
bool any_place(const Step& step, const std::function<bool(const Location&, bool)>& test) {
  const auto among = [&](const std::vector<Location>& places, bool writes) {
    return std::any_of(places.begin(), places.end(),
                       [&](const Location& place) { return test(place, writes); });
  };
  const auto inside = [&](const std::vector<Step>& steps) {
    return std::any_of(steps.begin(), steps.end(),
                       [&](const Step& inner) { return any_place(inner, test); });
  };
  return among(step.in, false) || among(step.out, true) || inside(step.before) || inside(step.body);
}
bool touches(const Step& step, int buffer) {
  return any_place(step, [&](const Location& place, bool) { return stands_in(place, buffer); });
}
bool writes(const Step& step, int buffer) {
  return any_place(step, [&](const Location& place, bool written) {
    return written && stands_in(place, buffer);
  });
}

// One row of `loop` each turn, nothing else of the buffer.
bool reads_rows(const Step& loop, int buffer, const Dim& stride) {
  const auto is_turn = [&](const Location& place) {
    return place.alternate < 0 && place.rows.size() == 1 && place.rows[0].loop == loop.loops &&
           place.rows[0].stride == stride && place.rows[0].length == loop.length;
  };
  return std::none_of(loop.before.begin(), loop.before.end(),
                      [&](const Step& step) { return touches(step, buffer); }) &&
         std::none_of(loop.body.begin(), loop.body.end(), [&](const Step& step) {
           return any_place(step, [&](const Location& place, bool written) {
             return stands_in(place, buffer) && (written || !is_turn(place));
           });
         });
}

// The row of a turn, as the loop's readers of the buffer say.
std::optional<Location::Row> turn_of(const Step& loop, int buffer) {
  std::optional<Location::Row> out;
  for (const Step& step : loop.body)
    any_place(step, [&](const Location& place, bool) {
      if (stands_in(place, buffer)) out = place.rows[0];
      return false;
    });
  return out;
}

bool may_defer(const ProgramPlan& plan, const std::vector<Step>& steps, std::size_t product,
               std::size_t loop) {
  const Step &matmul = steps[product], &scan = steps[loop];
  if (scan.kind != Step::Kind::scan || scan.loops != 0 || !scan.own_rows) return false;
  const int out = matmul.out[0].buffer;
  if (matmul.shape.m != scan.length * *scan.own_rows ||
      !reads_rows(scan, out, *scan.own_rows * matmul.shape.n))
    return false;
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (i != product && i != loop && touches(steps[i], out)) return false;
  for (std::size_t i = product + 1; i <= loop; ++i)
    for (const Location& place : matmul.in)
      if (writes(steps[i], place.buffer) ||
          (place.alternate >= 0 && writes(steps[i], place.alternate)))
        return false;
  return plan.buffers[static_cast<std::size_t>(out)].kind == BufferPlan::Kind::arena;
}

}  // namespace

void defer_products(ProgramPlan& plan) {
  std::vector<Step>& steps = plan.steps;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Step& matmul = steps[i];
    if (matmul.kind != Step::Kind::matmul || matmul.direct || matmul.out.size() != 1 ||
        matmul.shape.batch != Dim(1) || !matmul.row_loops.empty() || !matmul.sum_loops.empty())
      continue;
    for (std::size_t j = i + 1; j < steps.size(); ++j) {
      if (!touches(steps[j], matmul.out[0].buffer)) continue;
      if (!may_defer(plan, steps, i, j)) break;
      Step& loop = steps[j];
      BufferPlan& result = plan.buffers[static_cast<std::size_t>(matmul.out[0].buffer)];
      Step turn = matmul;
      turn.turn = true;
      turn.turn_stride = *loop.own_rows * matmul.view_a.free_stride;
      turn.loops = 1;
      turn.barrier_before = false;
      turn.out[0].rows = {*turn_of(loop, matmul.out[0].buffer)};
      matmul.unless_deferred = matmul.out[0].buffer;
      const Dim least = matmul.shape.k.floor_div(weights_per_row);
      result.turn = {*loop.own_rows, least.at_least(ProgramPlan::own_rows_at_least),
                     *loop.own_rows * matmul.shape.n};
      // What it reads stays till the loop's end.
      for (const Location& place : turn.in)
        for (const int buffer : {place.buffer, place.alternate}) {
          if (buffer < 0) continue;
          BufferPlan& read = plan.buffers[static_cast<std::size_t>(buffer)];
          read.last_phase = std::max(read.last_phase, result.last_phase);
        }
      loop.body.insert(loop.body.begin(), std::move(turn));
      break;
    }
  }
}

}  // namespace treadle
