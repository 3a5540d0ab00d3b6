#include "backends/llvm/program_barriers.h"

#include <algorithm>
#include <map>
#include <set>

#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/column_shares.h"

namespace treadle {

namespace {

std::set<int> buffers_of(const std::vector<Location>& places) {
  std::set<int> out;
  for (const Location& place : places) {
    out.insert(place.buffer);
    if (place.alternate >= 0) out.insert(place.alternate);
  }
  return out;
}

// A buffer as a step reads or writes it.
struct Use {
  int buffer = -1;
  bool writes = false;
  friend auto operator<=>(const Use&, const Use&) = default;
};
// By whom: each thread its own columns, or (none) any thread any of it.
using Uses = std::map<Use, std::optional<ColumnShare>>;

void add(Uses& to, const Use& use, const std::optional<ColumnShare>& share) {
  const auto [found, fresh] = to.try_emplace(use, share);
  if (!fresh && found->second != share) found->second.reset();
}

enum class Meeting : std::uint8_t { none, unless_one_row, always };

// What was used since the threads last met. Where `rows` is 1 they do not meet
// at the barriers that depend on it.
struct State {
  Uses since_any;      // barrier, where rows is not 1
  Uses since_certain;  // where it is
  std::optional<Dim> rows;
  int phase = 0;

  void meet() {
    since_any.clear();
    since_certain.clear();
    rows.reset();
  }
};

bool conflicts(const Use& a, const Use& b) {
  return a.buffer == b.buffer && (a.writes || b.writes);
}

class BarrierPlanner {
 public:
  BarrierPlanner(ProgramPlan& plan, const MatmulTile& tile_f32) : plan_(plan), tile_(tile_f32) {}

  void run() {
    State state;
    steps(plan_.preparation, state);
    // Threads that did it meet behind it.
    if (!plan_.preparation.empty()) {
      state.meet();
      ++state.phase;
    }
    steps(plan_.steps, state);
  }

  // What a run of blocks of rows touches stays till its end: some threads may be there
  // while others begin.
  void keep(std::span<const Step> run, int first, int last) {
    std::set<int> touched;
    for (const Step& step : run) collect(step, touched);
    for (const int buffer : touched) {
      use(buffer, first);
      use(buffer, last);
    }
  }

 private:
  void use(int buffer, int phase) {
    if (buffer < 0) return;
    BufferPlan& plan = plan_.buffers[static_cast<std::size_t>(buffer)];
    plan.first_phase = std::min(plan.first_phase, phase);
    plan.last_phase = std::max(plan.last_phase, phase);
  }

  // What a step touches in one turn of the loops around it, where a carried
  // value's buffer of this turn is not that of the next. With `loop`, rows of
  // that loop's turn are left out.
  Uses uses_of(const Step& step, int loop = -1) const {
    const auto column = column_use(step, tile_);
    Uses out;
    const auto touch = [&](const Location& place, bool writes, bool own) {
      const bool turn = std::any_of(place.rows.begin(), place.rows.end(),
                                    [&](const Location::Row& row) { return row.loop == loop; });
      if (loop >= 0 && turn && place.next_row < 0) return;
      std::optional<ColumnShare> share;
      if (own) share = column ? column->share : step.share;
      if (place.next_row >= 0) {
        add(out, {place.next ? place.next_row : place.buffer, writes}, share);
      } else if (place.alternate < 0 || place.parity_loop < 0) {
        add(out, {place.buffer, writes}, share);
        if (place.alternate >= 0) add(out, {place.alternate, writes}, share);
      } else {
        add(out, {place.next ? place.alternate : place.buffer, writes}, share);
      }
    };
    for (std::size_t i = 0; i < step.in.size(); ++i)
      touch(step.in[i], false, column ? column->reads[i] : reads_own_columns(step, i));
    const bool own = column || step.share.block > 0;
    for (const Location& place : step.out) touch(place, true, own);
    return out;
  }

  // Of a product of one row, what its own columns start from.
  static bool reads_own_columns(const Step& step, std::size_t i) {
    return i == 2 && step.share.block > 0 && starts_from_another(step);
  }

  // Must the threads meet between `before` and `now`?
  static Meeting meeting(const Uses& now, const Uses& before, std::optional<Dim>& rows) {
    Meeting out = Meeting::none;
    for (const auto& [use, share] : now)
      for (const auto& [other, others] : before) {
        if (!conflicts(use, other)) continue;
        if (!share || share != others || (rows && *rows != share->rows)) return Meeting::always;
        rows = share->rows;
        out = Meeting::unless_one_row;
      }
    return out;
  }

