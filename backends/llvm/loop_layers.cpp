#include "backends/llvm/loop_layers.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/loop_pairs.h"
#include "backends/llvm/row_reads.h"
#include "backends/llvm/turn_reads.h"

namespace treadle {

namespace {

// A place whose rows are those of the whole, from `start` on; in a loop, that of its turn.
struct Rows {
  Dim start;
  std::optional<Location::Row> turn;
};

std::optional<Rows> rows_of(const Location& place) {
  if (place.alternate >= 0) return std::nullopt;
  Rows out;
  for (const Location::Row& row : place.rows) {
    if (row.loop >= 0) {
      if (out.turn) return std::nullopt;
      out.turn = row;
    } else {
      out.start = out.start + row.start;
    }
  }
  return out;
}

// Two loops and the steps between them that the second one needs and the first one does not.
class Layers {
 public:
  Layers(const Step& first, const Step& second) : first_(first), second_(second) {
    by_first_.add(first);
  }

  // In their order.
  bool add(const Step& step) {
    if (step.kind != Step::Kind::matmul && step.kind != Step::Kind::fused) return false;
    Buffers own;
    for (const Location& place : step.in) own.read.insert({place.buffer, place.alternate});
    for (const Location& place : step.out)
      if (touched(place) || own.read.contains(place.buffer) || !place.rows.empty() ||
          place.alternate >= 0)
        return false;
    std::vector<std::optional<std::size_t>> axes;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      axes.emplace_back();
      if (!written(step.in[i])) continue;
      const auto read = rows_of(step.in[i]);
      if (!read || read->turn || (step.kind == Step::Kind::matmul && i > 0)) return false;
      const Value v = step.kind == Step::Kind::matmul ? step.view_a.base
                                                      : step.graph->node(step.node).operands[i];
      const Dims& dims = step.graph->type(v).dims;
      axes.back() = axis_of(step.in[i]);
      if (*axes.back() >= dims.size() || dims[*axes.back()] != first_.length ||
          !follows(step.in[i].buffer, read->start, treadle::product(dims).exact_div(first_.length)))
        return false;
    }
    const bool product = step.kind == Step::Kind::matmul;
    std::optional<std::size_t> axis;
    if (product && is_by_turns(step) && axes[0] == 0)
      axis = 0;
    else if (!product)
      axis = turn_axis(step.graph->node(step.node), axes);
    if (!axis) return false;
    rows_.emplace_back();
    if (!product) {
      const Dims& domain = step.graph->node(step.node).attributes.dims("domain");
      if (domain[*axis] != first_.length) return false;
      rows_.back() = treadle::product(
          Dims(domain.begin(), domain.begin() + static_cast<std::ptrdiff_t>(*axis)));
    }
    for (const Location& place : step.out) axes_[place.buffer] = *axis;
    between_.add(step);
    // Each half reads as much of their weights.
    half_weights_ = half_weights_ + work_of({&step, 1}).weights.floor_div(2);
    return true;
  }

  // May the second loop be behind?
  bool hold() const {
    const auto weights = (work_of(first_.body).weights + half_weights_).constant();
    if (!weights || *weights > weights_at_most) return false;
    const auto early = [&](const Step& step) {
      return by_first_.conflicts(step) || between_.conflicts(step);
    };
    if (std::any_of(second_.before.begin(), second_.before.end(), early)) return false;
    return std::none_of(second_.body.begin(), second_.body.end(), [&](const Step& step) {
      return any_place(step, [&](const Location& place, bool writes) {
        if (writes ? !touched(place) : !written(place)) return false;
        return !is_of_turn(place) || (writes && !axes_.contains(place.buffer));
      });
    });
  }

  // Step::rows_of_turn of each step between.
  const std::vector<std::optional<Dim>>& rows_of_turn() const { return rows_; }

