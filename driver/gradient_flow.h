// How far a loss reaches back in time: the gradient by the state of every loop
// at every step, and how much a step stretches the state.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "driver/options.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/batches.h"

namespace treadle {

// One number a step: the median over the examples that have the step, and the
// tenth and ninetieth percentile.
struct StepCurve {
  std::vector<double> median, low, high;
};

struct ScanFlow {
  std::string source;  // "12: scan LSTM[2, H] over numbers"
  bool reverse = false;
  // ‖d loss / d h_t‖ of each example, h_t all floats of the state that step t
  // leaves; loss is that example's own.
  StepCurve gradient;
  // The largest singular value of d h_t / d h_(t-1), by power iteration; empty
  // where it is not asked for or the step holds a loop of its own.
  StepCurve gain;
};

struct GradientFlow {
  std::vector<ScanFlow> scans;
  double parameter_norm = 0;  // of the batch's mean gradient by all parameters
  double loss = 0;            // the batch's
};

struct GradientFlowOptions {
  std::optional<std::int64_t> truncation;  // tbptt window K
  bool gain = true;
  std::uint64_t seed = 0;  // of random draws
  MachineOptions machine;
};

// `loss` holds one example (frontend/elaborate.h), `parameters` all its
// parameters in its precision, `batch` its data; examples of different lengths
// run one by one. T0874 when no scan with a
// state of floats is in it.
GradientFlow gradient_flow(const Graph& loss, const std::map<std::string, Tensor>& parameters,
                           const Batch& batch, const GradientFlowOptions& options);

}  // namespace treadle
