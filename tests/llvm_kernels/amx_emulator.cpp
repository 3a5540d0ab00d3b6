#include "tests/llvm_kernels/amx_emulator.h"

#if defined(__x86_64__) && defined(__linux__)

#include <signal.h>
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

// Encodings and operation: Intel 64 and IA-32 Architectures Software Developer's Manual,
// volume 2, "Instruction format" (VEX, ModRM, SIB) and the pages of the instructions.

namespace treadle::testing {

namespace {

constexpr int registers = 8, most_rows = 16, most_bytes = 64;

struct Tile {
  int rows = 0, bytes = 0;
  std::uint8_t data[most_rows][most_bytes] = {};
};
struct State {
  bool configured = false;
  long executed = 0;
  Tile tiles[registers];
};
State state;
struct sigaction before;

// The general registers in the order of their numbers.
constexpr int general[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};

struct Instruction {
  int prefix = 0, opcode = 0, mod = 0, reg = 0, rm = 0, vvvv = 0, length = 0;
  std::int64_t address = 0, stride = 0;  // of memory operands
};

std::int64_t displacement(const std::uint8_t* at, int bytes) {
  if (bytes == 0) return 0;
  if (bytes == 1) return static_cast<std::int8_t>(*at);
  std::int32_t out = 0;
  std::memcpy(&out, at, 4);
  return out;
}

// Three-byte VEX, 128 bits, map 0F38, W0.
bool decode(const std::uint8_t* code, const mcontext_t& machine, Instruction& out) {
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;
  const auto value = [&](int number) {
    return static_cast<std::int64_t>(machine.gregs[general[number]]);
  };
  const int r = (~code[1] >> 7 & 1) << 3, x = (~code[1] >> 6 & 1) << 3,
            b = (~code[1] >> 5 & 1) << 3;
  out.prefix = code[2] & 3;
  out.vvvv = ~(code[2] >> 3) & 15;
  out.opcode = code[3];
  out.mod = code[4] >> 6;
  out.reg = (code[4] >> 3 & 7) | r;
  out.rm = (code[4] & 7) | b;
  const std::uint8_t* next = code + 5;
  if (out.mod == 3) {
    out.length = 5;
    return true;
  }
  int bytes = out.mod == 1 ? 1 : out.mod == 2 ? 4 : 0;
  bool relative = false;
  if ((code[4] & 7) == 4) {  // SIB
    const int index = (*next >> 3 & 7) | x, base = (*next & 7) | b;
    out.stride = index == 4 ? 0 : value(index) << (*next >> 6);
    if ((*next & 7) == 5 && out.mod == 0)
      bytes = 4;
    else
      out.address = value(base);
    ++next;
  } else if ((code[4] & 7) == 5 && out.mod == 0) {
    bytes = 4;
    relative = true;
  } else {
    out.address = value(out.rm);
  }
  out.address += displacement(next, bytes);
  next += bytes;
  out.length = static_cast<int>(next - code);
  if (relative) out.address += reinterpret_cast<std::int64_t>(next);
  return true;
}

bool configure(const Instruction& in) {
  std::uint8_t bytes[64];
  std::memcpy(bytes, reinterpret_cast<const void*>(in.address + in.stride), 64);
  if (bytes[0] != 1 || bytes[1] != 0) return false;
  for (int i = 2; i < 16; ++i)
    if (bytes[i] != 0) return false;
  for (int i = 0; i < registers; ++i) {
    Tile& tile = state.tiles[i];
    tile = {};
    tile.bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
    tile.rows = bytes[48 + i];
    if (tile.bytes > most_bytes || tile.rows > most_rows) return false;
  }
  state.configured = true;
  return true;
}

bool move(const Instruction& in, bool to_memory) {
  if (!state.configured || in.mod == 3 || in.reg >= registers || (in.rm & 7) != 4) return false;
  Tile& tile = state.tiles[in.reg];
  if (!to_memory) std::memset(tile.data, 0, sizeof tile.data);
  for (int row = 0; row < tile.rows; ++row) {
    void* memory = reinterpret_cast<void*>(in.address + row * in.stride);
    if (to_memory)
      std::memcpy(memory, tile.data[row], static_cast<std::size_t>(tile.bytes));
    else
      std::memcpy(tile.data[row], memory, static_cast<std::size_t>(tile.bytes));
  }
  return true;
}

float flushed(float x) { return std::abs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }

bool multiply(const Instruction& in) {
  if (!state.configured || in.mod != 3 || in.reg >= registers || in.rm >= registers ||
      in.vvvv >= registers || in.reg == in.rm || in.reg == in.vvvv || in.rm == in.vvvv)
    return false;
  Tile& c = state.tiles[in.reg];
  const Tile &a = state.tiles[in.rm], &b = state.tiles[in.vvvv];
  if (c.bytes != b.bytes || c.rows != a.rows || a.bytes / 4 != b.rows) return false;
  const auto number = [](const std::uint8_t* at) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, at, 2);
    return flushed(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
  };
  for (int m = 0; m < c.rows; ++m) {
    float sums[2 * most_bytes / 4] = {};
    for (int k = 0; k < b.rows; ++k)
      for (int n = 0; n < c.bytes / 4; ++n)
        for (int half = 0; half < 2; ++half) {
          float& sum = sums[2 * n + half];
          sum = flushed(std::fma(number(&a.data[m][4 * k + 2 * half]),
                                 number(&b.data[k][4 * n + 2 * half]), sum));
        }
    for (int n = 0; n < c.bytes / 4; ++n) {
      float sum = 0;
      std::memcpy(&sum, &c.data[m][4 * n], 4);
      sum = flushed(flushed(sum) + flushed(sums[2 * n] + sums[2 * n + 1]));
      std::memcpy(&c.data[m][4 * n], &sum, 4);
    }
  }
  return true;
}

bool carry_out(const Instruction& in) {
  constexpr int none = 0, f3 = 2, f2 = 3;
  if (in.opcode == 0x49 && in.prefix == none && in.mod != 3) return configure(in);
  if (in.opcode == 0x49 && in.prefix == none && in.mod == 3 && in.reg == 0 && in.rm == 0) {
    state.configured = false;  // TILERELEASE
    return true;
  }
  if (in.opcode == 0x4B && in.prefix == f2) return move(in, false);
  if (in.opcode == 0x4B && in.prefix == f3) return move(in, true);
  if (in.opcode == 0x5C && in.prefix == f3) return multiply(in);
  return false;
}

void handle(int, siginfo_t*, void* context) {
  mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  Instruction in;
  if (decode(reinterpret_cast<const std::uint8_t*>(machine.gregs[REG_RIP]), machine, in) &&
      carry_out(in)) {
    ++state.executed;
    machine.gregs[REG_RIP] += in.length;
    return;
  }
  sigaction(SIGILL, &before, nullptr);  // raised again, for whoever comes next
}

}  // namespace

AmxEmulator::AmxEmulator() {
  state = {};
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &before);
}
AmxEmulator::~AmxEmulator() { sigaction(SIGILL, &before, nullptr); }
long AmxEmulator::executed() const { return state.executed; }
bool AmxEmulator::configured() const { return state.configured; }

}  // namespace treadle::testing

#endif
