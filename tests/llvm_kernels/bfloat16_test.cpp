// Products of pairs of bfloat16: rounding, packing, tails, tiles. Without the instruction
// the kernels run the same arithmetic in others, whose bits are known.
#include "backends/llvm/bfloat16_internal.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <vector>

#include "backends/llvm/row_product_internal.h"
#include "tests/catch.h"
#include "tests/llvm_kernels/amx_emulator.h"
#include "tests/llvm_kernels/jit.h"
#include "tests/llvm_kernels/products.h"
#include "tests/sizes/running_error.h"
#include "tests/support/bfloat16.h"

using namespace treadle;
using namespace treadle::testing;

namespace {

constexpr float smallest_normal = 0x1p-126F;

float flushed(float x) { return std::abs(x) < smallest_normal ? std::copysign(0.0F, x) : x; }
float rounded(float x) {
  return flushed(static_cast<float>(test::nearest_bfloat16(static_cast<double>(flushed(x)))));
}
// A sum's next step. Two roundings, where the machine has no fused multiply-add, make the
// same of it: the product of two bfloat16 is exact, unless it is too small.
float step(float sum, float x, float y) { return flushed(std::fma(x, y, flushed(sum))); }

// Element (i, j) of rounded operands by the definition, and how far another order of the sums may
// be from it.
struct Element {
  float sum = 0;
  double exact = 0, error = 0;
};
Element element(const Problem& p, const Operands<float>& o, std::int64_t i, std::int64_t j,
                bool amx) {
  const auto a = [&](std::int64_t l) {
    return l < p.k ? o.a[static_cast<std::size_t>(i * o.a_m + l * o.a_k)] : 0.0F;
  };
  const auto b = [&](std::int64_t l) {
    return l < p.k ? o.b[static_cast<std::size_t>(l * o.b_k + j * o.b_n)] : 0.0F;
  };
  const float* start = o.start(p);
  Element out;
  out.sum = start == nullptr ? 0 : start[i * o.start_stride(p) + j];
  out.exact = static_cast<double>(out.sum);
  double size = std::abs(out.exact);
  for (std::int64_t k = 0; k < p.k; ++k) {
    const double term = static_cast<double>(a(k)) * static_cast<double>(b(k));
    out.exact += term;
    size += std::abs(term);
  }
  for (std::int64_t l = 0; l < p.k && !amx; l += 2)
    for (const std::int64_t k : {l + 1, l}) out.sum = step(out.sum, a(k), b(k));
  for (std::int64_t l = 0; l < p.k && amx; l += 32) {
    float first = 0, second = 0;
    for (std::int64_t k = l; k < l + 32; k += 2) {
      first = step(first, a(k), b(k));
      second = step(second, a(k + 1), b(k + 1));
    }
    out.sum = flushed(flushed(out.sum) + flushed(first + second));
  }
  out.error = test::gamma<float>(p.k + 1) * size;
  return out;
}

Target without_amx(Target target) {
  target.has_amx = false;
  return target;
}

struct Pairs : Kernels<float> {
  explicit Pairs(const char* mask) : Pairs(without_amx(make_target(mask))) {}
  explicit Pairs(const Target& target)
      : Kernels<float>(target, DType::bf16), by_instruction(target.has_bfloat16) {}
  bool by_instruction;
};

// With the instruction the bits of a sum are the processor's matter.
void check(const Problem& p, const Pairs& kernels, int parts = 1) {
  const Operands<float> operands(p);
  const std::vector<float> found = computed(p, operands, kernels, parts);
  INFO(described(p, parts));
  std::vector<float> untouched = operands.c;
  Operands<float> exact = operands;
  for (std::vector<float>* values : {&exact.a, &exact.b})
    for (float& x : *values) x = rounded(x);
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      const auto at = static_cast<std::size_t>(i * operands.c_m + j);
      const Element want = element(p, exact, i, j, kernels.tile.amx);
      const bool near = std::abs(static_cast<double>(found[at]) - want.exact) <= want.error;
      const bool same =
          std::bit_cast<std::uint32_t>(found[at]) == std::bit_cast<std::uint32_t>(want.sum);
      if (!near || !(same || kernels.by_instruction))
        FAIL("(" << i << ", " << j << "): " << found[at] << ", not " << want.sum);
      untouched[at] = found[at];
    }
  REQUIRE(found == untouched);
}

}  // namespace

TEST_CASE("products of pairs have the bits of their definition") {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Pairs kernels(mask);
    std::mt19937 engine(7);
    const auto size = [&] { return static_cast<std::int64_t>(engine() % 70 + 1); };
    for (int i = 0; i < 400; ++i) {
      const Problem p{size(),       size(),       size(),
                      (i & 1) != 0, (i & 2) != 0, static_cast<Start>(i / 4 % 4)};
      check(p, kernels, 1 + i % 3);
    }
    for (std::int64_t m = 1; m <= 70; ++m) check(Problem{m, 71 - m, 3}, kernels);
  }
}

