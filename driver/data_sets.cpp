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

EncodedText encoded_text(const std::filesystem::path& file,
                         const std::optional<Vocabulary>& vocabulary) {
  if (!vocabulary) return read_text(file);
  return {*vocabulary, encode_text(read_file_or_gzip(file), *vocabulary)};
}

DataSets open_text(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder,
                   const std::optional<Vocabulary>& vocabulary) {
  EncodedText text = encoded_text(data_file(spec.data, 0, folder), vocabulary);
  const std::int64_t classes = classes_of(loss, "text");
  if (classes > 0 && text.vocabulary.size() > classes)
    throw_user_error("T0839",
                     fmt::format("the text has {} different characters, the model reads {}",
                                 text.vocabulary.size(), classes),
                     fmt::format("set the dim of its tokens: -D V={}", text.vocabulary.size()),
                     spec.data.range);
  const std::int64_t window = spec.data.integer("window", 128);
  const std::int64_t lanes = spec.data.integer("lanes", 32);
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(text.tokens.size())));
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return rows({{"text", text.tokens}}, begin, end).at("text");
  };
  DataSets out;
  const bool carry = spec.truncation.kind == TruncationSpec::Kind::carry;
  const auto source = [&](Tensor tokens, bool shuffle) {
    if (carry) return text_lanes(std::move(tokens), window, lanes);
    return text_windows(
        std::move(tokens), window,
        {spec.data.integer("lanes", spec.batch), shuffle, static_cast<std::uint64_t>(spec.seed)});
  };
  const std::int64_t used = text.tokens.size() - held;
  out.training = source(part(0, used), true);
  if (held > 0) out.validation = source(part(used, text.tokens.size()), false);
  out.vocabulary = std::move(text.vocabulary);
  return out;
}

// Examples of different lengths.
DataSets open_sequences(const TrainSpec& spec, const Graph& loss,
                        const std::filesystem::path& folder,
                        const std::optional<Vocabulary>& vocabulary) {
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  DataSets out;
  out.vocabulary = vocabulary;
  const ExampleFields fields = read_sequences(spec.data, loss, folder, out.vocabulary, seed);
  const std::string first = first_ragged_symbol(loss, fields);
  const std::int64_t examples = fields.examples();
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(examples)));
  out.training = ragged_batches(rows(fields, 0, examples - held), first, {spec.batch, true, seed});
  if (spec.validation_data) {
    const ExampleFields other =
        read_sequences(*spec.validation_data, loss, folder, out.vocabulary, seed + 1);
    out.validation = ragged_batches(other, first, {spec.batch, false, seed});
  } else if (held > 0) {
    out.validation =
        ragged_batches(rows(fields, examples - held, examples), first, {spec.batch, false, seed});
  }
  return out;
}

}  // namespace

DataSets open_data(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder) {
  if (spec.data.kind == "text") return open_text(spec, loss, folder, std::nullopt);
  if (is_sequence_data(spec.data)) return open_sequences(spec, loss, folder, std::nullopt);
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
                                             const std::optional<Vocabulary>& vocabulary) {
  if (spec.data.kind == "text") {
    DataSets all = open_text(spec, loss, folder, vocabulary);
    return std::move(held_back ? all.validation : all.training);
  }
  if (is_sequence_data(spec.data)) {
    if (held_back) return std::move(open_sequences(spec, loss, folder, vocabulary).validation);
    std::optional<Vocabulary> known = vocabulary;
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
