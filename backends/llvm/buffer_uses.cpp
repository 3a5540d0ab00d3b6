#include "backends/llvm/buffer_uses.h"

#include <algorithm>

namespace treadle {

bool any_place(const Step& step, const std::function<bool(const Location&, bool)>& test) {
  const auto among = [&](const std::vector<Location>& places, bool writes) {
    return std::any_of(places.begin(), places.end(),
                       [&](const Location& place) { return test(place, writes); });
  };
  const auto inside = [&](const std::vector<Step>& steps) {
    return std::any_of(steps.begin(), steps.end(),
                       [&](const Step& inner) { return any_place(inner, test); });
  };
  return among(step.in, false) || among(step.out, true) || inside(step.before) || inside(step.body);
}

bool touches(const Step& step, int buffer) {
  return any_place(step, [&](const Location& place, bool) { return stands_in(place, buffer); });
}

bool writes(const Step& step, int buffer) {
  return any_place(step, [&](const Location& place, bool written) {
    return written && stands_in(place, buffer);
  });
}

void Buffers::add(const Step& step) {
  any_place(step, [&](const Location& place, bool writes) {
    for (const int buffer : {place.buffer, place.alternate, place.next_row})
      if (buffer >= 0) (writes ? written : read).insert(buffer);
    return false;
  });
}

bool Buffers::conflicts(const Step& step) const {
  return any_place(step, [&](const Location& place, bool writes) {
    for (const int buffer : {place.buffer, place.alternate, place.next_row})
      if (written.contains(buffer) || (writes && read.contains(buffer))) return true;
    return false;
  });
}

}  // namespace treadle
