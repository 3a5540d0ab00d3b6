// The data that a train block names, as batches.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "driver/vocabularies.h"
#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "runtime/batches.h"

namespace treadle {

struct DataSets {
  std::unique_ptr<BatchSource> training, validation;  // validation may be null
  Vocabularies vocabularies;                          // of texts, lines and pairs
};

// Reads or generates the data of `spec`; files are looked up in `folder`.
// Fields are those of frontend/elaborate.h, under the names that `loss` asks
// for. Generated kinds take `examples` (and adding `length`) as settings.
// Errors as read_fields (driver/data_fields.h); T0965 for no examples.
DataSets open_data(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder);

// T0877 when the examples of `data` have different lengths, which `command`
// does not take.
void require_one_length(const BatchSource& data, const TrainSpec& spec, std::string_view command);

// What an evaluation reads: of an eval block all its data (generated: rows that
// no training draws), of a train block what it holds back (null where it holds
// nothing back). A text is read with the vocabularies of the run.
std::unique_ptr<BatchSource> open_evaluation(const TrainSpec& spec, bool held_back,
                                             const Graph& loss, const std::filesystem::path& folder,
                                             const Vocabularies& vocabularies);

}  // namespace treadle