 private:
  static bool among(const std::set<int>& buffers, const Location& place) {
    return buffers.contains(place.buffer) || buffers.contains(place.alternate) ||
           buffers.contains(place.next_row);
  }
  bool written(const Location& place) const {
    return among(by_first_.written, place) || among(between_.written, place);
  }
  bool touched(const Location& place) const {
    return written(place) || among(by_first_.read, place) || among(between_.read, place);
  }
  // Along which dimension turns are counted: stacks have them in front.
  std::size_t axis_of(const Location& place) const {
    const auto found = axes_.find(place.buffer);
    return found == axes_.end() ? 0 : found->second;
  }
  bool is_by_turns(const Step& matmul) const {
    const auto own = own_reads(matmul, first_.length * *first_.own_rows);
    return !matmul.direct && own && (*own)[0];
  }
  bool is_of_turn(const Location& place) const {
    const auto read = rows_of(place);
    return read && read->turn && place.next_row < 0 && axis_of(place) == 0 &&
           read->turn->reverse == first_.reverse && read->turn->length == first_.length &&
           follows(place.buffer, read->start, read->turn->stride);
  }
  // Rows from `start` on, of so many elements: is none of them later than the one that the first
  // loop writes in the same turn? What goes into a turn and what comes out may be rows of one
  // stack.
  bool follows(int buffer, const Dim& start, const std::optional<Dim>& row) const {
    return std::none_of(first_.body.begin(), first_.body.end(), [&](const Step& step) {
      return std::any_of(step.out.begin(), step.out.end(), [&](const Location& place) {
        if (!stands_in(place, buffer)) return false;
        const auto write = rows_of(place);
        if (!write || !write->turn || write->turn->stride != row) return true;
        const auto ahead =
            (first_.reverse ? start - write->start : write->start - start).constant();
        return !ahead || *ahead < 0;
      });
    });
  }

  const Step &first_, &second_;
  Dim half_weights_;
  Buffers by_first_, between_;       // what they use
  std::map<int, std::size_t> axes_;  // axis_of what steps between write
  std::vector<std::optional<Dim>> rows_;
};

// Says what the steps from loop `i` to loop `j` are, if the second one may be some turns behind
// the first.
bool pair(std::span<Step> steps, std::size_t i, std::size_t j) {
  using Layer = Step::Layer;
  Buffers behind, needed;
  behind.add(steps[i]);
  needed.add(steps[j]);
  std::vector<Layer> found(j - i + 1, Layer::front);
  for (std::size_t k = i + 1; k < j; ++k) {
    if (steps[k].kind == Step::Kind::scan || steps[k].kind == Step::Kind::claimed) return false;
    if (!behind.conflicts(steps[k])) continue;
    behind.add(steps[k]);
    found[k - i] = Layer::back;
  }
  for (std::size_t k = j; --k > i;) {
    if (found[k - i] != Layer::back || !needed.conflicts(steps[k])) continue;
    needed.add(steps[k]);
    found[k - i] = Layer::between;
  }
  Layers layers(steps[i], steps[j]);
  for (std::size_t k = i + 1; k < j; ++k) {
    if (steps[k].run) {
      // Threads may hold a block's rows only, and do all of it for these.
      for (std::size_t one = k; one < k + static_cast<std::size_t>(steps[k].run->steps); ++one)
        if (found[one - i] == Layer::between || found[one - i] != found[k - i]) return false;
    }
    if (found[k - i] == Layer::between && !layers.add(steps[k])) return false;
  }
  if (!layers.hold()) return false;
  found.front() = Layer::first;
  found.back() = Layer::second;
  for (std::size_t k = i; k <= j; ++k) steps[k].layer = found[k - i];
  std::size_t next = 0;
  for (std::size_t k = i + 1; k < j; ++k)
    if (found[k - i] == Layer::between) steps[k].rows_of_turn = layers.rows_of_turn()[next++];
  return true;
}

}  // namespace

void pair_layers(ProgramPlan& plan) {
  std::vector<Step>& steps = plan.steps;
  std::vector<bool> free;  // a loop that is not one of a pair
  for (std::size_t i = 0; i < steps.size(); ++i)
    free.push_back(may_pair(steps[i]) && steps[i].own_rows && (i == 0 || !steps[i - 1].beside));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!free[i]) continue;
    // The next loop, since none may stand between.
    std::size_t j = i + 1;
    while (j < steps.size() && steps[j].kind != Step::Kind::scan) ++j;
    if (j < steps.size() && free[j] && are_alike(steps[i], steps[j]) &&
        steps[i].reverse == steps[j].reverse && pair(steps, i, j))
      i = j;
  }
}

}  // namespace treadle
