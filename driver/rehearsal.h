// A program on random data, run for its time or its memory alone.
#pragma once
#include <span>
#include <vector>

#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {

// Inputs of a batched graph, in its order: random data; parameters scaled by the
// square root of their rows, as an initialiser would, so that no loop overflows;
// what `updates` overwrites besides parameters is zero, as at the start of a run.
// `extents` gives every symbol.
std::vector<Tensor> rehearsal_inputs(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                     const DimEnv& extents);

// Holds a program's inputs and results; all arguments outlive it. Each run goes
// on from what the one before it has updated. Values that the program was given for
// good (Program::fix) are read there.
class Rehearsal {
 public:
  Rehearsal(Program& program, std::vector<Tensor>& inputs, const DimEnv& extents, Team& team);

  double milliseconds();  // of one run
  // The program's output of that number, of the last run.
  const Tensor& output(std::size_t i) const;

 private:
  Program& program_;
  std::vector<Tensor>& inputs_;
  const DimEnv& extents_;
  Team& team_;
  std::vector<Tensor> results_;  // by output; empty where it updates an input
  std::vector<const std::byte*> in_;
  std::vector<std::byte*> out_;
};

}  // namespace treadle
