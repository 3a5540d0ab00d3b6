// Products by the kernels alone, called as a program calls them.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/llvm/matmul_kernel_internal.h"
#include "tests/catch.h"
#include "tests/llvm_kernels/jit.h"

namespace treadle::testing {

template <typename T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

// The kernels for one target, compiled.
template <typename T>
struct Kernels {
  explicit Kernels(const Target& target, DType dtype = dtype_of<T>)
      : has_fma(target.has_fma), jit(target) {
    const bool with_direct = dtype != DType::bf16;
    const MatmulKernels kernels =
        emit_matmul_kernels(jit.module(), target, dtype, "mm", {}, with_direct, true, true);
    tile = kernels.tile;
    if (with_direct) kernels.direct->setLinkage(llvm::Function::ExternalLinkage);
    if (may_chain(tile)) kernels.chained->setLinkage(llvm::Function::ExternalLinkage);
    if (!tile.amx) kernels.asking->setLinkage(llvm::Function::ExternalLinkage);
    kernels.pack->setLinkage(llvm::Function::ExternalLinkage);
    kernels.gemm->setLinkage(llvm::Function::ExternalLinkage);
    jit.compile();
    pack = jit.lookup<PackFunction<T>>("mm.pack");
    gemm = jit.lookup<GemmFunction<T>>("mm.gemm");
    if (with_direct) direct = jit.lookup<DirectGemmFunction<T>>("mm.direct_gemm");
    if (may_chain(tile)) chained = jit.lookup<ChainedGemmFunction<T>>("mm.chained_gemm");
    if (!tile.amx) asking = jit.lookup<AskingGemmFunction<T>>("mm.asking_gemm");
  }

  bool has_fma;
  TestJit jit;
  MatmulTile tile;
  PackFunction<T>* pack = nullptr;
  GemmFunction<T>* gemm = nullptr;
  DirectGemmFunction<T>* direct = nullptr;
  AskingGemmFunction<T>* asking = nullptr;
  ChainedGemmFunction<T>* chained = nullptr;
};

enum class Start { zero, bias, matrix, accumulate };

struct Problem {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  bool a_transposed = false;
  bool b_transposed = false;
  Start start = Start::zero;
};

template <typename T>
std::vector<T> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<T> distribution(-1, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = distribution(engine);
  return values;
}

template <typename T>
struct Operands {
  explicit Operands(const Problem& p)
      : a(random_values<T>(p.m * p.k, 1)),
        b(random_values<T>(p.k * p.n, 2)),
        initial(random_values<T>(p.m * (p.n + 3), 3)),
        c(random_values<T>(p.m * (p.n + 5), 4)),
        a_m(p.a_transposed ? 1 : p.k),
        a_k(p.a_transposed ? p.m : 1),
        b_k(p.b_transposed ? 1 : p.n),
        b_n(p.b_transposed ? p.k : 1),
        c_m(p.n + 5) {}

  const T* start(const Problem& p) const {
    if (p.start == Start::zero) return nullptr;
    return p.start == Start::accumulate ? c.data() : initial.data();
  }
  std::int64_t start_stride(const Problem& p) const {
    if (p.start == Start::accumulate) return c_m;
    return p.start == Start::matrix ? p.n + 3 : 0;
  }

