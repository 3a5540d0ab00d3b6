// A trained model that reads tokens one at a time.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/diagnostic.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {

// Runs the one-token step that `derive-step` makes of the model. A model that
// has none (`blocked()` says why) reads all of the text for each token.
class Generator {
 public:
  // `model` is a one-example graph, `parameters` holds all of its parameters.
  // T0844 when it reads anything but tokens and state.
  Generator(const Graph& model, std::map<std::string, Tensor> parameters);

  // The logits of what follows, after one more token.
  std::vector<double> next(std::int32_t token);

  const std::optional<Diagnostic>& blocked() const { return blocked_; }

 private:
  void find_inputs(const Graph& model);
  void start(const Graph& graph);
  std::vector<Tensor> run_step();

  std::map<std::string, Tensor> tensors_;
  std::unique_ptr<Program> program_;
  std::vector<std::pair<std::string, std::string>> successors_;  // input, output
  std::string token_;
  std::vector<std::int32_t> history_;
  std::int64_t position_ = 0;
  std::optional<Diagnostic> blocked_;
  Team team_{1};
};

}  // namespace treadle
