#include "backends/llvm/preparation.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

namespace {

bool is_symbolic(const Dims& dims) {
  return std::any_of(dims.begin(), dims.end(), [](const Dim& dim) { return !dim.is_constant(); });
}

bool is_symbolic(const Node& node) {
  for (const Type& type : node.types)
    if (is_symbolic(type.dims)) return true;
  for (const auto& [name, attribute] : node.attributes)
    if (const Dims* dims = std::get_if<Dims>(&attribute); dims != nullptr && is_symbolic(*dims))
      return true;
  return std::any_of(node.regions.begin(), node.regions.end(), [](const Region& region) {
    const auto& nodes = region->nodes();
    return std::any_of(nodes.begin(), nodes.end(),
                       [](const Node& inner) { return is_symbolic(inner); });
  });
}

// Does the work depend on an extent that only a run knows?
bool is_symbolic(const Step& step) {
  const Node& node = step.graph->node(step.node);
  // The rows of a product by a packed weight are nothing to the packing.
  if (step.kind == Step::Kind::pack || step.kind == Step::Kind::prepare) {
    for (const ProductView::Loop& loop : step.sum_loops)
      if (!loop.extent.is_constant() || !loop.b_stride.is_constant()) return true;
    const MatrixView& view = step.view_b;
    return is_symbolic(Dims{step.shape.batch, step.shape.n, step.shape.k, view.offset,
                            view.batch_stride, view.free_stride, view.contract_stride});
  }
  return is_symbolic(node) || std::any_of(node.operands.begin(), node.operands.end(), [&](Value v) {
           return is_symbolic(step.graph->type(v).dims);
         });
}

bool is_whole(const Location& place) { return place.alternate < 0 && place.rows.empty(); }

class Mover {
 public:
  Mover(ProgramPlan& plan, const std::vector<int>& fixed)
      : plan_(plan), known_(plan.buffers.size(), false), writers_(plan.buffers.size(), 0) {
    for (const Step& step : plan.steps)
      any_place(step, [&](const Location& place, bool written) {
        for (const int buffer : {place.buffer, place.alternate})
          if (written && buffer >= 0) ++writers_[static_cast<std::size_t>(buffer)];
        return false;
      });
    for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
      const BufferPlan& buffer = plan.buffers[i];
      known_[i] = buffer.kind == BufferPlan::Kind::input && writers_[i] == 0 &&
                  std::find(fixed.begin(), fixed.end(), buffer.slot) != fixed.end();
    }
  }

  void run() {
    move(plan_.steps);
    std::set<int> slots;
    for (const Step& step : plan_.preparation) {
      plan_.prepares_runners |= step.kind == Step::Kind::prepare;
      for (const Location& place : step.in)
        if (buffer_of(place).kind == BufferPlan::Kind::input) slots.insert(buffer_of(place).slot);
      for (const Location& place : step.out)
        if (std::any_of(plan_.steps.begin(), plan_.steps.end(),
                        [&](const Step& other) { return touches(other, place.buffer); }))
          buffer_of(place).kind = BufferPlan::Kind::kept;
    }
    plan_.fixed.assign(slots.begin(), slots.end());
  }

 private:
  BufferPlan& buffer_of(const Location& place) {
    return plan_.buffers[static_cast<std::size_t>(place.buffer)];
  }

  // Steps of the program itself, and those in front of its loops.
  void move(std::vector<Step>& steps) {
    std::vector<Step> staying;
    for (Step& step : steps) {
      move(step.before);
      if (!follows(step)) {
        staying.push_back(std::move(step));
        continue;
      }
      for (const Location& place : step.out) known_[static_cast<std::size_t>(place.buffer)] = true;
      plan_.preparation.push_back(std::move(step));
    }
    steps = std::move(staying);
  }

  bool follows(const Step& step) {
    const bool able = step.kind == Step::Kind::fused || step.kind == Step::Kind::pack ||
                      step.kind == Step::Kind::matmul || step.kind == Step::Kind::prepare;
    if (!able || is_symbolic(step)) return false;
    return std::all_of(step.in.begin(), step.in.end(),
                       [&](const Location& place) {
                         return is_whole(place) && known_[static_cast<std::size_t>(place.buffer)];
                       }) &&
           std::all_of(step.out.begin(), step.out.end(), [&](const Location& place) {
             // The step is all that writes there.
             return is_whole(place) && buffer_of(place).kind == BufferPlan::Kind::arena &&
                    writers_[static_cast<std::size_t>(place.buffer)] == 1;
           });
  }

  ProgramPlan& plan_;
  std::vector<bool> known_;   // by buffer: what is there follows from fixed inputs
  std::vector<int> writers_;  // by buffer
};

}  // namespace

void move_to_preparation(ProgramPlan& plan, const std::vector<int>& fixed) {
  if (!fixed.empty()) Mover(plan, fixed).run();
}

}  // namespace treadle
