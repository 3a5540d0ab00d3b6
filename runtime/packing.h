// Examples of different lengths as rows without padding: what the inputs of a
// ragged batch hold (passes/ragged_inputs.h says what they mean).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/dim.h"
#include "ir/tensor.h"

namespace treadle {

// By symbol, the value of each example of a batch.
using Lengths = std::map<std::string, std::vector<std::int64_t>>;

// Where the rows of a batch stand, time by time.
class RaggedLayout {
 public:
  explicit RaggedLayout(std::vector<std::int64_t> lengths);

  std::int64_t rows() const { return starts_.back(); }
  const std::vector<std::int64_t>& lengths() const { return lengths_; }
  // The examples in descending order of length; equals keep their order.
  const std::vector<std::int64_t>& order() const { return order_; }
  // How many examples are longer than t, for each t below the longest length.
  const std::vector<std::int64_t>& counts() const { return counts_; }
  // Of row t of the example at place k of the order.
  std::int64_t position(std::int64_t t, std::int64_t k) const {
    return starts_[static_cast<std::size_t>(t)] + k;
  }
  // For each row: its example and its number there.
  struct Row {
    std::int64_t example, time;
  };
  std::vector<Row> list() const;
  // Rows of examples one after another (row `first[i]` on is example i's), time
  // by time.
  Tensor pack(const Tensor& rows, const std::vector<std::int64_t>& first) const;

 private:
  std::vector<std::int64_t> lengths_, order_, counts_, starts_;
};

// A dimension's value for each example; T0392 when one is negative.
std::vector<std::int64_t> extents_of(const Dim& dim, const Lengths& lengths);

// The index input of that name ("counts(T)"); none when the name is no index
// input's. Examples must be in descending order of every dimension whose
// layout the program does not ask the order of.
std::optional<Tensor> ragged_input(const std::string& name, const Lengths& lengths);

}  // namespace treadle
