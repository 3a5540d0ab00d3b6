#include "backends/llvm/row_runs.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/row_reads.h"

namespace treadle {

namespace {

// A product of 24 rows, whole tiles, takes as long a row as one of more where its weights
// come from the second level of cache, and then a thread that is done soon finds that the
// others are. Where they come from further away, a block has more rows, as long as what its
// widest step reads and writes is half of that cache.
constexpr std::int64_t rows_multiple = 24;
constexpr std::int64_t near_weights = 256 << 10;  // bytes
constexpr std::int64_t bytes_of_block = 256 << 10;
constexpr std::int64_t far_rows = 48, most_rows = 192;
// Fewer rows of a thread are done step by step.
constexpr std::int64_t least_rows = 48;
// A run's memory is in use from its beginning to its end.
constexpr int most_steps = 32;

bool is_whole(const Location& place) {
  return place.alternate < 0 && place.rows.empty() && place.next_row < 0;
}

// own_reads of each step, where it may be part of a run.
using OwnReads = std::vector<std::optional<std::vector<bool>>>;

OwnReads reads_of(const std::vector<Step>& steps, const Dim& rows) {
  std::set<int> in_loops;
  for (const Step& step : steps)
    if (step.kind == Step::Kind::scan)
      any_place(step, [&](const Location& place, bool) {
        in_loops.insert(place.buffer);
        return false;
      });
  const auto whole = [](const std::vector<Location>& places) {
    return std::all_of(places.begin(), places.end(), is_whole);
  };
  OwnReads out;
  for (const Step& step : steps) {
    const bool product = step.kind == Step::Kind::matmul && !step.direct;
    out.emplace_back();
    // A loop may compute a product that it reads in its turns (deferred_products.h).
    if ((product && !in_loops.contains(step.out[0].buffer)) || step.kind == Step::Kind::fused)
      if (whole(step.in) && whole(step.out)) out.back() = own_reads(step, rows);
  }
  return out;
}

// A run that begins with a step.
class Run {
 public:
  Run(const std::vector<Step>& steps, const OwnReads& reads, std::size_t first)
      : steps_(steps), reads_(reads), first_(first) {}

  // Does a run begin here?
  bool find() {
    if (!join(first_)) return false;
    members_.push_back(first_);
    for (std::size_t i = first_ + 1; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.run || static_cast<int>(members_.size()) == most_steps) break;
      const bool waits = behind_.conflicts(step);
      if (!waits && join(i)) {
        members_.push_back(i);
      } else if (!waits && may_go_in_front(step)) {
        front_.push_back(i);
      } else if (may_go_behind(step)) {
        behind_.add(step);
      } else {
        break;
      }
    }
    int products = 0;
    for (const std::size_t i : members_) products += steps_[i].kind == Step::Kind::matmul;
    return products > 0 && static_cast<int>(members_.size()) > products;
  }

  // The steps from the first to the last of the run, in their new order.
  std::vector<std::size_t> order(std::size_t* front, std::size_t* count) const {
    std::vector<std::size_t> out;
    const std::size_t last = members_.back();
    for (const std::size_t i : front_)
      if (i < last) out.push_back(i);
    *front = out.size();
    *count = members_.size();
    out.insert(out.end(), members_.begin(), members_.end());
    std::set<std::size_t> placed(out.begin(), out.end());
    for (std::size_t i = first_; i <= last; ++i)
      if (!placed.contains(i)) out.push_back(i);
    return out;
  }

 private:
  static bool may_go_behind(const Step& step) {
    return step.kind == Step::Kind::matmul || step.kind == Step::Kind::fused ||
           step.kind == Step::Kind::pack || step.kind == Step::Kind::copy;
  }
  bool may_go_in_front(const Step& step) const {
    return (step.kind == Step::Kind::pack || step.kind == Step::Kind::fused) &&
           !run_.conflicts(step);
  }

  // Adds the step to the run, if it keeps to the rows.
  bool join(std::size_t number) {
    const Step& step = steps_[number];
    const auto& own = reads_[number];
    if (!own) return false;
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (!(*own)[i] && run_.written.contains(step.in[i].buffer)) return false;
    for (const Location& place : step.out)
      if (read_whole_.contains(place.buffer)) return false;
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (!(*own)[i]) read_whole_.insert(step.in[i].buffer);
    run_.add(step);
    return true;
  }

