// GFLOP/s of the matrix multiplication kernels on one core, against the
// measured peak of fused multiply-adds, and the time to compile them.
#include <fmt/core.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/matmul_kernel_internal.h"
#include "backends/onednn/matmul.h"
#include "runtime/work_share.h"
#include "tests/llvm_kernels/jit.h"

namespace {

using namespace treadle;
using treadle::testing::TestJit;
using Clock = std::chrono::steady_clock;

double seconds(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The fastest of many runs: others share the machine.
double best(const std::function<void()>& work) {
  double fastest = 1e9;
  double spent = 0;
  work();
  for (int i = 0; i < 20 || (spent < 0.3 && i < 5000); ++i) {
    const double t = seconds(work);
    fastest = std::min(fastest, t);
    spent += t;
  }
  return fastest;
}

constexpr int peak_chains = 20;

// void peak(float* out, i64 turns): independent multiply-adds, in registers.
void emit_peak(TestJit& jit, const Target& target) {
  llvm::IRBuilder<> b(jit.module().getContext());
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy(), b.getInt64Ty()}, false);
  llvm::Function* f = jit.function("peak", type);
  b.SetInsertPoint(llvm::BasicBlock::Create(b.getContext(), "entry", f));
  auto* vector =
      llvm::FixedVectorType::get(b.getFloatTy(), static_cast<unsigned>(target.vector_bytes / 4));
  llvm::Value* x = b.CreateAlignedLoad(vector, f->getArg(0), llvm::Align(4));
  std::vector<llvm::Value*> sums(peak_chains, x);
  sums = emit_loop(b, b.getInt64(0), f->getArg(1), b.getInt64(1), sums,
                   [&](llvm::Value*, std::vector<llvm::Value*>& values) {
                     for (llvm::Value*& sum : values)
                       sum = b.CreateIntrinsic(llvm::Intrinsic::fma, {vector}, {sum, x, sum});
                   });
  for (llvm::Value* sum : sums) x = b.CreateFAdd(x, sum);
  b.CreateAlignedStore(x, f->getArg(0), llvm::Align(4));
  b.CreateRetVoid();
}

struct Product {
  std::int64_t m, n, k;
  bool a_transposed;
  const char* what;
};

void run(const Product& s, const MatmulTile& tile, PackFunction<float>* pack,
         GemmFunction<float>* gemm, const std::function<double()>& peak) {
  std::vector<float> a(static_cast<std::size_t>(s.m * s.k), 0.5F);
  std::vector<float> b(static_cast<std::size_t>(s.k * s.n), 0.25F);
  std::vector<float> c(static_cast<std::size_t>(s.m * s.n));
  std::vector<float> storage(static_cast<std::size_t>(tile.packed_elements(s.k, s.n)) + 16);
  float* packed = storage.data();
  while (reinterpret_cast<std::uintptr_t>(packed) % 64 != 0) ++packed;
  const std::int64_t panels = tile.panels(s.n);
  const double packing =
      best([&] { pack(b.data(), s.n, 1, s.k, s.n, 0, panels, packed, nullptr); });
  const double packing_transposed =
      best([&] { pack(b.data(), 1, s.k, s.k, s.n, 0, panels, packed, nullptr); });
  const std::int64_t a_m = s.a_transposed ? 1 : s.k;
  const std::int64_t a_k = s.a_transposed ? s.m : 1;
  const double limit = peak();
  const double time = best([&] {
    gemm(a.data(), a_m, a_k, packed, c.data(), s.n, nullptr, 0, 0, s.m, s.n, s.k, 0, panels);
  });
  const double work = 2e-9 * static_cast<double>(s.m * s.n * s.k);
  const double rate = work / time;
  const Dim m(s.m), n(s.n), k(s.k);
  const auto runner = make_onednn_runner({DType::f32,
                                          {Dim(1), m, n, k},
                                          {{}, Dim(0), Dim(0), Dim(a_m), Dim(a_k)},
                                          {{}, Dim(0), Dim(0), Dim(1), n}});
  runner->bind({}, 1);
  const auto* b_bytes = reinterpret_cast<const std::byte*>(b.data());
  const double preparing = best([&] { runner->prepare(0, b_bytes); });
  const std::vector<float> ours = c;
  const double theirs = best([&] {
    runner->run(0, reinterpret_cast<const std::byte*>(a.data()),
                reinterpret_cast<std::byte*>(c.data()));
  });
  for (std::size_t i = 0; i < c.size(); ++i)
    if (std::abs(ours[i] - c[i]) > 1e-4F * std::abs(c[i])) fmt::print("results differ at {}\n", i);
  fmt::print(
      "{:5} {:5} {:5} {:18} {:7.1f} GFLOP/s {:5.1f} % of {:5.1f}; {:6.1f} GB/s of B; "
      "pack {:7.1f} us, transposed {:7.1f} us; oneDNN {:7.1f} GFLOP/s, pack {:7.1f} us\n",
      s.m, s.n, s.k, s.what, rate, 100 * rate / limit, limit,
      4e-9 * static_cast<double>(s.n * s.k) / time, 1e6 * packing, 1e6 * packing_transposed,
      work / theirs, 1e6 * preparing);
}

