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

std::optional<Location::Row> row_of_turn(const Step& loop, int buffer, const Dim& stride,
                                         bool may_write) {
  std::optional<Location::Row> out;
  const bool others = any_place(loop, [&](const Location& place, bool written) {
    if (!stands_in(place, buffer)) return false;
    if ((written && !may_write) || place.alternate >= 0 || place.next_row >= 0 ||
        place.rows.size() != 1)
      return true;
    const Location::Row& row = place.rows[0];
    if (out && out->reverse != row.reverse) return true;
    out = row;
    return row.loop != loop.loops || row.stride != stride || row.length != loop.length;
  });
  return others ? std::nullopt : out;
}

bool is_plain_product(const Step& step) {
  return step.kind == Step::Kind::matmul && !step.direct && step.shape.batch == Dim(1) &&
         step.row_loops.empty() && step.sum_loops.empty();
}

bool starts_from_another(const Step& step) {
  return step.kind == Step::Kind::matmul && !step.direct && step.in.size() > 2;
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