TEST_CASE("products of pairs longer than a block") {
  const Pairs kernels("");
  for (std::int64_t k : {0, 255, 256, 257, 511, 513, 1000})
    for (Start start : {Start::zero, Start::bias, Start::accumulate})
      check(Problem{13, 61, k, false, false, start}, kernels);
  check(Problem{600, 50, 300, true, false, Start::matrix}, kernels, 2);
  check(Problem{278, 5 * kernels.tile.columns, 301, true, true, Start::matrix}, kernels);
  check(Problem{270, 5 * kernels.tile.columns, 301, false, true, Start::matrix}, kernels);
}

#if defined(__x86_64__) && defined(__linux__)
// Run by the processor where it can, else instruction by instruction by the handler.
TEST_CASE("products by the tile registers of AMX have the bits of their definition") {
  Target target = make_target("");
  std::optional<AmxEmulator> emulator;
  if (!target.has_amx) {
    emulator.emplace();
    target = make_target("avx2");
    target.has_amx = true;
    target.features += ",+amx-tile,+amx-bf16";
  }
  const Pairs kernels(target);
  REQUIRE(kernels.tile.amx);
  REQUIRE(kernels.tile.columns == 32);
  std::mt19937 engine(7);
  const auto size = [&] { return static_cast<std::int64_t>(engine() % 70 + 1); };
  for (int i = 0; i < 200; ++i) {
    const Problem p{size(),       size(),       size(),
                    (i & 1) != 0, (i & 2) != 0, static_cast<Start>(i / 4 % 4)};
    check(p, kernels, 1 + i % 3);
  }
  for (std::int64_t m = 1; m <= 70; ++m) check(Problem{m, 71 - m, 3}, kernels);
  for (std::int64_t k : {0, 31, 32, 33, 256, 257, 520})
    for (Start start : {Start::zero, Start::bias, Start::accumulate})
      check(Problem{33, 65, k, false, false, start}, kernels);
  check(Problem{270, 50, 300, true, false, Start::matrix}, kernels, 2);
  check(Problem{65, 96, 301, false, true, Start::matrix}, kernels);
  if (emulator) {
    CHECK(emulator->executed() > 10000);
    CHECK_FALSE(emulator->configured());
  }
}

// Rows and columns of A both with gaps between them, as windows with a stride have.
TEST_CASE("A's blocks of any strides become tiles") {
  Target target = make_target("avx2");
  target.has_amx = true;
  target.features += ",+amx-tile,+amx-bf16";
  const Pairs kernels(target);
  const AmxEmulator emulator;
  for (std::int64_t k : {1, 31, 64}) {
    const Problem p{37, 40, k};
    Operands<float> o(p);
    const std::vector<float> dense = computed(p, o, kernels, 1);
    std::vector<float> spread(o.a.size() * 3, NAN);
    for (std::size_t i = 0; i < o.a.size(); ++i) spread[3 * i] = o.a[i];
    o.a = spread;
    o.a_m *= 3;
    o.a_k *= 3;
    CHECK(computed(p, o, kernels, 1) == dense);
  }
}
#endif

TEST_CASE("products of pairs that ask for memory that is needed behind them") {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    check_asking(Pairs(without_amx(make_target(mask))));
  }
}

TEST_CASE("one row by pairs has the bits of the rows of others") {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Target target = without_amx(make_target(mask));  // whose sums have another order
    TestJit jit(target);
    const MatmulKernels kernels = emit_matmul_kernels(jit.module(), target, DType::bf16, "mm");
    emit_row_product(jit.module(), target, kernels.tile, "mm")
        ->setLinkage(llvm::Function::ExternalLinkage);
    kernels.pack->setLinkage(llvm::Function::ExternalLinkage);
    kernels.gemm->setLinkage(llvm::Function::ExternalLinkage);
    jit.compile();
    auto* pack = jit.lookup<PackFunction<float>>("mm.pack");
    auto* gemm = jit.lookup<GemmFunction<float>>("mm.gemm");
    using Row = void(const float* a, std::int64_t a_k, const float* packed, float* c,
                     std::int64_t n, std::int64_t k, std::int64_t begin, std::int64_t end,
                     std::int64_t apart, std::int64_t runs, std::int64_t turn, const float* start);
    auto* row = jit.lookup<Row>("mm.row");
    for (std::int64_t n : {1, 15, 16, 48, 61, 130, 300})
      for (std::int64_t k : {1, 2, 7, 64, 301}) {
        const Operands<float> o(Problem{1, n, k});
        const std::int64_t panels = kernels.tile.panels(n), lanes = kernels.tile.lanes;
        std::vector<float> packed(static_cast<std::size_t>(kernels.tile.packed_elements(k, n)));
        std::vector<float> want(static_cast<std::size_t>(n)), found(want);
        pack(o.b.data(), o.b_k, o.b_n, k, n, 0, panels, packed.data(), nullptr);
        const float* start = k % 2 == 0 ? nullptr : o.initial.data();
        gemm(o.a.data(), k, 1, packed.data(), want.data(), n, start, 0, 0, 1, n, k, 0, panels);
        const std::int64_t vectors = (n + lanes - 1) / lanes;
        for (std::int64_t turn : {0, 1}) {
          std::fill(found.begin(), found.end(), NAN);
          row(o.a.data(), 1, packed.data(), found.data(), n, k, 0, vectors / 2, 0, 1, turn, start);
          row(o.a.data(), 1, packed.data(), found.data(), n, k, vectors / 2, vectors, 0, 1, turn,
              start);
          INFO(n << " columns, " << k << " long, turn " << turn);
          CHECK(found == want);
        }
      }
  }
}

