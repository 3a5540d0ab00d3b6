// Work that threads share out while they do it: one that is done with its own part goes
// on with some of another's.
#pragma once
#include <atomic>
#include <cstdint>

namespace treadle {

// One thread's part: so many items, done in turns. Of a loop over examples, items are its
// rows, each of which takes all turns; of a product whose sums are worked out block by
// block, panels of columns. Other work is done so many items a turn (`chunk`). A plain
// struct of fixed layout that compiled code reads and writes, one cache line.
//   offset  0: claimed (u64) turns begun << 32 | items given away, from the last on
//   offset  8: done    (u64) turns ended; where there are no chunks
//   offset 16: begin   (i64) its first item; this and what follows stand before a turn is begun
//   offset 24: count   (i64) items at first
//   offset 32: chunk   (i64) items of a turn; 0: all of them
// The thread adds 1 << 32 to `claimed` when it begins a turn, and in that turn does the
// items that are not yet given away; others add to the items given away. Which of the
// two came first says whose the items are from the next turn on.
struct alignas(64) WorkShare {
  std::atomic<std::uint64_t> claimed{0};
  std::atomic<std::uint64_t> done{0};
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t chunk = 0;

  void reset();
};
static_assert(sizeof(WorkShare) == 64);

struct TakenWork {
  std::int64_t begin = 0, count = 0, first_turn = 0;
};

// Half of the items, `unit` or a multiple of it, of the one of `threads` that has most
// left to do: of `turns` turns, or of its items where it does them in chunks. Returns when
// the turn before `first_turn` has ended for them; no items where nobody has two units
// that are not begun.
TakenWork take_work(WorkShare* shares, std::int64_t threads, std::int64_t turns, std::int64_t unit);

}  // namespace treadle

// take_work for compiled code. Of a profiled program `ticks`, its ThreadTicks, count what
// the call took as waiting behind `kernel`, and no calls of kernels for work that was
// taken: they are parts of its owner's.
extern "C" void treadle_take_work(void* shares, std::int64_t threads, std::int64_t turns,
                                  std::int64_t unit, void* taken, void* ticks, std::int64_t kernel);
