// Loops that two halves of the threads run at the same time.
#pragma once
#include <cstdint>
#include <span>

#include "backends/llvm/program_plan.h"

namespace treadle {

// Puts loops of the program that depend on nothing of each other, have equal turns and
// equally many of them side by side, two and two, and sets `beside` of the first: the two
// directions of a recurrent layer, say, and their gradients. What stood between them and
// follows from the first one comes behind both, the rest in front, as does all that either
// needs before its first turn. Where there are few rows, and threads would share out each
// step's columns and meet behind it, each half of an even number of them has a loop of its own
// instead: of two threads nobody waits till both loops are done.
void pair_loops(ProgramPlan& plan);

// A half's weights, of so many bytes, stand in a core's own cache. More are better shared
// out: LSTMs of 256 units, 1 MiB, take as long either way, and their gradients 1.03 of the
// time, since what the first one leaves behind has left the cache when it is read.
constexpr std::int64_t weights_at_most = std::int64_t{896} << 10;

// What steps multiply and the weights that they read.
struct WorkOfTurn {
  Dim flops, weights;
};
WorkOfTurn work_of(std::span<const Step> steps);

// May half of the threads run the loop?
bool may_pair(const Step& step);
// Do both loops take as long, with weights that a core's cache holds?
bool are_alike(const Step& x, const Step& y);

}  // namespace treadle
