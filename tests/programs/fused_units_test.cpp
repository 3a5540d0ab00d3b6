// Kernels that read parts of one value.
#include "backends/llvm/fused_units.h"

#include <vector>

#include "ir/builder.h"
#include "ir/text_printer.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

const Dim rows = Dim::symbol("B");
const Type wide{DType::f32, {rows, 24}}, narrow{DType::f32, {rows, 8}};

// The square of columns `start` ... of the first argument, plus the second one.
Graph squares_from(const Dim& start) {
  Graph out;
  Builder b(out);
  const Value x = b.argument(wide), y = b.argument(narrow);
  const Value part = b.slice(x, 1, start, 8);
  b.output("", b.add(b.mul(part, part), y));
  return out;
}

}  // namespace

TEST_CASE("kernels of different parts of a value are one") {
  std::vector<Dim> starts;
  const Graph first = with_parts_at_start(squares_from(0), starts);
  CHECK(starts == std::vector<Dim>{0, 0});
  const Graph last = with_parts_at_start(squares_from(16), starts);
  CHECK(starts == std::vector<Dim>{16, 0});
  CHECK(print(first) == print(last));
}

TEST_CASE("a value of which several parts are read, or rows, stands where it stood") {
  std::vector<Dim> starts;
  for (const bool whole : {false, true}) {
    Graph two;
    Builder b(two);
    const Value x = b.argument(wide);
    const Value part = b.slice(x, 1, 8, 8);
    b.output("", b.add(part, b.slice(whole ? b.mul(x, x) : x, 1, 16, 8)));
    CHECK(print(with_parts_at_start(two, starts)) == print(two));
    CHECK(starts == std::vector<Dim>{0});
  }
  Graph down;
  Builder b(down);
  b.output("", b.slice(b.argument({DType::f32, {24, 8}}), 0, 8, 8));
  CHECK(print(with_parts_at_start(down, starts)) == print(down));
  CHECK(starts == std::vector<Dim>{0});
}
