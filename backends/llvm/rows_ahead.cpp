#include "backends/llvm/rows_ahead.h"

#include <algorithm>
#include <optional>
#include <span>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/row_reads.h"

namespace treadle {

namespace {

// Not one that is there only where it is deferred.
bool may_ask(const Step& step) {
  const auto rows = step.shape.m.constant();
  return step.kind == Step::Kind::matmul && !step.direct && !step.turn &&
         (!rows || *rows >= least_rows_to_ask) && step.row_loops.empty() &&
         step.sum_loops.empty() && step.shape.batch == Dim(1);
}

// Steps that are done for a thread's own rows, again and again.
class Asking {
 public:
  // `loop` counts the turns, unless it is -1.
  Asking(const ProgramPlan& plan, std::span<Step> steps, const Dim& rows, int loop)
      : plan_(plan), steps_(steps), rows_(rows), loop_(loop) {}

  void run() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Step& kernel = steps_[i];
      if (loop_ >= 0 && starts_from_another(kernel)) ask_for_start(i);
      // In a run a product's own result may go to memory, too.
      const bool product_of_run = loop_ < 0 && kernel.kind == Step::Kind::matmul;
      if (kernel.kind != Step::Kind::fused && !product_of_run) continue;
      std::uint64_t turns = 0;
      Step* product = last_product(steps_.first(i));
      if (product == nullptr && loop_ >= 0) {
        product = last_product(steps_.subspan(i));
        turns = 1;
      }
      if (product == nullptr) continue;
      const Node& node = kernel.graph->node(kernel.node);
      const auto ask = [&](const Location& place, const Type& type) {
        if (!is_near(place, i)) add(*product, place, type, turns);
      };
      for (std::size_t k = 0; k < kernel.in.size() && !product_of_run; ++k)
        ask(kernel.in[k], kernel.graph->type(node.operands[k]));
      for (std::size_t k = 0; k < kernel.out.size(); ++k)
        ask(kernel.out[k], node.types[kernel.out_index[k]]);
    }
  }

 private:
  // A product reads what its sums start from as soon as it begins.
  void ask_for_start(std::size_t at) {
    const Step& step = steps_[at];
    const Location& start = step.in[2];
    Step* product = last_product(steps_);
    if (product != nullptr && !is_near(start, at))
      add(*product, start, step.graph->type(step.graph->node(step.node).operands[2]), 1);
  }

  static Step* last_product(std::span<Step> steps) {
    for (std::size_t i = steps.size(); i-- > 0;)
      if (may_ask(steps[i])) return &steps[i];
    return nullptr;
  }

  // Elements of a row, where the turn's or the block's rows stand one behind the other.
  std::optional<Dim> row_of(const Location& place, const Type& type) const {
    if (place.alternate >= 0) return std::nullopt;
    const Location::Row* of_turn = nullptr;  // those of loops around only say where it begins
    for (const Location::Row& row : place.rows)
      if (row.loop == loop_) of_turn = &row;
    if (loop_ >= 0) return of_turn != nullptr ? of_turn->stride.exact_div(rows_) : std::nullopt;
    const auto leading = leading_dims(type.dims, rows_);
    if (!leading) return std::nullopt;
    return product(
        Dims(type.dims.begin() + static_cast<std::ptrdiff_t>(*leading), type.dims.end()));
  }

  // Is it there anyway when steps_[kernel] needs it? A step in front of it has read it, or one
  // writes into that buffer, in this turn or in the one before: carried values stand in their
  // stacks, whose rows the kernel itself writes.
  bool is_near(const Location& place, std::size_t kernel) const {
    const auto& turn = plan_.buffers[static_cast<std::size_t>(place.buffer)].turn;
    if (turn && turn->each_thread) return true;
    const auto is = [&](const Location& other) { return other == place; };
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.turn) continue;  // where it is not there, its result is in memory
      if (i < kernel && std::any_of(step.in.begin(), step.in.end(), is)) return true;
      if (std::any_of(step.out.begin(), step.out.end(), [&](const Location& out) {
            return out.buffer == place.buffer && !(i == kernel && is(out));
          }))
        return true;
    }
    return false;
  }

  void add(Step& to, const Location& place, const Type& type, std::uint64_t turns) const {
    const auto row = row_of(place, type);
    if (!row) return;
    if (std::any_of(to.ahead.begin(), to.ahead.end(),
                    [&](const RowsAhead& known) { return known.place == place; }))
      return;
    const auto size = static_cast<std::int64_t>(size_of(type.dtype));
    // What is not there where it is deferred comes last.
    const bool deferred = plan_.buffers[static_cast<std::size_t>(place.buffer)].turn.has_value();
    to.ahead.insert(deferred ? to.ahead.end() : to.ahead.begin(),
                    {place, type.dtype, *row * Dim(size), turns});
  }

  const ProgramPlan& plan_;
  std::span<Step> steps_;
  const Dim& rows_;
  int loop_;
};

void ask_in_loops(const ProgramPlan& plan, std::vector<Step>& steps) {
  for (Step& step : steps) {
    ask_in_loops(plan, step.body);
    if (step.kind == Step::Kind::scan && step.own_rows && step.bounds.empty())
      Asking(plan, step.body, *step.own_rows, step.loops).run();
  }
}

}  // namespace

void ask_ahead(ProgramPlan& plan) {
  ask_in_loops(plan, plan.steps);
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    if (const auto& run = plan.steps[i].run)
      Asking(plan, std::span(plan.steps).subspan(i, static_cast<std::size_t>(run->steps)),
             run->rows, -1)
          .run();
}

}  // namespace treadle