// A weight's gradient: A is the transpose of rows of m numbers, B stands as it is.
struct Gradient {
  std::int64_t m, m2, n, k;
};

void run_direct(const Gradient& s, const MatmulTile& tile, DirectGemmFunction<float>* gemm,
                const std::function<double()>& peak) {
  std::vector<float> a(static_cast<std::size_t>((s.m + s.m2) * s.k), 0.5F);
  std::vector<float> b(static_cast<std::size_t>(s.k * s.n), 0.25F);
  std::vector<float> c(static_cast<std::size_t>((s.m + s.m2) * s.n)), sums(b.size());
  const std::int64_t panels = tile.panels(s.n);
  const double limit = peak();
  const double time = best([&] {
    WorkShare whole;
    whole.count = panels;
    gemm(a.data(), 1, s.m, b.data(), c.data(), s.n, 0, s.m, s.n, s.k, 0, panels, panels, s.n,
         sums.data(), s.k, 0, a.data() + s.m * s.k, 1, s.m2, s.k, 0, c.data() + s.m * s.n, s.m2,
         &whole, 0);
  });
  const double rate = 2e-9 * static_cast<double>((s.m + s.m2) * s.n * s.k) / time;
  fmt::print("{:5} + {:4} {:5} {:5} B where it stands {:7.1f} GFLOP/s {:5.1f} % of {:5.1f}\n", s.m,
             s.m2, s.n, s.k, rate, 100 * rate / limit, limit);
}

}  // namespace

int main() {
  const Target target = host_target();
  {
    TestJit jit(target);
    emit_peak(jit, target);
    jit.compile();
    const double compiling = seconds([&] { jit.lookup<void(float*, std::int64_t)>("peak"); });
    fmt::print("one small function: compiled in {:.1f} ms\n", 1e3 * compiling);
  }
  for (DType dtype : {DType::f32, DType::f64}) {
    TestJit jit(target);
    const double emitting = seconds([&] {
      const MatmulKernels kernels = emit_matmul_kernels(jit.module(), target, dtype, "mm");
      kernels.gemm->setLinkage(llvm::Function::ExternalLinkage);
    });
    jit.compile();
    const double compiling = seconds([&] { jit.lookup<GemmFunction<float>>("mm.gemm"); });
    fmt::print("{}: emitted in {:.1f} ms, compiled in {:.1f} ms\n", to_string(dtype),
               1e3 * emitting, 1e3 * compiling);
  }

  TestJit jit(target);
  const MatmulKernels kernels =
      emit_matmul_kernels(jit.module(), target, DType::f32, "mm", {}, true);
  kernels.direct->setLinkage(llvm::Function::ExternalLinkage);
  kernels.pack->setLinkage(llvm::Function::ExternalLinkage);
  kernels.gemm->setLinkage(llvm::Function::ExternalLinkage);
  emit_peak(jit, target);
  jit.compile();
  auto* spin = jit.lookup<void(float*, std::int64_t)>("peak");
  const auto peak = [&] {
    float out[64] = {};
    const double time = best([&] { spin(out, 20000); });
    return 2e-9 * 20000.0 * peak_chains * (target.vector_bytes / 4) / time;
  };
  fmt::print("{} {} bytes a vector, tile {} x {}\n", target.cpu, target.vector_bytes,
             kernels.tile.rows, kernels.tile.columns);
  auto* pack = jit.lookup<PackFunction<float>>("mm.pack");
  auto* gemm = jit.lookup<GemmFunction<float>>("mm.gemm");
  auto* direct = jit.lookup<DirectGemmFunction<float>>("mm.direct_gemm");
  for (const Gradient& shape : std::initializer_list<Gradient>{
           {256, 0, 1024, 3200}, {28, 128, 512, 3584}, {64, 128, 512, 3200}, {128, 0, 128, 768}})
    run_direct(shape, kernels.tile, direct, peak);
  for (const Product& shape : std::initializer_list<Product>{
           {1, 1024, 256, false, "batch 1"},
           {1, 512, 256, false, "batch 1, half"},
           {2, 1024, 256, false, ""},
           {4, 1024, 256, false, ""},
           {8, 1024, 256, false, ""},
           {16, 1024, 256, false, ""},
           {32, 1024, 256, false, ""},
           {32, 512, 256, false, "half"},
           {64, 1024, 256, false, ""},
           {64, 512, 256, false, "half"},
           {64, 256, 1024, false, "backward"},
           {128, 512, 128, false, ""},
           {3200, 1024, 256, false, "projection"},
           {256, 1024, 3200, true, "weight gradient"},
           {28, 512, 3584, true, "weight gradient"},
           {256, 65, 4096, true, "weight gradient"},
           {512, 512, 512, false, ""},
           {32, 256, 1024, false, "backward"},
           {128, 65, 256, false, "logits"},
           {4096, 65, 256, false, "logits"},
           {4096, 256, 65, false, "logits, backward"},
           {4096, 64, 1024, false, "embedding, backward"},
           {128, 128, 512, false, "backward"},
       })
    run(shape, kernels.tile, pack, gemm, peak);
}
