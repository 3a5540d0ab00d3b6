// Data whose examples have different lengths, as the inputs of a loss.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "runtime/ragged_batches.h"
#include "runtime/vocabulary.h"

namespace treadle {

// The kinds `lines`, `frames`, `chords` and `pronouns`.
bool is_sequence_data(const DataSpec& spec);

// Reads the fields that the loss asks for. `vocabulary`, when given, is that of
// the lines' characters or the words; else it is made. `seed` is of generated
// data. Examples come in an order that mixes classes and is the same every time,
// so that a share held back has all of them. T0833, T0851, T0839, T0927 as
// read_fields (driver/data_fields.h) and open_data; T0863 when chords do not say
// which part; errors of the readers as they are.
ExampleFields read_sequences(const DataSpec& spec, const Graph& loss,
                             const std::filesystem::path& folder,
                             std::optional<Vocabulary>& vocabulary, std::uint64_t seed);

// The first ragged dimension among the loss's inputs; "" when there is none.
std::string first_ragged_symbol(const Graph& loss, const ExampleFields& fields);

}  // namespace treadle
