// Batches of examples of different lengths.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/batches.h"

namespace treadle {

// A field of which each example has as many rows as it likes.
struct RaggedField {
  Tensor rows;                        // [sum of the lengths, ...], examples one after another
  std::vector<std::int64_t> offsets;  // example i's are rows offsets[i] .. offsets[i + 1] - 1
  std::string symbol;                 // the dimension that its length is the value of
  std::int64_t length(std::int64_t example) const {
    return offsets[static_cast<std::size_t>(example) + 1] -
           offsets[static_cast<std::size_t>(example)];
  }
};

struct ExampleFields {
  NamedFields dense;  // each [examples, ...]
  std::map<std::string, RaggedField> ragged;
  // T0966 when the fields have different numbers of examples, or two that
  // share a symbol an example of different lengths.
  std::int64_t examples() const;
};

// Examples [begin, end); the examples of `order`, in that order.
ExampleFields rows(const ExampleFields& fields, std::int64_t begin, std::int64_t end);
ExampleFields picked(const ExampleFields& fields, const std::vector<std::int64_t>& order);

// As array_batches. Within a batch the examples come in descending order of
// `first_symbol`, their rows time by time (runtime/packing.h). Fields whose
// examples all have one length are dense, and without any other the batches are
// those of array_batches.
std::unique_ptr<BatchSource> ragged_batches(ExampleFields fields, const std::string& first_symbol,
                                            const ArrayBatchesOptions& options);

}  // namespace treadle
