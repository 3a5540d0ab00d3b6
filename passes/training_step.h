// The whole training step as one graph: loss, gradients, global norm,
// optimizer.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "passes/recompute.h"

namespace treadle {

struct OptimizerSettings {
  enum class Kind { adamw, adam, sgd };
  Kind kind = Kind::adamw;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;           // adamw: decoupled; adam and sgd: added to the gradient
  bool decay_matrices_only = false;  // not biases and gains: parameters of rank < 2
  double momentum = 0;               // sgd
  std::optional<double> clip_norm;
  // After each update, of every parameter (Parikh and Boyd 2014, 6.5.2 and 6.1.1):
  //   p = sign(p) max(|p| - lr l1, 0)   of l1 sum |p|
  //   p = p / (1 + 2 lr l2)             of l2 sum p^2
  double proximal_l1 = 0, proximal_l2 = 0;
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
  std::vector<RecomputeChoice> recomputed;  // one a scan with a budget
};

// From the loss graph of one example (outputs `loss`, perhaps `penalty` and
// `report.*`, `loss.weight`; inputs with role "state" have their `successor`):
//
// batches it; loss = mean over the examples + penalty (with `loss.weight`:
// weighted by it); differentiates by every parameter; norm = sqrt(sum of squares of all
// gradients), which are scaled by min(1, clip_norm / norm); updates the
// parameters unless loss or norm is not finite, in which case everything keeps
// its value, carried state too.
//   AdamW: Loshchilov and Hutter 2019, algorithm 2. SGD with momentum:
//   v = momentum v + g, p = p - lr v.
// Further inputs: "learning_rate" (scalar of the loss's dtype) and "step"
// (the same; counts from 1). Outputs: "loss", "grad_norm", "report.*",
// "next:INPUT" for each update.
// Examples may differ in the symbols `ragged` (passes/batch_ragged.h). `sizes`
// are extents that the batches will have and `memory` what a graph takes with them, for
// scans with a budget: see `recompute`.
TrainingStep make_training_step(const Graph& loss_graph, const OptimizerSettings& settings,
                                const std::vector<std::string>& ragged = {},
                                const DimEnv& sizes = {}, const WorkingMemory& memory = {});

// The graph of one example's loss, batched: `loss` is the scalar that
// make_training_step differentiates; outputs but `penalty` stay.
Graph batched_loss(const Graph& loss_graph);

// The batched loss without gradients: outputs "loss", "report.*", "next:STATE";
// with weights their sum too, "loss.weight".
TrainingStep make_evaluation_step(const Graph& loss_graph,
                                  const std::vector<std::string>& ragged = {});

}  // namespace treadle
