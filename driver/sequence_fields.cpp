#include "driver/sequence_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "driver/data_fields.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "runtime/generators.h"
#include "runtime/readers/chords.h"
#include "runtime/readers/frames.h"
#include "runtime/readers/text.h"
#include "runtime/shuffle.h"

namespace treadle {
namespace {

constexpr std::uint64_t chord_file_limit = std::uint64_t{256} << 20;

bool asks_for(const Graph& loss, const std::string& name) { return loss.input(name).valid(); }

Tensor column(const std::vector<std::int64_t>& values) {
  Tensor out(DType::i32, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i)
    out.set_integer(static_cast<std::int64_t>(i), values[i]);
  return out;
}

// Names of the files NAME.txt of a folder, in order.
std::vector<std::filesystem::path> text_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".txt") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  if (out.empty())
    throw_user_error("T0931", fmt::format("{} holds no file NAME.txt", folder.string()));
  return out;
}

std::string joined(const std::vector<std::string>& lines, bool words) {
  return fmt::format("{}", fmt::join(lines, words ? "\n" : ""));
}

RaggedField ragged_tokens(const std::vector<std::string>& lines, const Vocabulary& vocabulary,
                          const LineEnds& ends, const std::string& name) {
  EncodedLines encoded = encode_lines(lines, vocabulary, ends, name);
  return {std::move(encoded.tokens), std::move(encoded.offsets), ""};
}

// A line an example: its tokens, and the class that its file is.
ExampleFields line_fields(const DataSpec& spec, const Graph& loss,
                          const std::filesystem::path& folder, Vocabularies& vocabularies) {
  const std::filesystem::path path = data_file(spec, 0, folder);
  std::vector<std::string> lines;
  std::vector<std::int64_t> labels;
  const bool classes = std::filesystem::is_directory(path);
  const std::vector<std::filesystem::path> files =
      classes ? text_files(path) : std::vector<std::filesystem::path>{path};
  for (std::size_t k = 0; k < files.size(); ++k)
    for (std::string& line : read_lines(files[k])) {
      lines.push_back(std::move(line));
      labels.push_back(static_cast<std::int64_t>(k));
    }
  // Where tokens are to be predicted, a line's ends are tokens like others: of
  // words marks, of characters the line end.
  const bool predicts = asks_for(loss, "next");
  const bool words = token_unit(spec, TokenUnit::character) == TokenUnit::word;
  const Vocabulary& vocabulary = vocabulary_of({.field = "text", .ends = predicts && words}, spec,
                                               loss, folder, vocabularies, [&] {
                                                 std::string all = joined(lines, words);
                                                 return predicts && !words ? all + "\n" : all;
                                               });
  ExampleFields out;
  const std::string name = fmt::format("{}, example", path.string());
  LineEnds before, behind;
  if (predicts) {
    const SequenceEnds ends = sequence_ends(vocabulary, spec.range);
    before.front = ends.begin;
    behind.back = ends.end;
  }
  out.ragged.emplace("text", ragged_tokens(lines, vocabulary, before, name));
  if (predicts) out.ragged.emplace("next", ragged_tokens(lines, vocabulary, behind, name));
  if (classes) out.dense.emplace("label", column(labels));
  return out;
}

// A sentence an example: its words, and what each stands for.
ExampleFields pronoun_fields(const DataSpec& spec, const Graph& loss, Vocabularies& vocabularies,
                             std::uint64_t seed) {
  const PronounSentences made = pronoun_sentences(spec.integer("examples", 2000), seed);
  const Vocabulary& vocabulary =
      vocabulary_of({.field = "text", .unit = TokenUnit::word}, spec, loss, {}, vocabularies,
                    [&] { return joined(made.text, true); });
  ExampleFields out;
  out.ragged.emplace("text", ragged_tokens(made.text, vocabulary, {}, "sentence"));
  out.ragged.emplace("refers", ragged_tokens(made.refers, vocabulary, {}, "sentence"));
  return out;
}