  void steps(std::span<Step> steps, State& state) {
    int first = 0;
    std::size_t run = 0, run_end = 0;
    for (std::size_t i = 0; i <= steps.size(); ++i) {
      if (i == run_end && run_end > run)
        keep(steps.subspan(run, run_end - run), first, state.phase);
      if (i == steps.size()) break;
      Step& step = steps[i];
      if (step.kind == Step::Kind::scan) {
        if (step.layer == Step::Layer::first)
          plan_.layers.push_back({*step.own_rows, step.length, state.phase, state.phase});
        if (step.beside) {
          loops({&step, &steps[++i]}, state);
        } else {
          loops({&step}, state);
        }
        if (step.layer == Step::Layer::second) plan_.layers.back().last_phase = state.phase - 1;
        continue;
      }
      if (step.run) {
        run = i;
        run_end = i + static_cast<std::size_t>(step.run->steps);
      }
      const auto in_use = [&] {
        for (const auto* places : {&step.in, &step.out})
          for (const int buffer : buffers_of(*places)) use(buffer, state.phase);
        if (i == run) first = state.phase;
      };
      if (step.apart) {
        in_use();
        continue;
      }
      const Uses uses = uses_of(step);
      std::optional<Dim> rows = state.rows, ignored;
      const Meeting certain = meeting(uses, state.since_certain, rows);
      if (certain == Meeting::always) {
        step.barrier_before = true;
        state.meet();
        ++state.phase;
      } else if (meeting(uses, state.since_any, ignored) != Meeting::none) {
        step.barrier_before = true;
        step.unless_one = rows;
        state.rows = rows;
        state.since_any.clear();
      }
      for (const auto& [use, share] : uses) {
        add(state.since_any, use, share);
        add(state.since_certain, use, share);
      }
      in_use();
    }
  }

  // The threads meet before the loop and at the end of each turn. What the
  // loop touches is in use from its start to its end. Of two that run at the same time,
  // from the start of the one to the end of the other.
  void loops(const std::vector<Step*>& all, State& state) {
    const int first = state.phase;
    for (Step* step : all) steps(step->before, state);
    std::set<int> touched;
    int last = state.phase;
    for (Step* step : all) {
      State inside;
      inside.phase = last + 1;
      steps(step->body, inside);
      if (step->bounds.empty()) step->unless_one = rows_of_free_turns(*step, inside);
      last = inside.phase;
      collect(*step, touched);
    }
    for (const int buffer : touched) {
      use(buffer, first);
      use(buffer, last);
    }
    state.meet();
    state.phase = last + 1;
  }

  // A dimension such that where it is 1, a thread may begin the next turn while
  // others end theirs. Under bounds there is none: the next turn may have more
  // rows.
  std::optional<Dim> rows_of_free_turns(const Step& step, const State& end) const {
    std::map<int, int> next_turn;  // the buffers of carried values change places
    for (const Step& inner : step.body)
      for (const auto* places : {&inner.in, &inner.out})
        for (const Location& place : *places) {
          const bool alternates = place.alternate >= 0 && place.parity_loop == step.loops;
          const int other = alternates ? place.alternate : place.next_row;
          if (other < 0) continue;
          next_turn[place.buffer] = other;
          next_turn[other] = place.buffer;
        }
    Uses before;
    for (const Step& inner : step.body) {
      if (inner.kind == Step::Kind::scan || inner.apart) return std::nullopt;
      if (inner.barrier_before && !inner.unless_one) before.clear();
      for (const auto& [use, share] : uses_of(inner, step.loops)) {
        const auto found = next_turn.find(use.buffer);
        add(before, {found == next_turn.end() ? use.buffer : found->second, use.writes}, share);
      }
    }
    std::optional<Dim> rows = end.rows;
    for (const Step& inner : step.body) {
      if (inner.barrier_before && !inner.unless_one) return rows;
      if (meeting(uses_of(inner, step.loops), before, rows) == Meeting::always) return std::nullopt;
    }
    // Where the threads never met they would drift apart without bound.
    return std::nullopt;
  }

  static void collect(const Step& step, std::set<int>& touched) {
    touched.merge(buffers_of(step.in));
    touched.merge(buffers_of(step.out));
    for (const Step& inner : step.before) collect(inner, touched);
    for (const Step& inner : step.body) collect(inner, touched);
  }

  ProgramPlan& plan_;
  const MatmulTile& tile_;
};

}  // namespace

void plan_barriers(ProgramPlan& plan, const MatmulTile& tile_f32) {
  BarrierPlanner(plan, tile_f32).run();
}

}  // namespace treadle
