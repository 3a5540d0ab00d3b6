// A compiled graph, ready to run. Backends make Programs; the runtime and the
// driver only see this interface.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/tensor.h"

namespace treadle {

class Team;

// One input or output of a program, in the graph's order.
struct Slot {
  std::string name;
  Type type;
  // Outputs only: the input whose memory this output overwrites (its update in
  // place), or -1.
  int updates_input = -1;
};

// Which outputs overwrite inputs.
struct InPlaceUpdate {
  std::string output;
  std::string input;
};

// Values by name that nobody can change any more.
using FixedValues = std::shared_ptr<const std::map<std::string, Tensor>>;

class Program {
 public:
  virtual ~Program() = default;
  const std::vector<Slot>& inputs() const { return inputs_; }
  const std::vector<Slot>& outputs() const { return outputs_; }

  // Values of inputs for the runs to come, until it is called again: parameters that
  // are not trained. A name that is no input's says nothing; null takes all back.
  // A program that was compiled to (LlvmOptions::fixed) computes what follows from
  // them alone in its next run and keeps it. Nothing of that is ever stale: the values
  // cannot change, and a run that is given other memory than `fixed`'s computes all anew.
  void fix(FixedValues values);
  // The value of that input, to be given to `run`; null where it has none.
  const Tensor* fixed(std::size_t input) const { return fixed_.empty() ? nullptr : fixed_[input]; }

  // Runs once. `inputs[i]` and `outputs[i]` point to dense row-major elements
  // of the slots' types under `env`; an output that updates an input is given
  // that input's pointer. Any number of `env` values may be used with one
  // program; nothing is compiled again.
  virtual void run(const DimEnv& env, std::span<const std::byte* const> inputs,
                   std::span<std::byte* const> outputs, Team& team) = 0;

  // Bytes of working memory that `run` needs under `env` with so many threads,
  // besides inputs and outputs.
  virtual std::size_t workspace_bytes(const DimEnv& env, int threads) const = 0;

 protected:
  // Another number after each `fix`.
  std::uint64_t generation() const { return generation_; }

  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;

 private:
  FixedValues values_;
  std::vector<const Tensor*> fixed_;  // by input
  std::uint64_t generation_ = 0;
};

// The graph's inputs and outputs as slots.
std::vector<Slot> input_slots(const Graph& graph);
std::vector<Slot> output_slots(const Graph& graph, std::span<const InPlaceUpdate> updates);

// Binds the symbols of the inputs' types from the shapes of tensors; throws
// UserError T0950 naming the input whose shape does not fit.
DimEnv bind_dims(std::span<const Slot> inputs, std::span<const Tensor* const> tensors);

// The program's inputs: its fixed values, and `others` by name.
std::vector<const Tensor*> inputs_of(const Program& program,
                                     const std::map<std::string, Tensor>& others);

// Copies of raw inputs, as `run` is given them.
std::vector<Tensor> tensors_of(std::span<const Slot> slots, std::span<const std::byte* const> raw,
                               const DimEnv& env);

// Convenience: allocates the outputs, copies inputs that are updated in place.
std::vector<Tensor> run(Program& program, std::span<const Tensor* const> inputs, Team& team);

}  // namespace treadle