// Line i of one file and line i of another are an example.
ExampleFields pair_fields(const DataSpec& spec, const Graph& loss,
                          const std::filesystem::path& folder, Vocabularies& vocabularies) {
  const std::filesystem::path paths[] = {data_file(spec, 0, folder), data_file(spec, 1, folder)};
  const std::vector<std::string> source = read_lines(paths[0], BlankLines::keep);
  const std::vector<std::string> target = read_lines(paths[1], BlankLines::keep);
  if (source.size() != target.size())
    throw_user_error("T0966",
                     fmt::format("{} has {} lines, {} has {}", paths[0].string(), source.size(),
                                 paths[1].string(), target.size()),
                     "line i of one and line i of the other are an example", spec.range);
  const bool words = token_unit(spec, TokenUnit::word) == TokenUnit::word;
  const Vocabulary& from =
      vocabulary_of({.field = "source", .setting = "source_vocabulary", .unit = TokenUnit::word},
                    spec, loss, folder, vocabularies, [&] { return joined(source, words); });
  const Vocabulary& to = vocabulary_of(
      {.field = "target", .setting = "target_vocabulary", .unit = TokenUnit::word, .ends = true},
      spec, loss, folder, vocabularies, [&] { return joined(target, words); });
  const SequenceEnds ends = sequence_ends(to, spec.range);
  const auto name = [&](int i) { return fmt::format("{}, line", paths[i].string()); };
  ExampleFields out;
  out.ragged.emplace("source", ragged_tokens(source, from, {}, name(0)));
  out.ragged.emplace("target", ragged_tokens(target, to, {.front = ends.begin}, name(1)));
  out.ragged.emplace("next", ragged_tokens(target, to, {.back = ends.end}, name(1)));
  return out;
}

// Frames of numbers, an utterance an example; its class by its place.
ExampleFields frame_fields(const DataSpec& spec, const Graph& loss,
                           const std::filesystem::path& folder) {
  const std::filesystem::path path = data_file(spec, 0, folder);
  Frames frames =
      read_frames(read_file_or_gzip(path), path.string(), loss.type(loss.output("loss")).dtype);
  ExampleFields out;
  std::vector<std::int64_t> labels;
  std::istringstream counts(spec.string("counts", ""));
  for (std::int64_t count = 0, label = 0; counts >> count; ++label)
    labels.insert(labels.end(), static_cast<std::size_t>(std::max<std::int64_t>(count, 0)), label);
  if (!counts.eof() || (!labels.empty() && labels.size() + 1 != frames.offsets.size()))
    throw_user_error("T0859",
                     fmt::format("{} has {} examples, the counts make {}", path.string(),
                                 frames.offsets.size() - 1, labels.size()),
                     "counts: \"30 31\" says that 30 examples of class 0 come first, then 31 of 1",
                     spec.range);
  out.ragged.emplace("frames", RaggedField{std::move(frames.rows), std::move(frames.offsets), ""});
  if (!labels.empty()) out.dense.emplace("label", column(labels));
  return out;
}

// Pieces of music: the keys that sound at each step and, where the loss reads
// `next`, those of the step that follows; the last step has none.
ExampleFields chord_fields(const DataSpec& spec, const Graph& loss,
                           const std::filesystem::path& folder) {
  const std::filesystem::path path = data_file(spec, 0, folder);
  const std::string* part =
      spec.arguments.size() < 2 ? nullptr : std::get_if<std::string>(&spec.arguments[1].value);
  if (part == nullptr)
    throw_user_error("T0863", "which part of the file?",
                     "data chords(\"chorales.json\", \"train\")", spec.range);
  const Chords chords =
      read_chords(read_file_or_gzip(path, chord_file_limit), path.string(), *part);
  const DType dtype = loss.type(loss.output("loss")).dtype;
  const std::string name = fmt::format("{}, '{}',", path.string(), *part);
  const bool predicts = asks_for(loss, "next");
  ExampleFields out;
  const auto add = [&](const char* field, std::int64_t skipped, std::int64_t dropped) {
    Frames roll = piano_roll(chords, skipped, dropped, dtype, name);
    out.ragged.emplace(field, RaggedField{std::move(roll.rows), std::move(roll.offsets), ""});
  };
  add("notes", 0, predicts ? 1 : 0);
  if (predicts) add("next", 1, 0);
  return out;
}

