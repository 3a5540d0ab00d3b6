#include "backends/llvm/early_steps.h"

#include <algorithm>
#include <cstddef>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

namespace {

class Mover {
 public:
  explicit Mover(std::vector<Step>& steps) : steps_(steps) {}

  void run() {
    std::size_t last_run = steps_.size();  // with no loop behind it
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].kind == Step::Kind::scan) last_run = steps_.size();
      if (steps_[i].run) {
        const auto count = static_cast<std::size_t>(steps_[i].run->steps);
        move_attention(i, i + count);
        last_run = i;
        i += count - 1;
      } else if (last_run < i && waits_for_nothing(i) && is_packed_at_once(i)) {
        move(i, last_run++);
      }
    }
  }

 private:
  void move(std::size_t from, std::size_t to) {
    const auto at = [&](std::size_t i) { return steps_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::rotate(at(to), at(from), at(from + 1));
  }

  // What reads the results of a run that ends in front of `end`, before what does not.
  void move_attention(std::size_t begin, std::size_t end) {
    Buffers run, between;
    for (std::size_t i = begin; i < end; ++i) run.add(steps_[i]);
    for (std::size_t i = end; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.kind == Step::Kind::scan || step.run) return;
      if (step.kind == Step::Kind::attention) {
        if (i > end && run.conflicts(step) && !between.conflicts(step)) move(i, end);
        return;
      }
      between.add(step);
    }
  }

  // Does it read nothing that the steps in front of it write?
  bool waits_for_nothing(std::size_t number) const {
    const Step& step = steps_[number];
    if (step.kind != Step::Kind::fused && step.kind != Step::Kind::copy) return false;
    return std::none_of(steps_.begin(), steps_.begin() + static_cast<std::ptrdiff_t>(number),
                        [&](const Step& before) {
                          Buffers of;
                          of.add(before);
                          return of.conflicts(step);
                        });
  }

  // Does a pack in front of the next run or loop read it?
  bool is_packed_at_once(std::size_t number) const {
    for (std::size_t i = number + 1; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.run || step.kind == Step::Kind::scan) return false;
      if (touches(step, steps_[number].out[0].buffer)) return step.kind == Step::Kind::pack;
    }
    return false;
  }

  std::vector<Step>& steps_;
};

}  // namespace

void move_early(ProgramPlan& plan) { Mover(plan.steps).run(); }

}  // namespace treadle
