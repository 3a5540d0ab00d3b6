// Philox4x32-10 against the known answers of the Random123 distribution
// (kat_vectors, Salmon et al. 2011), and the uniform numbers made of it.
#include "tests/catch.h"
#include "tests/ops/support.h"

using namespace treadle;

namespace {

Tensor i64(std::uint64_t value) {
  Tensor out(DType::i64, {1});
  out.set_integer(0, static_cast<std::int64_t>(value));
  return out;
}

std::int64_t philox(std::uint64_t key, std::uint64_t low, std::uint64_t high) {
  Graph graph;
  Builder b(graph);
  const Type type = parse_type("i64[1]");
  const Value k = b.input("key", type), l = b.input("low", type), h = b.input("high", type);
  b.output("word", b.philox(k, l, h));
  return evaluate(graph, std::vector<Tensor>{i64(key), i64(low), i64(high)})[0].get_integer(0);
}

double uniform(std::uint64_t bits, DType dtype) {
  Graph graph;
  Builder b(graph);
  b.output("u", b.uniform_from_bits(b.input("bits", parse_type("i64[1]")), dtype));
  return evaluate(graph, std::vector<Tensor>{i64(bits)})[0].get(0);
}

}  // namespace

TEST_CASE("philox gives the published words") {
  CHECK(philox(0, 0, 0) == 0x6627e8d5);
  CHECK(philox(~0ULL, ~0ULL, ~0ULL) == 0x408f276d);
  // key a4093822 299f31d0, counter 243f6a88 85a308d3 13198a2e 03707344
  CHECK(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e) == 0xd16cfe09);
}

TEST_CASE("uniform numbers are exact and stay below 1") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    CHECK(uniform(0, dtype) == 0);
    CHECK(uniform(255, dtype) == 0);
    CHECK(uniform(256, dtype) == 0x1p-24);
    CHECK(uniform(0x80000000, dtype) == 0.5);
    CHECK(uniform(0xFFFFFFFF, dtype) == 1 - 0x1p-24);
  }
  CHECK(uniform(0xFFFFFFFF, DType::bf16) == 1 - 0x1p-8);
}
