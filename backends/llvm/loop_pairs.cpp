#include "backends/llvm/loop_pairs.h"

#include <algorithm>
#include <iterator>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

WorkOfTurn work_of(std::span<const Step> steps) {
  WorkOfTurn out;
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::matmul) continue;
    const MatmulShape& shape = step.shape;
    const auto size = static_cast<std::int64_t>(size_of(step.product_dtype));
    out.flops = out.flops + shape.batch * shape.m * shape.n * shape.k;
    out.weights = out.weights + shape.batch * shape.n * shape.k * Dim(size);
  }
  return out;
}

// Another backend's runner knows the whole team only, and a loop inside has rows of its own.
bool may_pair(const Step& step) {
  return step.kind == Step::Kind::scan && step.bounds.empty() && !step.parallel && !step.beside &&
         std::none_of(step.body.begin(), step.body.end(), [](const Step& inner) {
           return inner.kind == Step::Kind::scan || inner.kind == Step::Kind::claimed ||
                  inner.kind == Step::Kind::prepare;
         });
}

bool are_alike(const Step& x, const Step& y) {
  if (x.length != y.length || x.body.size() != y.body.size() || x.own_rows != y.own_rows ||
      x.own_rows_least != y.own_rows_least)
    return false;
  const WorkOfTurn work = work_of(x.body);
  const auto weights = work.weights.constant();
  return weights && *weights <= weights_at_most && work.flops == work_of(y.body).flops;
}

namespace {

// Puts loop `j` behind loop `i`, if it may stand there.
bool pair(std::vector<Step>& steps, std::size_t i, std::size_t j) {
  Buffers behind;
  behind.add(steps[i]);
  std::vector<std::size_t> front, back;
  for (std::size_t k = i + 1; k < j;) {
    // A pair stays together.
    const std::size_t end = k + (steps[k].beside ? 2 : 1);
    bool follows = false;
    for (std::size_t one = k; one < end; ++one) follows |= behind.conflicts(steps[one]);
    for (; k < end; ++k) {
      (follows ? back : front).push_back(k);
      if (follows) behind.add(steps[k]);
    }
  }
  if (behind.conflicts(steps[j])) return false;
  std::vector<std::size_t> order = front;
  order.push_back(i);
  order.push_back(j);
  order.insert(order.end(), back.begin(), back.end());
  std::vector<Step> moved;
  for (const std::size_t k : order) moved.push_back(std::move(steps[k]));
  std::move(moved.begin(), moved.end(), steps.begin() + static_cast<std::ptrdiff_t>(i));
  Step &first = steps[i + front.size()], &second = steps[i + front.size() + 1];
  std::move(second.before.begin(), second.before.end(), std::back_inserter(first.before));
  second.before.clear();
  first.beside = true;
  return true;
}

}  // namespace

void pair_loops(ProgramPlan& plan) {
  std::vector<Step>& steps = plan.steps;
  const auto with_another = [&](std::size_t i) {
    if (!may_pair(steps[i]) || (i > 0 && steps[i - 1].beside)) return false;
    for (std::size_t j = i + 1; j < steps.size(); ++j)
      if (may_pair(steps[j]) && !steps[j - 1].beside && are_alike(steps[i], steps[j]) &&
          pair(steps, i, j))
        return true;
    return false;
  };
  // Behind a pair that was made, another step may stand in the first one's place.
  for (std::size_t i = 0; i < steps.size();)
    if (!with_another(i)) ++i;
}

}  // namespace treadle