  std::vector<T> a, b, initial, c;
  std::int64_t a_m, a_k, b_k, b_n, c_m;
};

template <typename T>
std::vector<T> packed_b(const Problem& p, const Operands<T>& o, const Kernels<T>& kernels) {
  std::vector<T> out(static_cast<std::size_t>(kernels.tile.packed_elements(p.k, p.n)));
  kernels.pack(o.b.data(), o.b_k, o.b_n, p.k, p.n, 0, kernels.tile.panels(p.n), out.data(),
               nullptr);
  return out;
}

// Rows and panels in several calls, as threads share them.
template <typename T>
std::vector<T> computed(const Problem& p, Operands<T> o, const Kernels<T>& kernels, int parts) {
  const std::int64_t panels = kernels.tile.panels(p.n);
  std::vector<T> packed(static_cast<std::size_t>(kernels.tile.packed_elements(p.k, p.n)), NAN);
  for (int t = 0; t < parts; ++t)
    kernels.pack(o.b.data(), o.b_k, o.b_n, p.k, p.n, panels * t / parts, panels * (t + 1) / parts,
                 packed.data(), nullptr);
  for (int s = 0; s < parts; ++s)
    for (int t = 0; t < parts; ++t)
      kernels.gemm(o.a.data(), o.a_m, o.a_k, packed.data(), o.c.data(), o.c_m, o.start(p),
                   o.start_stride(p), p.m * s / parts, p.m * (s + 1) / parts, p.n, p.k,
                   panels * t / parts, panels * (t + 1) / parts);
  return o.c;
}

inline std::string described(const Problem& p, int parts) {
  return "m " + std::to_string(p.m) + " n " + std::to_string(p.n) + " k " + std::to_string(p.k) +
         " transposed " + std::to_string(p.a_transposed) + std::to_string(p.b_transposed) +
         " start " + std::to_string(static_cast<int>(p.start)) + " parts " + std::to_string(parts);
}

// Two products in one have the bits of one after the other, whether they ask for memory or not.
template <typename T>
void check_chained(const Kernels<T>& kernels) {
  const std::vector<char> memory(1 << 16);
  std::mt19937 engine(9);
  const auto below = [&](unsigned end) { return static_cast<std::int64_t>(engine() % end); };
  for (int i = 0; i < 200; ++i) {
    // Of 64 rows and more than a MiB of B, whose next panels tiles ask for.
    const bool large = i % 20 == 0;
    const Problem second{large ? 64 : below(70) + 1,
                         large ? 525 : below(200) + 1,
                         large ? 520 : below(70),
                         i % 3 == 0,
                         false,
                         Start::accumulate};
    const Problem first{second.m,   second.n, large && i % 40 == 0 ? 530 : below(70),
                        i % 5 == 0, false,    static_cast<Start>(i % 4)};
    const Operands<T> before(first), operands(second);
    Operands<T> behind = operands;
    behind.c = computed(first, before, kernels, 1);
    const std::vector<T> want = computed(second, behind, kernels, 1);
    const std::int64_t panels = kernels.tile.panels(second.n);
    const std::vector<T> of_first = packed_b(first, before, kernels),
                         of_second = packed_b(second, operands, kernels);
    const std::int64_t bytes = i % 2 == 0 ? 0 : below(1 << 14);
    AskedAhead list[] = {{bytes == 0 ? nullptr : memory.data(), bytes}, {nullptr, 0}};
    Operands<T> o = before;
    kernels.chained(operands.a.data(), operands.a_m, operands.a_k, of_second.data(), o.c.data(),
                    o.c_m, o.start(first), o.start_stride(first), 0, second.m, second.n, second.k,
                    0, panels, list, bytes, before.a.data(), before.a_m, before.a_k,
                    of_first.data(), first.k);
    INFO(described(second, 1) << " behind k " << first.k);
    REQUIRE(std::memcmp(o.c.data(), want.data(), want.size() * sizeof(T)) == 0);
    if (large && bytes > 0) CHECK(list[0].bytes <= 0);
  }
}

// Products that ask for memory have the bits of those that do not; all of it is asked for
// where there are tiles enough, and nothing far behind the runs' ends.
template <typename T>
void check_asking(const Kernels<T>& kernels) {
  const std::vector<char> memory(1 << 16);
  std::mt19937 engine(5);
  const auto below = [&](unsigned end) { return static_cast<std::int64_t>(engine() % end); };
  for (int i = 0; i < 200; ++i) {
    const bool large = i % 10 == 0;
    const Problem p{large ? 64 : below(70) + 1,
                    large ? 480 : below(200) + 1,
                    large ? 100 + below(500) : below(70),
                    i % 3 == 0,
                    false,
                    static_cast<Start>(i % 4)};
    const Operands<T> operands(p);
    const std::vector<T> want = computed(p, operands, kernels, 1);
    const std::int64_t panels = kernels.tile.panels(p.n);
    const std::vector<T> packed = packed_b(p, operands, kernels);
    std::vector<AskedAhead> runs;
    std::int64_t all = 0;
    for (std::int64_t count = below(4); count > 0; --count) {
      runs.push_back({memory.data() + all, below(1 << 14)});
      all += runs.back().bytes;
    }
    runs.push_back({nullptr, 0});
    std::vector<AskedAhead> left = runs;
    Operands<T> o = operands;
    kernels.asking(o.a.data(), o.a_m, o.a_k, packed.data(), o.c.data(), o.c_m, o.start(p),
                   o.start_stride(p), 0, p.m, p.n, p.k, 0, panels, left.data(), all);
    INFO(described(p, 1) << " runs " << runs.size() - 1);
    REQUIRE(std::memcmp(o.c.data(), want.data(), want.size() * sizeof(T)) == 0);
    CHECK(left.back().from == nullptr);
    for (std::size_t r = 0; r + 1 < runs.size(); ++r) {
      const auto asked =
          static_cast<const char*>(left[r].from) - static_cast<const char*>(runs[r].from);
      CHECK(left[r].bytes == runs[r].bytes - asked);
      CHECK(left[r].bytes > -std::max<std::int64_t>(p.k, 1));
      if (large) CHECK(left[r].bytes <= 0);
    }
  }
}

}  // namespace treadle::testing
