#include "backends/llvm/buffer_uses.h"

#include <algorithm>

namespace treadle {

bool operator==(const Location& a, const Location& b) {
  const auto same_row = [](const Location::Row& x, const Location::Row& y) {
    return x.loop == y.loop && x.reverse == y.reverse && x.length == y.length &&
           x.stride == y.stride && x.start == y.start;
  };
  return a.buffer == b.buffer && a.alternate == b.alternate && a.parity_loop == b.parity_loop &&
         a.next == b.next && a.parity_length == b.parity_length &&
         std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(), same_row);
}

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
