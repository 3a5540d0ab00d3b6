// Data whose examples have different lengths, as the inputs of a loss.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "driver/vocabularies.h"
#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "runtime/ragged_batches.h"

namespace treadle {

// The kinds `lines`, `pairs`, `frames`, `chords` and `pronouns`.
bool is_sequence_data(const DataSpec& spec);

// Reads the fields that the loss asks for. `vocabularies` that are not there yet
// are made. `seed` is of generated data. Examples come in an order that mixes
// classes and is the same every time, so that a share held back has all of them.
// T0833, T0851, T0927 as read_fields (driver/data_fields.h); T0966 for files of
// different numbers of lines; T0863 when chords do not say which part; errors of
// vocabulary_of and of the readers as they are.
ExampleFields read_sequences(const DataSpec& spec, const Graph& loss,
                             const std::filesystem::path& folder, Vocabularies& vocabularies,
                             std::uint64_t seed);

// The first ragged dimension among the loss's inputs; "" when there is none.
std::string first_ragged_symbol(const Graph& loss, const ExampleFields& fields);

}  // namespace treadle
