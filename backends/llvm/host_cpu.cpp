#include "backends/llvm/host_cpu.h"

#include <fmt/format.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#else
#include <fstream>
#endif

namespace treadle {

#if defined(__x86_64__) || defined(__i386__)

std::string host_cpu_key() {
  std::string out = "x86";
  const auto add = [&](unsigned leaf, unsigned subleaf) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d) == 0) return 0U;
    // Which core is asked, and how large its saved state is at the moment.
    if (leaf == 1) b &= 0x0000FFFF;
    if (leaf == 0xD) b = 0;
    out += fmt::format(" {:x}.{}:{:x},{:x},{:x},{:x}", leaf, subleaf, a, b, c, d);
    return c;
  };
  add(0, 0);
  const unsigned features = add(1, 0);
  for (const unsigned subleaf : {0U, 1U}) add(7, subleaf);
  add(0xD, 1);
  for (const unsigned leaf : {0x14U, 0x19U, 0x1EU, 0x24U, 0x80000001U, 0x80000007U, 0x80000008U})
    add(leaf, 0);
  constexpr unsigned has_xgetbv = 1U << 27;
  if ((features & has_xgetbv) != 0) {
    unsigned low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    out += fmt::format(" xcr0:{:x},{:x}", low, high);
  }
  if (host_grants_tiles()) out += " tiles";
  return out;
}

namespace {
// [Linux, Documentation/arch/x86/xstate.rst]
bool ask_for_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned amx_tile = 1U << 24, amx_bf16 = 1U << 22;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & amx_tile) == 0 || (d & amx_bf16) == 0) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}
}  // namespace

bool host_grants_tiles() {
  static const bool granted = ask_for_tiles();
  return granted;
}

#else

bool host_grants_tiles() { return false; }

// The first processor's lines.
std::string host_cpu_key() {
  std::ifstream file("/proc/cpuinfo");
  std::string out;
  for (std::string line; std::getline(file, line) && !line.empty();)
    if (line.find("MHz") == std::string::npos && line.find("BogoMIPS") == std::string::npos)
      out += line + "\n";
  return out;
}

#endif

}  // namespace treadle