TEST_CASE("pairs are rounded to nearest even, and what is no normal number counts as 0") {
  const Target target = make_target("");
  TestJit jit(target);
  auto* p = llvm::PointerType::getUnqual(jit.module().getContext());
  llvm::IRBuilder<> b(jit.module().getContext());
  llvm::Type* f32 = b.getFloatTy();
  // pairs(x, y, out) and product(sum, x, y, out), of scalars
  auto* pairs = jit.function("pairs", llvm::FunctionType::get(b.getVoidTy(), {p, p, p}, false));
  b.SetInsertPoint(llvm::BasicBlock::Create(b.getContext(), "entry", pairs));
  const auto load = [&](llvm::Function* f, unsigned i) { return b.CreateLoad(f32, f->getArg(i)); };
  b.CreateStore(emit_pairs(b, target, load(pairs, 0), load(pairs, 1)), pairs->getArg(2));
  b.CreateRetVoid();
  auto* product =
      jit.function("product", llvm::FunctionType::get(b.getVoidTy(), {p, p, p, p}, false));
  b.SetInsertPoint(llvm::BasicBlock::Create(b.getContext(), "entry", product));
  const auto vector = [&](unsigned i) {
    return b.CreateVectorSplat(static_cast<unsigned>(target.vector_bytes / 4), load(product, i));
  };
  llvm::Value* sums = emit_pair_product(b, target, vector(0), vector(1), vector(2));
  b.CreateStore(b.CreateExtractElement(sums, b.getInt64(1)), product->getArg(3));
  b.CreateRetVoid();
  jit.compile();
  auto* make = jit.lookup<void(const float*, const float*, std::uint32_t*)>("pairs");
  auto* multiply = jit.lookup<void(const float*, const float*, const float*, float*)>("product");

  const auto pair = [&](float x, float y) {
    std::uint32_t out = 0;
    make(&x, &y, &out);
    return out;
  };
  const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x) >> 16; };
  std::mt19937 engine(3);
  std::vector<float> values{0.0F,
                            -0.0F,
                            1.0F,
                            0x1.01p0F,
                            0x1.03p0F,
                            0x1.010001p0F,
                            -0x1.FF7FFFp-127F * 2,
                            smallest_normal,
                            0x0.FFFFFEp-126F,
                            0x1p-149F,
                            -0x1.8p-130F,
                            0x1.FEFFFFp127F,
                            0x1.FFp127F,
                            std::numeric_limits<float>::infinity()};
  for (int i = 0; i < 2000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
    if (!std::isnan(x)) values.push_back(x);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float x = values[i], y = values[values.size() - 1 - i];
    INFO(x << " and " << y);
    CHECK((pair(x, y) & 0xFFFF) == bits(rounded(x)));
    CHECK(pair(x, y) >> 16 == bits(rounded(y)));
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(std::bit_cast<float>(pair(nan, 1) << 16)));
  CHECK(pair(nan, 1) >> 16 == bits(1.0F));

  const auto times = [&](float sum, std::uint32_t x, std::uint32_t y) {
    const auto fx = std::bit_cast<float>(x), fy = std::bit_cast<float>(y);
    float out = NAN;
    multiply(&sum, &fx, &fy, &out);
    return out;
  };
  const std::uint32_t ones = pair(1, 1);
  CHECK(times(0.5F, pair(2, 3), pair(5, 7)) == 31.5F);
  // The second product comes first: the other way round 1 would be lost.
  if (!target.has_bfloat16) CHECK(times(-0x1p30F, pair(1, 0x1p30F), ones) == 1.0F);
  CHECK(times(0x1p-130F, pair(0, 0), ones) == 0.0F);
  CHECK(times(0, 0x00400040, ones) == 0.0F);  // bfloat16 below 2^-126
  CHECK(times(0, pair(0x1p-100F, 0), pair(0x1p-40F, 0)) == 0.0F);
  CHECK(std::isnan(times(0, pair(nan, 0), ones)));
  CHECK(std::isinf(times(0, pair(std::numeric_limits<float>::infinity(), 0), ones)));
}
