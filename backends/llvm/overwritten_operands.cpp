#include "backends/llvm/overwritten_operands.h"

#include <algorithm>
#include <map>

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

// By whom a buffer is used, of all steps.
struct Uses {
  std::size_t first = SIZE_MAX, writer = 0;
  int reads = 0, writes = 0;  // places
  bool apart = false;         // in a loop, beside layers, or over another one already
};

class Overwriter {
 public:
  explicit Overwriter(ProgramPlan& plan) : plan_(plan), uses_(plan.buffers.size()) {
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      const Step& step = plan.steps[i];
      const bool apart = step.kind == Step::Kind::scan || step.layer != Step::Layer::none;
      any_place(step, [&](const Location& place, bool writes) {
        for (const int number : {place.buffer, place.alternate, place.next_row})
          if (number >= 0) add(uses_[static_cast<std::size_t>(number)], i, writes, apart);
        return false;
      });
    }
  }

  void run() {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      if (step.kind != Step::Kind::fused || step.layer != Step::Layer::none) continue;
      for (const Location& to : step.out) overwrite(i, to);
    }
    if (!now_.empty()) replace(plan_.steps);
  }

 private:
  static void add(Uses& uses, std::size_t step, bool writes, bool apart) {
    uses.first = std::min(uses.first, step);
    uses.apart |= apart;
    ++(writes ? uses.writes : uses.reads);
    if (writes) uses.writer = step;
  }

  const BufferPlan& buffer(const Location& place) const {
    return plan_.buffers[static_cast<std::size_t>(place.buffer)];
  }
  Uses& uses(const Location& place) { return uses_[static_cast<std::size_t>(place.buffer)]; }

  // All of a piece of the arena that all threads share.
  bool is_whole(const Location& place) const {
    if (place.alternate >= 0 || place.next_row >= 0 || !place.rows.empty()) return false;
    const BufferPlan& plan = buffer(place);
    return plan.kind == BufferPlan::Kind::arena && !plan.per_thread && !plan.turn;
  }

  void overwrite(std::size_t at, const Location& to) {
    if (!is_whole(to) || uses(to).first != at) return;
    const Step& step = plan_.steps[at];
    const Graph& body = *step.graph->node(step.node).regions[0];
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Location& from = step.in[i];
      if (!is_whole(from) || !is_handed_over(at, from) || buffer(from).dtype != buffer(to).dtype ||
          buffer(from).elements != buffer(to).elements || !reads_in_place(body, i))
        continue;
      now_[to.buffer] = from.buffer;
      uses(to).apart = uses(from).apart = true;
      return;
    }
  }

  // Does one step write it, and only this one, behind that, read it?
  bool is_handed_over(std::size_t reader, const Location& place) {
    const Uses& of = uses(place);
    return !of.apart && of.reads == 1 && of.writes == 1 && of.writer < reader;
  }

  void replace(std::vector<Step>& steps) const {
    const auto rename = [&](int& number) {
      if (const auto found = now_.find(number); found != now_.end()) number = found->second;
    };
    for (Step& step : steps) {
      for (auto* places : {&step.in, &step.out})
        for (Location& place : *places)
          for (int* number : {&place.buffer, &place.alternate, &place.next_row}) rename(*number);
      for (PlannedBound& bound : step.bounds) rename(bound.counts.buffer);
      replace(step.before);
      replace(step.body);
    }
  }

  ProgramPlan& plan_;
  std::vector<Uses> uses_;  // of each buffer
  std::map<int, int> now_;  // where what stood in a buffer stands
};

}  // namespace

void overwrite_operands(ProgramPlan& plan) { Overwriter(plan).run(); }

}  // namespace treadle
