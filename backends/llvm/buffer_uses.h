// Which steps use a buffer.
#pragma once
#include <functional>
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

// What some steps read and write.
struct Buffers {
  std::set<int> read, written;

  void add(const Step& step);
  // Must what uses these and the step keep their order?
  bool conflicts(const Step& step) const;
};

}  // namespace treadle
