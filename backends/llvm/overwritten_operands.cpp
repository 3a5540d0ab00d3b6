#include "backends/llvm/overwritten_operands.h"

#include <algorithm>

#include "backends/llvm/buffer_uses.h"
#include "ir/op_def.h"

namespace treadle {

bool reads_in_place(const Graph& body, std::size_t argument) {
  const NodeId source = body.inputs()[argument];
  const Dims& dims = body.node(source).types[0].dims;
  // What follows from it is worked out wherever it is read, and reads it there.
  std::vector<bool> follows(body.size(), false);
  follows[source] = true;
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    if (std::none_of(node.operands.begin(), node.operands.end(),
                     [&](Value v) { return follows[v.node]; }))
      continue;
    if (!op_def(node.op).pointwise() || node.types[0].dims != dims) return false;
    follows[id] = true;
  }
  return std::none_of(body.outputs().begin(), body.outputs().end(),
                      [&](const Output& output) { return body.type(output.value).dims != dims; });
}

namespace {

class Overwriter {
 public:
  explicit Overwriter(ProgramPlan& plan) : plan_(plan) {}

  void run() {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      if (step.kind != Step::Kind::fused || step.layer != Step::Layer::none) continue;
      for (std::size_t output = 0; output < step.out.size(); ++output) overwrite(i, output);
    }
  }

 private:
  BufferPlan& buffer(int number) { return plan_.buffers[static_cast<std::size_t>(number)]; }

  // All of a piece of the arena that all threads share.
  bool is_whole(const Location& place) {
    if (place.alternate >= 0 || place.next_row >= 0 || !place.rows.empty()) return false;
    const BufferPlan& plan = buffer(place.buffer);
    return plan.kind == BufferPlan::Kind::arena && !plan.per_thread && !plan.turn;
  }
  bool used_before(std::size_t step, int number) const {
    return std::any_of(plan_.steps.begin(), plan_.steps.begin() + static_cast<std::ptrdiff_t>(step),
                       [&](const Step& other) { return touches(other, number); });
  }

  void overwrite(std::size_t at, std::size_t output) {
    const Step& step = plan_.steps[at];
    const Location to = step.out[output];
    if (!is_whole(to) || used_before(at, to.buffer)) return;
    const Graph& body = *step.graph->node(step.node).regions[0];
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Location from = step.in[i];
      if (!is_whole(from) || from.buffer == to.buffer || reads(step, from.buffer) != 1 ||
          writes(step, from.buffer) || buffer(from.buffer).dtype != buffer(to.buffer).dtype ||
          buffer(from.buffer).elements != buffer(to.buffer).elements || !reads_in_place(body, i) ||
          !is_handed_over(at, from.buffer))
        continue;
      replace(plan_.steps, to.buffer, from.buffer);
      return;
    }
  }

  static std::ptrdiff_t reads(const Step& step, int number) {
    return std::count_if(step.in.begin(), step.in.end(),
                         [&](const Location& place) { return stands_in(place, number); });
  }

  // Does one step write it, and only this one, behind that, read it?
  bool is_handed_over(std::size_t reader, int number) const {
    int writers = 0;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      if (i == reader || !touches(step, number)) continue;
      if (i > reader || reads(step, number) > 0 || step.kind == Step::Kind::scan ||
          step.layer != Step::Layer::none)
        return false;
      ++writers;
    }
    return writers == 1;
  }

  static void replace(std::vector<Step>& steps, int from, int to) {
    for (Step& step : steps) {
      for (auto* places : {&step.in, &step.out})
        for (Location& place : *places)
          for (int* number : {&place.buffer, &place.alternate, &place.next_row})
            if (*number == from) *number = to;
      for (PlannedBound& bound : step.bounds)
        if (bound.counts.buffer == from) bound.counts.buffer = to;
      replace(step.before, from, to);
      replace(step.body, from, to);
    }
  }

  ProgramPlan& plan_;
};

}  // namespace

void overwrite_operands(ProgramPlan& plan) { Overwriter(plan).run(); }

}  // namespace treadle
