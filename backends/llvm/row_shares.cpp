#include "backends/llvm/row_shares.h"

#include <algorithm>
#include <optional>
#include <set>

#include "backends/llvm/row_reads.h"

namespace treadle {

namespace {

std::vector<int> buffers_of(const Location& place) {
  std::vector<int> out{place.buffer};
  if (place.alternate >= 0) out.push_back(place.alternate);
  return out;
}

// The rows of the first product, or else of the first kernel.
std::optional<Dim> rows_of(const std::vector<Step>& body) {
  for (const Step& step : body)
    if (step.kind == Step::Kind::matmul) return step.shape.m;
  for (const Step& step : body)
    if (step.kind == Step::Kind::fused) {
      const Dims& domain = step.graph->node(step.node).attributes.dims("domain");
      if (!domain.empty()) return domain[0];
    }
  return std::nullopt;
}

// The steps of a run, those of its loops in their place. None where it has loops under
// bounds.
bool collect(const Step& step, std::vector<const Step*>& out) {
  if (step.kind != Step::Kind::scan) {
    out.push_back(&step);
    return true;
  }
  const auto all = [&](const std::vector<Step>& steps) {
    return std::all_of(steps.begin(), steps.end(),
                       [&](const Step& inner) { return collect(inner, out); });
  };
  return step.bounds.empty() && all(step.before) && all(step.body);
}

// Does each step compute row r from row r of what the others compute? Products that
// are deferred are not there.
bool keep_to_rows(const std::vector<const Step*>& steps, const Dim& rows) {
  std::set<int> written;
  for (const Step* step : steps)
    for (const Location& place : step->out)
      for (const int buffer : buffers_of(place)) written.insert(buffer);
  return std::all_of(steps.begin(), steps.end(), [&](const Step* step) {
    if (step->unless_deferred >= 0) return true;
    const auto own = own_reads(*step, rows);
    if (!own || step->apart) return false;
    for (std::size_t i = 0; i < step->in.size(); ++i)
      for (const int buffer : buffers_of(step->in[i]))
        if (written.contains(buffer) && !(*own)[i]) return false;
    return true;
  });
}

std::optional<Dim> own_rows(const Step& loop) {
  const std::optional<Dim> rows = rows_of(loop.body);
  std::vector<const Step*> steps;
  if (!loop.bounds.empty() || !rows) return std::nullopt;
  for (const Step& step : loop.body) {
    if (step.kind == Step::Kind::scan) return std::nullopt;
    steps.push_back(&step);
  }
  return keep_to_rows(steps, *rows) ? rows : std::nullopt;
}

// How many rows a thread needs for a run to be done apart: as many as its deferred
// products say, if they agree, since each of them is deferred then and only then. And
// each must be one of a loop of the run.
std::optional<Dim> least_rows(const ProgramPlan& plan, const std::vector<const Step*>& steps) {
  std::optional<Dim> least;
  for (const Step* step : steps) {
    const int product = step->turn ? step->out[0].buffer : step->unless_deferred;
    if (product < 0) continue;
    const Dim& wanted = plan.buffers[static_cast<std::size_t>(product)].turn->least;
    const auto in_turn = [&](const Step* other) {
      return other->turn && other->out[0].buffer == product;
    };
    if (std::none_of(steps.begin(), steps.end(), in_turn) || (least && *least != wanted))
      return std::nullopt;
    least = wanted;
  }
  return least.value_or(Dim(own_rows_at_least));
}

class Together {
 public:
  explicit Together(const ProgramPlan& plan) : plan_(plan) {}

  void loop(Step& step) {
    if (step.kind != Step::Kind::scan || step.own_rows || step.body.empty()) return;
    for (Step& inner : step.body) loop(inner);
    runs(step.body);
    const Step& first = step.body.front();
    // One run is all of a turn: then all turns are one.
    if (first.together != static_cast<int>(step.body.size()) || !step.bounds.empty()) return;
    step.own_rows = first.own_rows;
    step.own_rows_least = first.own_rows_least;
  }

 private:
  // The longest runs that begin at each step in turn and have a loop whose rows are
  // shared out.
  void runs(std::vector<Step>& steps) {
    for (std::size_t i = 0; i < steps.size(); i += static_cast<std::size_t>(steps[i].together))
      for (std::size_t end = steps.size(); end > i + 1; --end)
        if (run(steps, i, end)) break;
  }

  bool run(std::vector<Step>& steps, std::size_t begin, std::size_t end) {
    std::optional<Dim> rows;
    std::vector<const Step*> inner;
    for (std::size_t i = begin; i < end; ++i) {
      const bool loop = steps[i].kind == Step::Kind::scan;
      if (loop && (!steps[i].own_rows || (rows && *rows != *steps[i].own_rows))) return false;
      if (loop) rows = steps[i].own_rows;
      if (!collect(steps[i], inner)) return false;
    }
    if (!rows || !keep_to_rows(inner, *rows)) return false;
    const auto least = least_rows(plan_, inner);
    if (!least) return false;
    steps[begin].own_rows = rows;
    steps[begin].own_rows_least = *least;
    steps[begin].together = static_cast<int>(end - begin);
    return true;
  }

  const ProgramPlan& plan_;
};

}  // namespace

void share_rows(std::vector<Step>& steps) {
  for (Step& step : steps) {
    if (step.kind != Step::Kind::scan) continue;
    share_rows(step.before);
    share_rows(step.body);
    step.own_rows = own_rows(step);
  }
}

void share_rows_together(ProgramPlan& plan) {
  Together together(plan);
  for (Step& step : plan.steps) together.loop(step);
}

void share_while_done(ProgramPlan& plan) {
  int steps = 1;
  for (std::size_t i = 0; i < plan.steps.size(); i += static_cast<std::size_t>(steps)) {
    Step& step = plan.steps[i];
    steps = step.run ? step.run->steps : step.together;
    if (step.run) step.run->shared = plan.shared++;
    if (steps != 1) continue;
    const bool product = step.kind == Step::Kind::matmul && step.row_loops.empty() &&
                         step.sum_loops.empty() && step.shape.batch == Dim(1) &&
                         step.shape.m != Dim(1);
    if (product || step.kind == Step::Kind::attention || step.own_rows) step.shared = plan.shared++;
  }
}

}  // namespace treadle
