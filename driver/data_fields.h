// The data of a clause as one tensor for each input of a loss.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "runtime/batches.h"

namespace treadle {

// The file that a positional argument of the clause names. T0837.
std::filesystem::path data_file(const DataSpec& spec, std::size_t argument,
                                const std::filesystem::path& folder);

// The number of classes that the loss expects of an input; 0 when it does not say.
std::int64_t classes_of(const Graph& loss, const std::string& name);

// Reads or generates data that is an array of examples (all kinds but text), in
// the types that the loss asks for: every field is [examples, ...]. T0833 when
// the loss reads a field that the data does not have; T0851 when a field's
// shape or element type does not fit its input; T0857 for columns that do not
// fit; T0966 for fields of different lengths; T0927 for classes out of range;
// errors of the readers as they are.
NamedFields read_fields(const DataSpec& spec, const Graph& loss,
                        const std::filesystem::path& folder, std::uint64_t seed);

// The csv kind: columns of a table, for the inputs of the loss.
NamedFields read_csv_fields(const DataSpec& spec, const Graph& loss,
                            const std::filesystem::path& folder);

// An input that data feeds: not a parameter, a state or what random draws read.
bool is_data_input(const Node& node);

}  // namespace treadle