[[noreturn]] void misfit(const std::string& name, const std::string& given, const Type& type,
                         const DataSpec& spec) {
  throw_user_error("T0851",
                   fmt::format("the data gives '{}' as {} an example, the program reads {}", name,
                               given, to_string(type)),
                   "change the type of the input", spec.range);
}

RaggedField fitted(RaggedField field, const Node& input, const DataSpec& spec) {
  const Type& type = input.types[0];
  const std::string name = input.attributes.string("name");
  const Shape& shape = field.rows.shape();
  std::string given = fmt::format("{}[T", to_string(field.rows.dtype()));
  for (std::size_t i = 1; i < shape.size(); ++i) given += fmt::format(", {}", shape[i]);
  given += "]";
  bool fits = type.rank() == shape.size() && is_float(type.dtype) == is_float(field.rows.dtype());
  for (std::size_t i = 1; fits && i < shape.size(); ++i)
    fits = type.dims[i].constant().value_or(shape[i]) == shape[i];
  const auto symbol = fits ? type.dims[0].bare_symbol() : std::nullopt;
  if (!symbol) misfit(name, given, type, spec);
  field.symbol = *symbol;
  field.rows = field.rows.cast(type.dtype);
  return field;
}

}  // namespace

bool is_sequence_data(const DataSpec& spec) {
  return spec.kind == "lines" || spec.kind == "pairs" || spec.kind == "frames" ||
         spec.kind == "chords" || spec.kind == "pronouns";
}

ExampleFields read_sequences(const DataSpec& spec, const Graph& loss,
                             const std::filesystem::path& folder, Vocabularies& vocabularies,
                             std::uint64_t seed) {
  ExampleFields read = spec.kind == "lines"      ? line_fields(spec, loss, folder, vocabularies)
                       : spec.kind == "pairs"    ? pair_fields(spec, loss, folder, vocabularies)
                       : spec.kind == "pronouns" ? pronoun_fields(spec, loss, vocabularies, seed)
                       : spec.kind == "frames"   ? frame_fields(spec, loss, folder)
                                                 : chord_fields(spec, loss, folder);
  ExampleFields out;
  for (const NodeId id : loss.inputs()) {
    const Node& node = loss.node(id);
    if (!is_data_input(node)) continue;
    const std::string name = node.attributes.string("name");
    const auto renamed = spec.fields.find(name);
    const std::string& field = renamed == spec.fields.end() ? name : renamed->second;
    if (const auto found = read.ragged.find(field); found != read.ragged.end()) {
      out.ragged.emplace(name, fitted(found->second, node, spec));
      continue;
    }
    const auto found = read.dense.find(field);
    if (found == read.dense.end()) {
      std::string known;
      for (const auto& [own, tensor] : read.ragged) known += (known.empty() ? "" : ", ") + own;
      for (const auto& [own, tensor] : read.dense) known += (known.empty() ? "" : ", ") + own;
      throw_user_error("T0833", fmt::format("the data '{}' has no field '{}'", spec.kind, name),
                       "its fields are " + known, spec.range);
    }
    if (node.types[0].rank() != 0 || !is_integer(node.types[0].dtype))
      misfit(name, "i32[]", node.types[0], spec);
    if (const std::int64_t classes = classes_of(loss, name); classes > 0)
      require_class_indices(found->second, classes, name);
    out.dense.emplace(name, found->second.cast(node.types[0].dtype));
  }
  return picked(out, permutation(out.examples(), 0, 0));
}

std::string first_ragged_symbol(const Graph& loss, const ExampleFields& fields) {
  for (const NodeId id : loss.inputs()) {
    const auto found = fields.ragged.find(loss.node(id).attributes.string("name", ""));
    if (found != fields.ragged.end()) return found->second.symbol;
  }
  return "";
}

}  // namespace treadle
