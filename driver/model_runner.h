// A model of a program, compiled for batches of examples.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "driver/compile.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {

// Adds to `tensors` what the graph reads besides data and parameters: zero
// states, and the numbers that random draws depend on. `env` holds the batch's
// size "B" where the graph is batched.
void add_state_and_seeds(const Graph& graph, std::map<std::string, Tensor>& tensors,
                         const DimEnv& env, std::uint64_t seed);

class ModelRunner {
 public:
  // `model` holds one example; `parameters` all its parameters by name.
  ModelRunner(const Graph& model, std::map<std::string, Tensor> parameters,
              const CompileOptions& options, int threads);

  // Others of the same types.
  void set_parameters(std::map<std::string, Tensor> parameters);

  // Inputs and results by name, each with a leading dimension of `examples`.
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& inputs,
                                    std::int64_t examples);

 private:
  Graph graph_;
  std::unique_ptr<Program> program_;
  Team team_;
};

}  // namespace treadle
