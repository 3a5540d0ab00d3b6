// The machine that code is generated for, found at run time.
#pragma once
#include <string>
#include <string_view>

namespace treadle {

struct Target {
  std::string triple;         // "x86_64-pc-linux-gnu"
  std::string cpu;            // LLVM's name of the processor
  std::string features;       // "+avx2,-avx512f,...": LLVM's feature string
  int vector_bytes = 16;      // of one vector register: 64 AVX-512, 32 AVX2, 16 SSE and NEON
  int vector_registers = 16;  // 32 with AVX-512 and NEON
  bool has_fma = false;       // fused multiply-add is one instruction
  bool has_bfloat16 = false;  // AVX512_BF16: products of pairs of bfloat16, summed in f32
  // AMX with bfloat16, and the system lets this process use its registers.
  bool has_amx = false;
};

// The host, with its features masked: `mask` is "" (all that the host has),
// "avx2" (no AVX-512) or "sse" (no AVX and no FMA). A mask never adds what the
// host lacks. Throws UserError T0984 for another mask.
Target make_target(std::string_view mask);

// The mask in the environment variable TREADLE_CPU_FEATURES, "" without one.
std::string host_mask();

// make_target() with that mask.
Target host_target();

}  // namespace treadle
