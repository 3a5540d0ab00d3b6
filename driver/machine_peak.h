// What this machine's cores do at most.
#pragma once
#include <cstdint>

#include "runtime/team.h"

namespace treadle {

// Single-precision flops a second of all threads of the team together: a loop
// of independent fused multiply-adds on registers, of the widest vectors that
// the processor has, in which nothing else happens. Takes about 20 ms. 0 where
// the processor has no such instructions that we know.
double measured_peak_flops(Team& team);

// What that loop works out: the sum of twelve chains x -> fma(x, factor, 1), each
// begun with 1. 0 where there is no such loop.
float multiply_add_chains(float factor, std::int64_t turns);

}  // namespace treadle
