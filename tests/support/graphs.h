// Small models and comparisons that several tests share.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "runtime/program.h"

namespace treadle::test {

// f64 graphs of one example with a scalar output "loss".

// x[T, 3] -> LSTM with hidden 4 (one joint weight matrix W, U, b) -> sum of
// cos-weighted last states and outputs.
Graph lstm_loss();
// The same size, but each of three gates has its own weights: not a cell of any
// library.
Graph separate_gates_loss();
// An embedding with repeated tokens, a relu recurrence, softmax cross entropy.
Graph token_loss();

// The loss of one example summed over a batch, with its gradients.
Graph batched_gradient(const Graph& loss);

// |a - b| <= tolerance * max |b|, element by element; else says where.
bool close(const Tensor& a, const Tensor& b, double tolerance, std::string* why = nullptr);

// Every output of `graph`, as `close`.
void require_close(const Graph& graph, const std::vector<Tensor>& found,
                   const std::vector<Tensor>& expected, double tolerance);
// The evaluator finds the same in both at 1e-12, at several B and T, T = 0 included.
void require_same_results(const Graph& before, const Graph& after);
// A program on tensors.
std::vector<Tensor> run_with(Program& program, const std::vector<Tensor>& inputs, Team& team);

// The program finds what the evaluator finds, as `require_close`, unless there is no tolerance,
// and the same bits with so many threads each. Before each run it runs on other values, so that
// what it left in memory is not what it should find there.
void require_same_for_threads(const Graph& graph, Program& program,
                              const std::vector<Tensor>& inputs, std::optional<double> tolerance,
                              const std::set<int>& numbers_of_threads = {1, 2, 3});

// Inputs for a graph under `env`, from a fixed seed.
std::vector<Tensor> inputs_for(const Graph& graph, const DimEnv& env);

// The same for a training step: its second moments and the number of the step
// are not negative.
std::vector<Tensor> step_inputs(const Graph& graph, const DimEnv& env);

// How many nodes of that op the graph holds, regions not counted.
int count_ops(const Graph& graph, Op op);
// The body of the n-th scan of the graph.
const Graph& scan_body(const Graph& graph, int n);

}  // namespace treadle::test
