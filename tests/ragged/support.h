// Examples of different lengths, one by one and as one batch.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/packing.h"

namespace treadle::test {

// The sum of `loss` over examples, and its gradients by every parameter and
// every input of real numbers, computed two ways.
class RaggedCase {
 public:
  // `loss` is a graph of one example with a scalar output "loss". Each example
  // has its own value of each symbol; those of the first symbol that an input
  // mentions descend.
  RaggedCase(const Graph& loss, const Lengths& lengths);

  const Graph& batch() const { return batch_; }                  // loss and gradients
  const std::vector<Tensor>& inputs() const { return inputs_; }  // of `batch`
  // The batch's outputs made of the examples' own.
  const std::vector<Tensor>& expected() const { return expected_; }

 private:
  Graph batch_;
  std::vector<Tensor> inputs_, expected_;
};

}  // namespace treadle::test
