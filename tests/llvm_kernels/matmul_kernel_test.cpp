#include "backends/llvm/matmul_kernel_internal.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "backends/llvm/vector_math_internal.h"
#include "runtime/work_share.h"
#include "tests/catch.h"
#include "tests/llvm_kernels/jit.h"
#include "tests/llvm_kernels/products.h"

using namespace treadle;
using namespace treadle::testing;

namespace {

// The definition, in the order of additions that the kernel promises; c's
// padding between rows keeps its values.
template <typename T>
std::vector<T> expected(const Problem& p, const Operands<T>& o, bool has_fma) {
  std::vector<T> result = o.c;
  const T* start = o.start(p);
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      T sum = start == nullptr ? 0 : start[i * o.start_stride(p) + j];
      for (std::int64_t l = 0; l < p.k; ++l) {
        const T x = o.a[static_cast<std::size_t>(i * o.a_m + l * o.a_k)];
        const T y = o.b[static_cast<std::size_t>(l * o.b_k + j * o.b_n)];
        sum = has_fma ? std::fma(x, y, sum) : sum + x * y;
      }
      result[static_cast<std::size_t>(i * o.c_m + j)] = sum;
    }
  }
  return result;
}

template <typename T>
void check(const Problem& p, const Kernels<T>& kernels, int parts = 1) {
  const Operands<T> operands(p);
  const std::vector<T> want = expected(p, operands, kernels.has_fma);
  const std::vector<T> got = computed(p, operands, kernels, parts);
  INFO(described(p, parts));
  REQUIRE(std::memcmp(got.data(), want.data(), got.size() * sizeof(T)) == 0);
}

template <typename T>
void check_sizes(const char* mask) {
  const Kernels<T> kernels(make_target(mask));
  std::mt19937 engine(7);
  const auto size = [&] { return static_cast<std::int64_t>(engine() % 70 + 1); };
  for (int i = 0; i < 400; ++i) {
    Problem p{size(), size(), size(), (i & 1) != 0, (i & 2) != 0, static_cast<Start>(i / 4 % 4)};
    check(p, kernels, 1 + i % 3);
  }
  for (std::int64_t m = 1; m <= 70; ++m) check(Problem{m, 71 - m, 3}, kernels);
}

}  // namespace

TEMPLATE_TEST_CASE("products have the bits of their definition", "", float, double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    check_sizes<TestType>(mask);
  }
}

TEMPLATE_TEST_CASE("products longer than a block", "", float, double) {
  const Kernels<TestType> kernels(make_target(""));
  for (std::int64_t k : {255, 256, 257, 511, 513, 1000})
    for (Start start : {Start::zero, Start::bias, Start::accumulate})
      check(Problem{13, 61, k, false, false, start}, kernels);
  check(Problem{600, 50, 300, true, false, Start::matrix}, kernels, 2);
  for (std::int64_t m : {63, 64, 65, 129, 257, 513})
    for (std::int64_t k : {100, 512, 1100})
      check(Problem{m, 37, k, false, false, Start::matrix}, kernels, 2);
}

// More than a MiB of B.
TEMPLATE_TEST_CASE("products of few rows, whose tiles ask for the next panel", "", float, double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    for (std::int64_t m : {5, 16, 20, 64})
      check(Problem{m, 525, 520, false, false, Start::bias}, kernels, 1);
  }
}

TEMPLATE_TEST_CASE("products that ask for memory that is needed behind them", "", float, double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    check_asking(kernels);
  }
}

TEMPLATE_TEST_CASE("two products whose sums stay in registers between them", "", float, double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    check_chained(kernels);
  }
}

TEMPLATE_TEST_CASE("products of a transposed matrix, of which blocks are copied", "", float,
                   double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    for (std::int64_t m : {15, 16, 17, 20, 22, 23, 38, 257})
      for (std::int64_t k : {1, 7, 259})
        check(Problem{m, 4 * kernels.tile.columns + 5, k, true, false, Start::bias}, kernels, 1);
    check(Problem{278, 5 * kernels.tile.columns, 300, true, true, Start::matrix}, kernels, 1);
  }
}

