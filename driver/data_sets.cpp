#include "driver/data_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/data_fields.h"
#include "driver/sequence_fields.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

// Generated data of an eval block: other rows than those of any run's training
// (its seed) and of what it holds back (the seed after it).
constexpr std::uint64_t evaluation_draw = std::uint64_t{1} << 32;

DataSets open_text(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder,
                   const Vocabularies& known) {
  DataSets out;
  out.vocabularies = known;
  const std::filesystem::path path = data_file(spec.data, 0, folder);
  const std::string text = read_file_or_gzip(path);
  const Vocabulary& vocabulary = vocabulary_of({.field = "text"}, spec.data, loss, folder,
                                               out.vocabularies, [&] { return text; });
  const Tensor tokens = encode_text(text, vocabulary, path.string());
  if (tokens.size() == 0) throw_user_error("T0931", fmt::format("{} holds no text", path.string()));
  const std::int64_t window = spec.data.integer("window", 128);
  const std::int64_t lanes = spec.data.integer("lanes", 32);
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(tokens.size())));
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return rows({{"text", tokens}}, begin, end).at("text");
  };
  const bool carry = spec.truncation.kind == TruncationSpec::Kind::carry;
  const auto source = [&](Tensor share, bool shuffle) {
    if (carry) return text_lanes(std::move(share), window, lanes);
    return text_windows(
        std::move(share), window,
        {spec.data.integer("lanes", spec.batch), shuffle, static_cast<std::uint64_t>(spec.seed)});
  };
  const std::int64_t used = tokens.size() - held;
  out.training = source(part(0, used), true);
  if (held > 0) out.validation = source(part(used, tokens.size()), false);
  return out;
}

// Examples of different lengths.
DataSets open_sequences(const TrainSpec& spec, const Graph& loss,
                        const std::filesystem::path& folder, const Vocabularies& known) {
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  DataSets out;
  out.vocabularies = known;
  const ExampleFields fields = read_sequences(spec.data, loss, folder, out.vocabularies, seed);
  const std::string first = first_ragged_symbol(loss, fields);
  const std::int64_t examples = fields.examples();
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(examples)));
  out.training = ragged_batches(rows(fields, 0, examples - held), first, {spec.batch, true, seed});
  if (spec.validation_data) {
    const ExampleFields other =
        read_sequences(*spec.validation_data, loss, folder, out.vocabularies, seed + 1);
    out.validation = ragged_batches(other, first, {spec.batch, false, seed});
  } else if (held > 0) {
    out.validation =
        ragged_batches(rows(fields, examples - held, examples), first, {spec.batch, false, seed});
  }
  return out;
}

}  // namespace

DataSets open_data(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder) {
  if (spec.data.kind == "text") return open_text(spec, loss, folder, {});
  if (is_sequence_data(spec.data)) return open_sequences(spec, loss, folder, {});
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  const NamedFields fields = read_fields(spec.data, loss, folder, seed);
  const std::int64_t examples = fields.begin()->second.shape().at(0);
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(examples)));
  DataSets out;
  out.training = array_batches(rows(fields, 0, examples - held), {spec.batch, true, seed});
  if (spec.validation_data) {
    const NamedFields other = read_fields(*spec.validation_data, loss, folder, seed + 1);
    out.validation = array_batches(other, {spec.batch, false, seed});
  } else if (held > 0) {
    out.validation =
        array_batches(rows(fields, examples - held, examples), {spec.batch, false, seed});
  }
  return out;
}

void require_one_length(const BatchSource& data, const TrainSpec& spec, std::string_view command) {
  if (data.ragged_symbols().empty()) return;
  throw_user_error("T0877",
                   fmt::format("the examples of this data differ in length ({})",
                               fmt::join(data.ragged_symbols(), ", ")),
                   fmt::format("{} needs examples of one length", command), spec.data.range);
}

std::unique_ptr<BatchSource> open_evaluation(const TrainSpec& spec, bool held_back,
                                             const Graph& loss, const std::filesystem::path& folder,
                                             const Vocabularies& vocabularies) {
  if (spec.data.kind == "text") {
    DataSets all = open_text(spec, loss, folder, vocabularies);
    return std::move(held_back ? all.validation : all.training);
  }
  if (is_sequence_data(spec.data)) {
    if (held_back) return std::move(open_sequences(spec, loss, folder, vocabularies).validation);
    Vocabularies known = vocabularies;
    const auto seed = static_cast<std::uint64_t>(spec.seed);
    const ExampleFields fields =
        read_sequences(spec.data, loss, folder, known, seed + evaluation_draw);
    return ragged_batches(fields, first_ragged_symbol(loss, fields), {spec.batch, false, seed});
  }
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  if (held_back && !spec.validation_data)
    return std::move(open_data(spec, loss, folder).validation);
  const DataSpec& data = held_back ? *spec.validation_data : spec.data;
  const NamedFields fields =
      read_fields(data, loss, folder, held_back ? seed + 1 : seed + evaluation_draw);
  return array_batches(fields, {spec.batch, false, seed});
}

}  // namespace treadle
