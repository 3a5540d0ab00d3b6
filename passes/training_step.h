// The whole training step as one graph: loss, gradients, global norm,
// optimizer.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ir/builder.h"

namespace treadle {

struct OptimizerSettings {
  enum class Kind { adamw, adam, sgd };
  Kind kind = Kind::adamw;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;  // adamw: decoupled; adam and sgd: added to the gradient
  double momentum = 0;      // sgd
  std::optional<double> clip_norm;
};

// An output that becomes the next step's input.
struct Successor {
  std::string output;
  std::string input;
};

// Optimizer state: one tensor of the parameter's type, zeros at the start.
struct OptimizerSlot {
  std::string name;       // "m:lstm.W"
  std::string parameter;  // "lstm.W"
};

struct TrainingStep {
  Graph graph;
  std::vector<Successor> updates;  // parameters, slots, carried state
  std::vector<OptimizerSlot> slots;
};

// From the loss graph of one example (outputs `loss`, perhaps `penalty` and
// `report.*`, `weight`; inputs with role "state" have their `successor`):
//
// batches it; loss = mean over the examples + penalty (with `weight`: weighted
// by it); differentiates by every parameter; norm = sqrt(sum of squares of all
// gradients), which are scaled by min(1, clip_norm / norm); updates the
// parameters unless loss or norm is not finite, in which case everything keeps
// its value.
//   AdamW: Loshchilov and Hutter 2019, algorithm 2. SGD with momentum:
//   v = momentum v + g, p = p - lr v.
// Further inputs: "learning_rate" (scalar of the loss's dtype) and "step"
// (the same; counts from 1). Outputs: "loss", "grad_norm", "report.*",
// "next:INPUT" for each update.
TrainingStep make_training_step(const Graph& loss_graph, const OptimizerSettings& settings);

// The batched loss without gradients: outputs "loss", "report.*", "next:STATE".
TrainingStep make_evaluation_step(const Graph& loss_graph);

}  // namespace treadle