  const std::vector<Step>& steps_;
  const OwnReads& reads_;
  std::size_t first_;
  std::vector<std::size_t> members_, front_;
  Buffers run_, behind_;
  std::set<int> read_whole_;
};

// Bytes that a step reads and writes of a row.
std::int64_t bytes_of_row(const ProgramPlan& plan, const Step& step, const Dim& rows) {
  std::int64_t out = 0;
  for (const auto* places : {&step.in, &step.out})
    for (const Location& place : *places) {
      const BufferPlan& buffer = plan.buffers[static_cast<std::size_t>(place.buffer)];
      const auto row = buffer.elements.exact_div(rows);
      if (const auto elements = row ? row->constant() : std::nullopt)
        out += *elements * static_cast<std::int64_t>(size_of(buffer.dtype));
    }
  return out;
}

// What nothing but a run uses need hold a block of each thread's only.
void hold_blocks(ProgramPlan& plan) {
  struct Users {
    std::size_t first = SIZE_MAX, last = 0;
  };
  std::vector<Users> users(plan.buffers.size());
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    any_place(plan.steps[i], [&](const Location& place, bool) {
      for (const int buffer : {place.buffer, place.alternate, place.next_row}) {
        if (buffer < 0) continue;
        Users& of = users[static_cast<std::size_t>(buffer)];
        of.first = std::min(of.first, i);
        of.last = std::max(of.last, i);
      }
      return false;
    });
  std::vector<std::size_t> runs;
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    if (plan.steps[i].run) runs.push_back(i);
  for (std::size_t i = 0; i < users.size(); ++i) {
    BufferPlan& buffer = plan.buffers[i];
    if (buffer.kind != BufferPlan::Kind::arena || buffer.per_thread) continue;
    for (const std::size_t at : runs) {
      const auto& run = plan.steps[at].run;
      if (users[i].first == SIZE_MAX || users[i].first < at ||
          users[i].last >= at + static_cast<std::size_t>(run->steps))
        continue;
      if (const auto row = buffer.elements.exact_div(run->rows))
        buffer.turn = {run->rows, run->least, Dim(run->block) * *row, true};
    }
  }
}

// Rows of a block of so many steps from the first one on.
std::int64_t rows_of_block(const ProgramPlan& plan, std::size_t first, std::size_t count,
                           const Dim& rows) {
  std::int64_t widest = 1, weights = 0;
  for (std::size_t i = first; i < first + count; ++i) {
    const Step& step = plan.steps[i];
    widest = std::max(widest, bytes_of_row(plan, step, rows));
    if (step.kind != Step::Kind::matmul) continue;
    const auto elements = (step.shape.k * step.shape.n).constant();
    const auto size = static_cast<std::int64_t>(size_of(step.product_dtype));
    weights = std::max(weights, elements ? *elements * size : INT64_MAX);
  }
  if (weights <= near_weights) return rows_multiple;
  return std::clamp(bytes_of_block / widest / rows_multiple * rows_multiple, far_rows, most_rows);
}

}  // namespace

void gather_row_runs(ProgramPlan& plan) {
  std::vector<Step>& steps = plan.steps;
  std::vector<Dim> rows;  // of products with weights
  for (const Step& step : steps)
    if (step.kind == Step::Kind::matmul && !step.direct && step.shape.m != Dim(1) &&
        std::find(rows.begin(), rows.end(), step.shape.m) == rows.end())
      rows.push_back(step.shape.m);
  for (const Dim& all : rows) {
    OwnReads reads = reads_of(steps, all);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].run) {
        i += static_cast<std::size_t>(steps[i].run->steps) - 1;
        continue;
      }
      Run run(steps, reads, i);
      if (!run.find()) continue;
      std::size_t front = 0, count = 0;
      const std::vector<std::size_t> order = run.order(&front, &count);
      std::vector<Step> moved;
      OwnReads moved_reads;
      for (const std::size_t from : order) {
        moved.push_back(std::move(steps[from]));
        moved_reads.push_back(std::move(reads[from]));
      }
      std::move(moved.begin(), moved.end(), steps.begin() + static_cast<std::ptrdiff_t>(i));
      std::move(moved_reads.begin(), moved_reads.end(),
                reads.begin() + static_cast<std::ptrdiff_t>(i));
      i += front;
      steps[i].run =
          RowRun{all, static_cast<int>(count), rows_of_block(plan, i, count, all), least_rows};
      i += count - 1;
    }
  }
  hold_blocks(plan);
}

}  // namespace treadle
