// What this machine's cores do at most.
#pragma once
#include "runtime/team.h"

namespace treadle {

// Single-precision flops a second of all threads of the team together: a loop
// of independent fused multiply-adds on registers, of the widest vectors that
// the processor has, in which nothing else happens. Takes about 20 ms. 0 where
// the processor has no such instructions that we know.
double measured_peak_flops(Team& team);

}  // namespace treadle
