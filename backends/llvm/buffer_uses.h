// Which steps use a buffer.
#pragma once
#include <functional>
#include <optional>
#include <set>

#include "backends/llvm/program_plan.h"

namespace treadle {

inline bool stands_in(const Location& place, int buffer) {
  return place.buffer == buffer || place.alternate == buffer;
}

// Does the test hold for a place that the step reads or writes, loops inside it included?
bool any_place(const Step& step, const std::function<bool(const Location&, bool writes)>& test);

bool touches(const Step& step, int buffer);
bool writes(const Step& step, int buffer);

// The row of a turn that the loop uses in it, read or, with `may_write`, written, if it uses
// nothing else of the buffer, whose rows are so many elements apart.
std::optional<Location::Row> row_of_turn(const Step& loop, int buffer, const Dim& stride,
                                         bool may_write);

// One product of a packed B: none of a batch, in loops or of a B where it stands.
bool is_plain_product(const Step& step);
// A product whose sums start from operand 2.
bool starts_from_another(const Step& step);

// What some steps read and write.
struct Buffers {
  std::set<int> read, written;

  void add(const Step& step);
  // Must what uses these and the step keep their order?
  bool conflicts(const Step& step) const;
};

}  // namespace treadle
