// Batches of examples for training and evaluation.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/tensor.h"
#include "runtime/packing.h"

namespace treadle {

using NamedFields = std::map<std::string, Tensor>;

struct Batch {
  NamedFields fields;  // each [B, ...], or rows (runtime/packing.h)
  Lengths lengths;     // of ragged symbols
  std::int64_t examples = 0;
  std::vector<std::int64_t> indices;  // of the examples in the data set
  bool starts_sequence = false;       // carried state is zero before this batch
};

// A batch is a function of (epoch, index) alone, so that a run resumes anywhere.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual std::int64_t batches() const = 0;   // an epoch
  virtual std::int64_t examples() const = 0;  // an epoch
  virtual Batch batch(std::int64_t epoch, std::int64_t index) const = 0;
  // The dimensions in which the examples of its batches differ.
  virtual std::vector<std::string> ragged_symbols() const { return {}; }
};

struct ArrayBatchesOptions {
  std::int64_t batch = 32;
  bool shuffle = true;
  std::uint64_t seed = 0;
};

// Examples are the rows of the fields, which all have the same number of them.
// The last batch of an epoch may be smaller. T0965 for no example, T0966 for
// fields of different lengths.
std::unique_ptr<BatchSource> array_batches(NamedFields fields, const ArrayBatchesOptions& options);

// Rows [begin, end) of each field.
NamedFields rows(const NamedFields& fields, std::int64_t begin, std::int64_t end);

// A text for truncated BPTT with carried state: `lanes` readers start at equal
// distances and read on, window by window, in order. Batch i has fields
// text[lanes, window] and next[lanes, window] (text one token on); batch 0
// starts the sequences. T0967 when the text is too short for one window.
std::unique_ptr<BatchSource> text_lanes(Tensor tokens, std::int64_t window, std::int64_t lanes);

// Windows of a text as examples: text[B, window] and next[B, window] (text one
// token on), side by side. Shuffled, each epoch begins at another place, so that
// no two cut the text alike. T0967 when the text is too short for one window.
std::unique_ptr<BatchSource> text_windows(Tensor tokens, std::int64_t window,
                                          const ArrayBatchesOptions& options);

}  // namespace treadle
