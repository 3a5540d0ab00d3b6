// Which processor this is, without asking LLVM.
#pragma once
#include <string>

namespace treadle {

// Two machines with the same text get the same code: what the processor says of
// its model and its features, and the registers that the system saves.
std::string host_cpu_key();

}  // namespace treadle
