#include "backends/llvm/deferred_products.h"

#include <algorithm>
#include <optional>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

namespace {

// A turn reads k weights for each column, and saves writing and reading a number for
// each column and row. An LSTM's forward and backward pass, both of its weights in the
// third level of cache, takes as long either way with 8 weights a row, 1.05 of the
// time with 32, and 0.97 with 4 or less.
constexpr std::int64_t weights_per_row = 8;

// The row of a turn in what the product gives, if the loop may compute it.
std::optional<Location::Row> deferred_row(const ProgramPlan& plan, const std::vector<Step>& steps,
                                          std::size_t product, std::size_t loop) {
  const Step &matmul = steps[product], &scan = steps[loop];
  if (scan.kind != Step::Kind::scan || !scan.own_rows) return {};
  const int out = matmul.out[0].buffer;
  if (matmul.out[0].alternate >= 0 || !matmul.out[0].rows.empty()) return {};
  if (matmul.shape.m != scan.length * *scan.own_rows ||
      plan.buffers[static_cast<std::size_t>(out)].kind != BufferPlan::Kind::arena)
    return {};
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (i != product && i != loop && touches(steps[i], out)) return {};
  for (std::size_t i = product + 1; i <= loop; ++i)
    for (const Location& place : matmul.in)
      if (writes(steps[i], place.buffer) ||
          (place.alternate >= 0 && writes(steps[i], place.alternate)))
        return {};
  return row_of_turn(scan, out, *scan.own_rows * matmul.shape.n, false);
}

void defer_in(ProgramPlan& plan, std::vector<Step>& steps) {
  for (Step& step : steps) defer_in(plan, step.body);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Step& matmul = steps[i];
    if (!is_plain_product(matmul) || starts_from_another(matmul) || matmul.out.size() != 1)
      continue;
    for (std::size_t j = i + 1; j < steps.size(); ++j) {
      if (!touches(steps[j], matmul.out[0].buffer)) continue;
      const auto row = deferred_row(plan, steps, i, j);
      if (!row) break;
      Step& loop = steps[j];
      BufferPlan& result = plan.buffers[static_cast<std::size_t>(matmul.out[0].buffer)];
      Step turn = matmul;
      turn.turn = true;
      turn.turn_stride = *loop.own_rows * matmul.view_a.free_stride;
      turn.loops = loop.loops + 1;
      turn.barrier_before = false;
      turn.out[0].rows = {*row};
      matmul.unless_deferred = matmul.out[0].buffer;
      const Dim least = matmul.shape.k.floor_div(weights_per_row);
      result.turn = {*loop.own_rows, least.at_least(own_rows_at_least),
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

// The one step of the loop that reads what the part of a turn gives, if it starts its sums from
// that.
Step* reader_of(std::vector<Step>& body, const Step& turn) {
  const int result = turn.out[0].buffer;
  Step* out = nullptr;
  for (Step& step : body) {
    if (&step == &turn || !touches(step, result)) continue;
    if (out != nullptr || !is_plain_product(step) || !starts_from_another(step) ||
        !(step.in[2] == turn.out[0]) || step.in[0].buffer == result ||
        step.product_dtype != turn.product_dtype)
      return nullptr;
    out = &step;
  }
  return out;
}

void chain_in(std::vector<Step>& steps) {
  for (Step& step : steps) {
    chain_in(step.body);
    if (!step.turn) continue;
    Step* reader = reader_of(steps, step);
    if (reader == nullptr) continue;
    step.in_chain = true;
    reader->chained = {step};
  }
}

}  // namespace

void defer_products(ProgramPlan& plan) { defer_in(plan, plan.steps); }
void chain_deferred_products(ProgramPlan& plan) { chain_in(plan.steps); }

}  // namespace treadle
