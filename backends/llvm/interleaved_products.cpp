#include "backends/llvm/interleaved_products.h"

#include <set>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/target.h"

namespace treadle {

namespace {

class Interleaver {
 public:
  explicit Interleaver(ProgramPlan& plan) : plan_(plan) {}

  void run() {
    std::vector<Step>& steps = plan_.steps;
    std::size_t run_end = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].run) run_end = i + static_cast<std::size_t>(steps[i].run->steps);
      if (i < run_end || !is_plain_product(steps[i]) || starts_from_another(steps[i]) ||
          steps[i].out.size() != 1)
        continue;
      for (std::size_t j = i + 1; j < steps.size(); ++j)
        if (touches(steps[j], steps[i].out[0].buffer)) {
          interleave(i, j);
          break;
        }
    }
  }

 private:
  void interleave(std::size_t product, std::size_t loop) {
    Step &matmul = plan_.steps[product], &scan = plan_.steps[loop];
    using Layer = Step::Layer;
    if (scan.kind != Step::Kind::scan || scan.parallel || !scan.bounds.empty() ||
        scan.layer != Layer::none || matmul.layer != Layer::none || scan.interleaved)
      return;
    const Dim rows = scan.own_rows.value_or(Dim(1));
    const Location& out = matmul.out[0];
    if (out.alternate >= 0 || !out.rows.empty() || matmul.shape.m != scan.length * rows) return;
    const auto row = row_of_turn(scan, out.buffer, rows * matmul.shape.n, true);
    if (!row) return;
    for (const Step& step : scan.before)
      if (touches(step, out.buffer)) return;
    std::set<int> read;
    for (const Location& place : matmul.in)
      for (const int buffer : {place.buffer, place.alternate})
        if (buffer >= 0) read.insert(buffer);
    // A loop that may run at the same time uses nothing of it.
    const std::size_t last = scan.beside ? loop + 1 : loop;
    if (last != loop && touches(plan_.steps[last], out.buffer)) return;
    for (std::size_t i = product + 1; i <= last; ++i)
      for (const int buffer : read)
        if (writes(plan_.steps[i], buffer)) return;
    const DType dtype = matmul.graph->node(matmul.node).types[0].dtype;
    Dim weight_bytes = 0;
    for (const Step& step : scan.body)
      if (may_have_beside(step, matmul, rows))
        weight_bytes = weight_bytes +
                       step.shape.k * step.shape.n * Dim(static_cast<std::int64_t>(size_of(dtype)));
    if (weight_bytes == Dim(0)) return;
    Interleaved both{rows, scan.length, matmul.shape.k, weight_bytes, row->reverse, {}};
    matmul.interleaved = both;
    both.product = {matmul};
    scan.interleaved = both;
    const BufferPlan& result = plan_.buffers[static_cast<std::size_t>(out.buffer)];
    plan_.interleaved.push_back({rows, {read.begin(), read.end()}, result.last_phase});
  }

  ProgramPlan& plan_;
};

}  // namespace

bool Interleaved::in_turns(const DimEnv& env, int threads) const {
  return rows.evaluate(env) == 1 && length.evaluate(env) >= length_at_least &&
         depth.evaluate(env) > 0 && weight_bytes.evaluate(env) >= bytes_of_a_thread * threads;
}

bool may_have_beside(const Step& step, const Step& product, const Dim& rows) {
  return is_plain_product(step) && !step.turn && step.shape.m == rows &&
         step.product_dtype == product.product_dtype;
}

bool may_interleave(const Target& target, const MatmulTile& tile) {
  return target.vector_registers >= 32 && target.vector_bytes == 64 && target.has_fma &&
         !tile.pairs;
}

void interleave_products(ProgramPlan& plan) { Interleaver(plan).run(); }

}  // namespace treadle