namespace {

// B where it stands, in rows wider than the product's; its rows' sum on the way.
template <typename T>
void check_direct(const Problem& p, const Kernels<T>& kernels, int rows, int columns) {
  const std::int64_t b_k = p.n + 7, lanes = kernels.tile.lanes;
  // Some more than the columns fill, so that some have fewer vectors.
  const std::int64_t panels =
      std::min(kernels.tile.panels(p.n) + p.m % 3, (p.n + lanes - 1) / lanes);
  Operands<T> o(p);
  const std::vector<T> want = expected(p, o, kernels.has_fma);
  std::vector<T> b(static_cast<std::size_t>(p.k * b_k), NAN),
      want_sums(static_cast<std::size_t>(p.n), 0);
  for (std::int64_t l = 0; l < p.k; ++l)
    for (std::int64_t j = 0; j < p.n; ++j) {
      const T value = o.b[static_cast<std::size_t>(l * o.b_k + j * o.b_n)];
      b[static_cast<std::size_t>(l * b_k + j)] = value;
      want_sums[static_cast<std::size_t>(j)] += value;
    }
  for (const bool summing : {false, true}) {
    std::vector<T> sums(static_cast<std::size_t>(p.n) + 3, NAN);
    Operands<T> fresh(p);
    WorkShare whole;
    for (int s = 0; s < rows; ++s)
      for (int t = 0; t < columns; ++t)
        kernels.direct(fresh.a.data(), fresh.a_m, fresh.a_k, b.data(), fresh.c.data(), fresh.c_m,
                       p.m * s / rows, p.m * (s + 1) / rows, p.n, p.k, panels * t / columns,
                       panels * (t + 1) / columns, panels, b_k, summing ? sums.data() : nullptr,
                       INT64_MAX, 0, nullptr, 0, 0, INT64_MAX, 0, nullptr, 0, &whole, 0);
    INFO("m " << p.m << " n " << p.n << " k " << p.k << " transposed " << p.a_transposed << " sums "
              << summing << " parts " << rows << " x " << columns);
    REQUIRE(std::memcmp(fresh.c.data(), want.data(), want.size() * sizeof(T)) == 0);
    for (std::int64_t j = 0; summing && j < p.n; ++j)
      REQUIRE(sums[static_cast<std::size_t>(j)] == want_sums[static_cast<std::size_t>(j)]);
    for (std::int64_t j = p.n; j < p.n + 3; ++j)
      REQUIRE(std::isnan(sums[static_cast<std::size_t>(j)]));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("products of a matrix that is not packed, and the sum of its rows", "", float,
                   double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    std::mt19937 engine(11);
    const auto size = [&] { return static_cast<std::int64_t>(engine() % 70 + 1); };
    for (int i = 0; i < 100; ++i)
      check_direct(Problem{size(), size(), size(), (i & 1) != 0}, kernels, 1 + i % 2, 1 + i % 3);
    for (std::int64_t k : {0, 1, 31, 32, 33, 255, 256, 257, 700})
      for (const std::int64_t m : {39, 40, 41})
        check_direct(Problem{m, 5 * kernels.tile.columns + 3, k, true}, kernels, 1, 2);
    check_direct(Problem{300, 2 * kernels.tile.columns, 513, true}, kernels, 2, 1);
  }
}

namespace {

// A [m, runs * run] of which column q * run + j stands at j * runs + q.
template <typename T>
std::vector<T> in_runs(const std::vector<T>& a, std::int64_t m, std::int64_t run,
                       std::int64_t runs) {
  std::vector<T> out(a.size());
  for (std::int64_t q = 0; q < runs; ++q)
    for (std::int64_t j = 0; j < run; ++j)
      for (std::int64_t i = 0; i < m; ++i)
        out[static_cast<std::size_t>((j * runs + q) * m + i)] =
            a[static_cast<std::size_t>((q * run + j) * m + i)];
  return out;
}

}  // namespace

// Whole tiles and vectors are read where they stand, where these are enough; and a second
// matrix, of other rows or none.
TEMPLATE_TEST_CASE("products of matrices whose columns stand in runs", "", float, double) {
  for (const char* mask : {"", "avx2"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    const std::int64_t width = kernels.tile.columns, lanes = kernels.tile.lanes;
    for (const auto& [m, m2] : {std::pair{23, 0}, {24, 0}, {24, 16}, {128, 28}, {16, 120}})
      for (const std::int64_t run : {1, 3, 64, 300})
        for (const std::int64_t runs : {1, 2, 9})
          for (const std::int64_t n : {std::int64_t{5}, 5 * width, 5 * width - lanes}) {
            const Problem p{m, n, runs * run, true}, p2{m2, n, runs * run, true};
            Operands<TestType> o(p), o2(p2);
            o2.b = o.b;
            const auto want = expected(p, o, kernels.has_fma);
            const auto want2 = expected(p2, o2, kernels.has_fma);
            const auto a = in_runs(o.a, m, run, runs), a2 = in_runs(o2.a, m2, run, runs);
            INFO("m " << m << " and " << m2 << " run " << run << " runs " << runs << " n " << n);
            WorkShare whole;
            const std::int64_t panels = kernels.tile.panels(n);
            kernels.direct(a.data(), 1, runs * m, o.b.data(), o.c.data(), o.c_m, 0, m, n, p.k, 0,
                           panels, panels, n, nullptr, run, m, a2.data(), 1, runs * m2, run, m2,
                           o2.c.data(), m2, &whole, 0);
            REQUIRE(std::memcmp(o.c.data(), want.data(), want.size() * sizeof(TestType)) == 0);
            REQUIRE(std::memcmp(o2.c.data(), want2.data(), want2.size() * sizeof(TestType)) == 0);
          }
  }
}

TEMPLATE_TEST_CASE("two products of one matrix have the bits of each alone", "", float, double) {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<TestType> kernels(make_target(mask));
    std::mt19937 engine(5);
    const auto up_to = [&](int most) { return static_cast<std::int64_t>(engine() % most + 1); };
    for (int i = 0; i < 100; ++i) {
      const std::int64_t n = up_to(70), k = i % 10 == 0 ? 255 + up_to(400) : up_to(70);
      const bool large = i % 7 == 0;
      const std::int64_t m = large ? 150 + up_to(60) : up_to(70);
      const std::int64_t m2 = large ? rows_of_two - m : up_to(70);
      const Problem p{m, n, k, (i & 1) != 0}, p2{m2, n, k, (i & 2) != 0};
      Operands<TestType> o(p), o2(p2);
      o2.b = o.b;
      const std::vector<TestType> want = expected(p, o, kernels.has_fma),
                                  want2 = expected(p2, o2, kernels.has_fma);
      REQUIRE(o.b_n == 1);
      REQUIRE(o.c_m == o2.c_m);
      std::vector<TestType> sums(static_cast<std::size_t>(n), NAN);
      const std::int64_t vectors = (n + kernels.tile.lanes - 1) / kernels.tile.lanes;
      const std::int64_t panels = std::min(kernels.tile.panels(n) + i % 2, vectors);
      const std::int64_t columns = 1 + i % 3;
      WorkShare whole;
      for (std::int64_t t = 0; t < columns; ++t)
        kernels.direct(o.a.data(), o.a_m, o.a_k, o.b.data(), o.c.data(), o.c_m, 0, m, n, k,
                       panels * t / columns, panels * (t + 1) / columns, panels, o.b_k, sums.data(),
                       INT64_MAX, 0, o2.a.data(), o2.a_m, o2.a_k, INT64_MAX, 0, o2.c.data(), m2,
                       &whole, 0);
      INFO("m " << m << " and " << m2 << " n " << n << " k " << k);
      REQUIRE(std::memcmp(o.c.data(), want.data(), want.size() * sizeof(TestType)) == 0);
      REQUIRE(std::memcmp(o2.c.data(), want2.data(), want2.size() * sizeof(TestType)) == 0);
      for (std::int64_t j = 0; j < n; ++j) {
        TestType sum = 0;
        for (std::int64_t l = 0; l < k; ++l) sum += o.b[static_cast<std::size_t>(l * o.b_k + j)];
        REQUIRE(sums[static_cast<std::size_t>(j)] == sum);
      }
    }
  }
}

// One thread has all panels, others take of them while it runs, block by block, at
// moments that differ from run to run.
TEMPLATE_TEST_CASE("panels that are given away on the way have the bits they would have had", "",
                   float, double) {
  const Kernels<TestType> kernels(make_target(""));
  for (const std::int64_t m : {64, 300})
    for (const std::int64_t k : {200, 1500})
      for (int repeat = 0; repeat < 5; ++repeat) {
        const std::int64_t panels = 9, n = panels * kernels.tile.columns - 3;
        const std::int64_t depth = kernels.tile.direct_k_block();
        const std::int64_t turns = (m + 255) / 256 * ((k + depth - 1) / depth);
        const Problem p{m, n, k, true};
        Operands<TestType> o(p);
        const std::vector<TestType> want = expected(p, o, kernels.has_fma);
        std::vector<TestType> sums(static_cast<std::size_t>(n), NAN);
        std::array<WorkShare, 3> shares;
        shares[0].count = panels;
        const auto product = [&](std::int64_t begin, std::int64_t end, WorkShare& share,
                                 std::int64_t first_turn) {
          kernels.direct(o.a.data(), o.a_m, o.a_k, o.b.data(), o.c.data(), o.c_m, 0, m, n, k, begin,
                         end, panels, o.b_k, sums.data(), INT64_MAX, 0, nullptr, 0, 0, INT64_MAX, 0,
                         nullptr, 0, &share, first_turn);
        };
        std::atomic<std::int64_t> taken{0};
        std::vector<std::thread> others;
        for (int t = 1; t < 3; ++t)
          others.emplace_back([&] {
            while (shares[0].claimed.load() >> 32 == 0) std::this_thread::yield();
            while (true) {
              const TakenWork work = take_work(shares.data(), 3, turns, 1);
              if (work.count == 0) return;
              taken += work.count;
              WorkShare own;
              product(work.begin, work.begin + work.count, own, work.first_turn);
            }
          });
        product(0, panels, shares[0], 0);
        for (std::thread& other : others) other.join();
        INFO("m " << m << " k " << k << ", " << taken << " panels taken");
        CHECK(shares[0].claimed >> 32 == static_cast<std::uint64_t>(turns));
        CHECK(shares[0].done == static_cast<std::uint64_t>(turns));
        CHECK(static_cast<std::int64_t>(shares[0].claimed & UINT32_MAX) == taken);
        REQUIRE(std::memcmp(o.c.data(), want.data(), want.size() * sizeof(TestType)) == 0);
        for (std::int64_t j = 0; j < n; ++j) {
          TestType sum = 0;
          for (std::int64_t l = 0; l < k; ++l) sum += o.b[static_cast<std::size_t>(l * o.b_k + j)];
          REQUIRE(sums[static_cast<std::size_t>(j)] == sum);
        }
      }
}

namespace {

// Values behind which stands a page that nobody may touch.
class AtPageEnd {
 public:
  explicit AtPageEnd(const std::vector<float>& values)
      : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    const std::size_t bytes = values.size() * sizeof(float);
    used_ = (bytes + page_ - 1) / page_ * page_;
    memory_ =
        ::mmap(nullptr, used_ + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    REQUIRE(::mprotect(static_cast<std::byte*>(memory_) + used_, page_, PROT_NONE) == 0);
    values_ = reinterpret_cast<float*>(static_cast<std::byte*>(memory_) + used_ - bytes);
    std::memcpy(values_, values.data(), bytes);
  }
  ~AtPageEnd() { ::munmap(memory_, used_ + page_); }
  AtPageEnd(const AtPageEnd&) = delete;
  AtPageEnd& operator=(const AtPageEnd&) = delete;

  float* values() const { return values_; }

 private:
  std::size_t page_, used_ = 0;
  void* memory_ = nullptr;
  float* values_ = nullptr;
};

}  // namespace

// Whole vectors of A are copied, but none that reaches behind its end.
TEST_CASE("a product reads nothing behind a transposed matrix") {
  const Kernels<float> kernels(make_target(""));
  for (std::int64_t m = 16; m < 32; ++m) {
    const Problem p{m, 4 * kernels.tile.columns, 3, true, false, Start::zero};
    Operands<float> o(p);
    const AtPageEnd a(o.a);
    const std::int64_t panels = kernels.tile.panels(p.n);
    std::vector<float> packed(static_cast<std::size_t>(kernels.tile.packed_elements(p.k, p.n)));
    kernels.pack(o.b.data(), o.b_k, o.b_n, p.k, p.n, 0, panels, packed.data(), nullptr);
    const std::vector<float> want = expected(p, o, kernels.has_fma);
    kernels.gemm(a.values(), o.a_m, o.a_k, packed.data(), o.c.data(), o.c_m, nullptr, 0, 0, p.m,
                 p.n, p.k, 0, panels);
    CHECK(o.c == want);
  }
}

// The last columns are copied by vectors, too, of which some lanes are not there.
TEST_CASE("a product touches nothing behind its result and what it begins with") {
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Kernels<float> kernels(make_target(mask));
    for (const Start start : {Start::bias, Start::matrix, Start::accumulate})
      for (std::int64_t n = kernels.tile.columns + 1; n <= 2 * kernels.tile.columns; ++n) {
        const Problem p{11, n, 600, false, false, start};
        Operands<float> o(p);
        std::vector<float> want = expected(p, o, kernels.has_fma);
        const auto last = [&](std::int64_t rows, std::int64_t apart) {
          return static_cast<std::size_t>((rows - 1) * apart + n);
        };
        want.resize(last(p.m, o.c_m));
        o.c.resize(want.size());
        o.initial.resize(last(start == Start::bias ? 1 : p.m, n + 3));
        const AtPageEnd c(o.c), initial(o.initial);
        const std::int64_t panels = kernels.tile.panels(n);
        std::vector<float> packed(static_cast<std::size_t>(kernels.tile.packed_elements(p.k, n)));
        kernels.pack(o.b.data(), o.b_k, o.b_n, p.k, n, 0, panels, packed.data(), nullptr);
        kernels.gemm(o.a.data(), o.a_m, o.a_k, packed.data(), c.values(), o.c_m,
                     start == Start::accumulate ? c.values() : initial.values(), o.start_stride(p),
                     0, p.m, n, p.k, 0, panels);
        REQUIRE(std::memcmp(c.values(), want.data(), want.size() * sizeof(float)) == 0);
      }
  }
}

TEST_CASE("a product along an empty dimension is its start") {
  const Kernels<float> kernels(make_target(""));
  for (Start start : {Start::zero, Start::bias, Start::matrix, Start::accumulate})
    check(Problem{5, 51, 0, false, false, start}, kernels);
}

TEST_CASE("an epilogue sees complete tiles and their place") {
  const Target target = make_target("");
  TestJit jit(target);
  // c = relu(sum), plus 100 in row 3
  const TileEpilogue epilogue = [](llvm::IRBuilderBase& b, const MatmulTileSums& tile) {
    for (int i = 0; i < tile.rows; ++i) {
      llvm::Value* row = b.CreateAdd(tile.row, b.getInt64(static_cast<std::uint64_t>(i)));
      llvm::Value* third = b.CreateICmpEQ(row, b.getInt64(3));
      for (int v = 0; v < tile.vectors; ++v) {
        llvm::Value*& sum = tile.sums[static_cast<std::size_t>(i * tile.vectors + v)];
        auto* zero = llvm::Constant::getNullValue(sum->getType());
        sum = b.CreateSelect(b.CreateFCmpOGT(sum, zero), sum, zero);
        llvm::Value* more = b.CreateFAdd(sum, llvm::ConstantFP::get(sum->getType(), 100));
        sum = b.CreateSelect(third, more, sum);
      }
    }
  };
  const MatmulKernels plain = emit_matmul_kernels(jit.module(), target, DType::f32, "plain");
  const MatmulKernels fused =
      emit_matmul_kernels(jit.module(), target, DType::f32, "fused", epilogue);
  CHECK(fused.pack == nullptr);
  plain.pack->setLinkage(llvm::Function::ExternalLinkage);
  fused.gemm->setLinkage(llvm::Function::ExternalLinkage);
  jit.compile();
  using Fused = void(const float*, std::int64_t, std::int64_t, const float*, float*, std::int64_t,
                     const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                     std::int64_t, std::int64_t, std::int64_t, void*);
  const Problem p{11, 53, 300};
  Operands<float> o(p);
  std::vector<float> want = expected(p, o, target.has_fma);
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      float& x = want[static_cast<std::size_t>(i * o.c_m + j)];
      x = (x > 0 ? x : 0) + (i == 3 ? 100.0F : 0.0F);
    }
  const std::int64_t panels = plain.tile.panels(p.n);
  std::vector<float> packed(static_cast<std::size_t>(plain.tile.packed_elements(p.k, p.n)));
  jit.lookup<PackFunction<float>>("plain.pack")(o.b.data(), o.b_k, o.b_n, p.k, p.n, 0, panels,
                                                packed.data(), nullptr);
  jit.lookup<Fused>("fused.gemm")(o.a.data(), o.a_m, o.a_k, packed.data(), o.c.data(), o.c_m,
                                  nullptr, 0, 0, p.m, p.n, p.k, 0, panels, nullptr);
  CHECK(o.c == want);
}
