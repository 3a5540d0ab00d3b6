// A trained model that goes on from what it has read.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "driver/compile.h"
#include "ir/diagnostic.h"
#include "ir/graph.h"
#include "ir/tensor.h"
#include "passes/derive_step.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {

using NamedTensors = std::map<std::string, Tensor>;

// Runs the one-token step that `derive-step` makes of the model, for many
// sequences at once. A model that has none (`blocked()` says why) reads all of
// a sequence for each of its tokens.
class Generator {
 public:
  // `model` is a one-example graph, `parameters` holds all of its parameters.
  // T0844 when it reads no sequence of tokens.
  Generator(const Graph& model, NamedTensors parameters, CompileOptions options = cached());

  // The inputs that `begin` must be given: all but tokens and state.
  std::vector<std::string> given_inputs() const;

  // Starts `sequences` sequences, with the other inputs of the model for each of
  // them, [sequences, ...]. T0880 for an input that is missing or does not fit.
  void begin(std::int64_t sequences, const NamedTensors& given = {});

  // One more token for each sequence; the logits of what follows, a row for
  // each. T0881 behind the last row of a table that the model reads.
  std::vector<std::vector<double>> next(std::span<const std::int32_t> tokens);

  // Sequence i goes on from what sequence from[i] has read; there are as many
  // as `from` is long.
  void select(std::span<const std::int64_t> from);

  const std::optional<Diagnostic>& blocked() const { return blocked_; }

 private:
  void find_inputs(const Graph& model);
  void compile_step(const Graph& model);
  std::int64_t count() const { return static_cast<std::int64_t>(positions_.size()); }
  void start();
  void reserve_rows(std::int64_t rows);
  std::vector<double> read_again(std::size_t sequence);

  std::unique_ptr<Program> compiled(const Graph& graph,
                                    std::span<const InPlaceUpdate> updates = {}) const;

  FixedValues parameters_;
  CompileOptions options_;
  NamedTensors state_;  // [sequences, ...] each, by the names of the step's inputs
  std::unique_ptr<Program> start_, step_, whole_;
  std::string token_;
  std::vector<Slot> given_;  // other inputs, one example
  std::vector<Slot> initial_state_;
  std::string capacity_;
  std::map<std::string, Slot> caches_;
  std::map<std::string, std::string> successors_;  // output, input
  std::int64_t rows_ = 0;                          // of the caches
  std::optional<std::int64_t> longest_;
  std::vector<std::int64_t> positions_;
  std::vector<std::vector<std::int32_t>> history_;  // read again when there is no step
  NamedTensors given_values_;
  std::optional<Diagnostic> blocked_;
  Team team_{1};
};

}  // namespace treadle
