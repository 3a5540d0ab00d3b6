#include "backends/llvm/transposed_inputs.h"

#include <algorithm>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

namespace {

// Steps that read the buffer, in `steps` or in loops among them.
void readers(std::vector<Step>& steps, int buffer, std::vector<Step*>& out) {
  for (Step& step : steps) {
    if (std::any_of(step.in.begin(), step.in.end(),
                    [&](const Location& place) { return stands_in(place, buffer); }))
      out.push_back(&step);
    readers(step.before, buffer, out);
    readers(step.body, buffer, out);
  }
}

// [batch, time, width], if the step turns an input of the program from that into
// [time, batch, width] and does nothing else.
const Dims* turned_input(const ProgramPlan& plan, const Step& step) {
  if (step.kind != Step::Kind::fused || step.in.size() != 1 || step.out.size() != 1 ||
      !step.in[0].rows.empty() || !step.out[0].rows.empty())
    return nullptr;
  const auto kind_of = [&](const Location& place) {
    return plan.buffers[static_cast<std::size_t>(place.buffer)].kind;
  };
  if (kind_of(step.in[0]) != BufferPlan::Kind::input ||
      kind_of(step.out[0]) != BufferPlan::Kind::arena)
    return nullptr;
  const Graph& body = *step.graph->node(step.node).regions[0];
  const Node& node = body.node(body.outputs()[0].value.node);
  if (node.op != Op::transpose || node.operands[0] != body.input_value(0) ||
      node.attributes.integers("permutation") != Integers{1, 0, 2})
    return nullptr;
  return &body.type(node.operands[0]).dims;
}

// Does the product read A as a matrix of so many dense elements a row, all of it?
bool reads_rows(const Step& matmul, const Dim& stride) {
  return matmul.kind == Step::Kind::matmul && matmul.view_a.offset == Dim(0) &&
         matmul.view_a.free_stride == stride && matmul.view_a.contract_stride == Dim(1);
}
bool reads_columns(const Step& matmul, const Dim& stride) {
  return matmul.direct && matmul.view_a.offset == Dim(0) && matmul.view_a.free_stride == Dim(1) &&
         matmul.view_a.contract_stride == stride;
}

}  // namespace

void read_transposed_inputs(ProgramPlan& plan) {
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    Step& turns = plan.steps[i];
    const Dims* dims = turned_input(plan, turns);
    // Others may rely on the barrier in front of it.
    if (dims == nullptr || turns.barrier_before) continue;
    // Who reads the input later would find what a step has put there.
    const int input = turns.in[0].buffer;
    if (std::any_of(plan.steps.begin(), plan.steps.end(),
                    [&](const Step& step) { return writes(step, input); }))
      continue;
    const Dim &batch = (*dims)[0], &time = (*dims)[1], &width = (*dims)[2];
    const int turned = turns.out[0].buffer;
    std::vector<Step*> reading;
    readers(plan.steps, turned, reading);
    int deferred = -1;
    const bool all = std::all_of(reading.begin(), reading.end(), [&](const Step* step) {
      const bool rows = reads_rows(*step, width) && (step->turn || step->unless_deferred >= 0);
      if (rows && step->unless_deferred >= 0) {
        if (deferred >= 0) return false;  // two may be deferred one without the other
        deferred = step->unless_deferred;
      }
      return (rows || reads_columns(*step, width)) && step->in[0].buffer == turned &&
             step->in[1].buffer != turned;
    });
    if (!all) continue;
    for (Step* step : reading) {
      if (step->unless_deferred >= 0) continue;
      step->in[0] = turns.in[0];
      if (step->turn) {
        step->view_a.free_stride = time * width;
        step->turn_stride = width;
      } else {
        step->view_a.contract_stride = time * width;
        step->a_run = {batch, width, Dim(0)};
      }
    }
    if (deferred >= 0) {
      turns.unless_deferred = deferred;
    } else {
      plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(i));
      --i;
    }
  }
}

}  // namespace treadle
