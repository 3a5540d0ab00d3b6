// How much memory this process has, as the kernel counts it (Linux).
#pragma once
#include <cstddef>

namespace treadle {

// The largest resident set since the process began, or since the last reset
// (VmHWM of /proc/self/status), in bytes; 0 where it cannot be read.
std::size_t peak_resident_bytes();

// Gives free heap back to the system and lets the peak begin anew at what is
// resident now. False where the kernel does not allow it.
bool reset_peak_resident();

}  // namespace treadle
