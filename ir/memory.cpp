#include "ir/memory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <optional>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

constexpr std::size_t mebibyte = 1 << 20;
// Less is not worth looking at the system for.
constexpr std::size_t small = 64 * mebibyte;

std::optional<std::size_t> linux_available() {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (file == nullptr) return std::nullopt;
  std::optional<std::size_t> out;
  char line[256];
  while (!out && std::fgets(line, sizeof line, file) != nullptr)
    if (unsigned long long kibibytes = 0;
        std::sscanf(line, "MemAvailable: %llu kB", &kibibytes) == 1)
      out = static_cast<std::size_t>(kibibytes) * 1024;
  std::fclose(file);
  return out;
}

std::size_t available_bytes() {
  if (const auto known = linux_available()) return *known;
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || size <= 0) return std::numeric_limits<std::size_t>::max();
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(size);
}

[[noreturn]] void fail(std::size_t bytes, std::string_view what, const std::string& rest) {
  throw_user_error("T0986",
                   fmt::format("{} needs {} MiB{}", what, (bytes + mebibyte - 1) / mebibyte, rest),
                   "smaller dims, a smaller batch or a shorter sequence need less");
}

}  // namespace

void require_memory(std::size_t bytes, const std::function<std::string()>& what) {
  if (bytes <= small) return;
  if (const std::size_t available = available_bytes(); bytes > available)
    fail(bytes, what(), fmt::format(", here are {} MiB", available / mebibyte));
}

void no_memory(std::size_t bytes, std::string_view what) { fail(bytes, what, ""); }

}  // namespace treadle
