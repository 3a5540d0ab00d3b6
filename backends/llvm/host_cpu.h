// Which processor this is, without asking LLVM.
#pragma once
#include <string>

namespace treadle {

// Two machines with the same text get the same code: what the processor says of
// its model and its features, and the registers that the system saves.
std::string host_cpu_key();

// Has the processor the tile registers of AMX, and does the system let this process use
// them? It is asked for them once; whoever runs code that uses them must have asked, which
// host_cpu_key() does as well.
bool host_grants_tiles();

}  // namespace treadle
