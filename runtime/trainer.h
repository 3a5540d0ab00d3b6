// The training loop.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/batches.h"
#include "runtime/program.h"
#include "runtime/schedule.h"

namespace treadle {

class Team;

struct TrainerOptions {
  std::int64_t epochs = 1;
  std::int64_t steps = 0;  // no more than these, within an epoch too; 0: all of the epochs
  Schedule schedule;
  std::uint64_t seed = 0;
};

// Means over the examples of an epoch, or over their tokens: "loss" and the
// reports.
using Metrics = std::map<std::string, double>;

// Where a run stands: the next batch is `batch` of `epoch`; `step` have been
// made.
struct TrainerPosition {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;
  std::int64_t step = 0;
};

struct StepResult {
  TrainerPosition position;  // of the step that was made
  double loss = 0;
  double gradient_norm = 0;
  double learning_rate = 0;
};

// Runs a program on batches: gives each input its tensor and puts each update
// where it belongs. Inputs come from, in this order: the batch's fields, the
// named scalars (learning_rate, step, random.seed, random.step,
// random.example), the lengths of the batch's examples (runtime/packing.h), and
// `tensors`.
class StepRunner {
 public:
  StepRunner(Program& program, Team& team) : program_(program), team_(team) {}
  // Scalars and means by output name; updates are written into `tensors`.
  // Carried state that `tensors` lacks is made, zero, in the batch's size.
  Metrics run(const Batch& batch, std::map<std::string, Tensor>& tensors,
              const std::map<std::string, double>& scalars);

 private:
  Program& program_;
  Team& team_;
};

class Trainer {
 public:
  // `step` is a training step's program (passes/training_step.h); `tensors`
  // holds parameters and optimizer slots, later carried state too.
  Trainer(Program& step, std::map<std::string, Tensor> tensors, const BatchSource& data,
          const TrainerOptions& options, Team& team);

  // Continues from a saved position and tensors.
  void resume(TrainerPosition position, std::map<std::string, Tensor> tensors);
  const TrainerPosition& position() const { return position_; }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  std::int64_t total_steps() const;
  bool finished() const { return position_.step >= total_steps(); }
  // Batches of the epoch in which the run stands that are part of it.
  std::int64_t batches_of_epoch() const;

  // Makes one step. Throws NonFiniteStep when loss or norm is not finite; the
  // tensors are then as they were.
  StepResult step();

 private:
  StepRunner runner_;
  std::map<std::string, Tensor> tensors_;
  const BatchSource& data_;
  TrainerOptions options_;
  TrainerPosition position_;
  std::vector<std::string> carried_;
};

// The step whose loss or gradient norm is not finite, for a replay.
struct NonFiniteStep {
  TrainerPosition position;
  Batch batch;
  std::map<std::string, double> scalars;
};

// Means over one epoch of `data`; batches count by their "loss.weight" where the
// program gives it, else by their examples. State is carried from batch to batch where
// the program has it.
Metrics evaluate_metrics(Program& evaluation, const std::map<std::string, Tensor>& parameters,
                         const BatchSource& data, std::uint64_t seed, Team& team);

}  // namespace treadle
