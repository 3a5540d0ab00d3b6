#include "driver/vocabularies.h"

#include <fmt/format.h>

#include "driver/data_fields.h"
#include "ir/diagnostic.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

constexpr std::string_view text_prefix = "vocabulary";

std::string text_name(const std::string& field) {
  return field == "text" ? std::string(text_prefix) : fmt::format("{}.{}", text_prefix, field);
}

constexpr std::string_view unit_plurals[] = {"bytes", "characters", "words"};

// What the model reads of the field under the name that it gives it.
std::int64_t classes_read(const VocabularyRequest& request, const DataSpec& spec,
                          const Graph& loss) {
  for (const auto& [input, field] : spec.fields)
    if (field == request.field && input != field) return classes_of(loss, input);
  return classes_of(loss, request.field);
}

void require_size(const Vocabulary& vocabulary, const VocabularyRequest& request, bool is_file,
                  const DataSpec& spec, const Graph& loss) {
  const std::int64_t classes = classes_read(request, spec, loss);
  const bool too_small = is_file && vocabulary.size() < classes;
  if (classes == 0 || (vocabulary.size() <= classes && !too_small)) return;
  const std::string hint =
      fmt::format("set the dim of its tokens: -D V={}{}", vocabulary.size(),
                  is_file || too_small ? "" : ", or say how many are kept: max_tokens 1000");
  if (is_file)
    throw_user_error(too_small ? "T0531" : "T0839",
                     fmt::format("the vocabulary of '{}' has {} tokens, the model reads {}",
                                 request.field, vocabulary.size(), classes),
                     hint, spec.range);
  throw_user_error(
      "T0839",
      fmt::format("'{}' has {} different {}, the model reads {}", request.field, vocabulary.size(),
                  unit_plurals[static_cast<int>(vocabulary.unit())], classes),
      hint, spec.range);
}

}  // namespace

void add_vocabularies(const Vocabularies& vocabularies, std::map<std::string, std::string>& texts) {
  for (const auto& [field, vocabulary] : vocabularies)
    texts[text_name(field)] = vocabulary.to_json();
}

Vocabularies vocabularies_of(const std::map<std::string, std::string>& texts,
                             const std::string& run) {
  Vocabularies out;
  for (const auto& [name, text] : texts)
    if (name == text_prefix)
      out.emplace("text", Vocabulary::from_json(text, run));
    else if (name.starts_with(fmt::format("{}.", text_prefix)))
      out.emplace(name.substr(text_prefix.size() + 1), Vocabulary::from_json(text, run));
  return out;
}

TokenUnit token_unit(const DataSpec& spec, TokenUnit otherwise) {
  const std::string name = spec.string("tokens", "");
  return name == "words"        ? TokenUnit::word
         : name == "characters" ? TokenUnit::character
         : name == "bytes"      ? TokenUnit::byte
                                : otherwise;
}

const Vocabulary& vocabulary_of(const VocabularyRequest& request, const DataSpec& spec,
                                const Graph& loss, const std::filesystem::path& folder,
                                Vocabularies& known, const std::function<std::string()>& all) {
  const auto found = known.find(request.field);
  const std::string file = spec.string(request.setting, "");
  const bool is_file = found == known.end() && !file.empty();
  if (found == known.end()) {
    const TokenUnit unit = token_unit(spec, request.unit);
    known[request.field] = is_file
                               ? read_vocabulary(folder / file, unit)
                               : Vocabulary::from_text(all(), unit,
                                                       {.limit = spec.integer("max_tokens", 0),
                                                        .min_count = spec.integer("min_count", 1),
                                                        .ends = request.ends});
  }
  const Vocabulary& out = known.at(request.field);
  require_size(out, request, is_file, spec, loss);
  return out;
}

SequenceEnds sequence_ends(const Vocabulary& vocabulary, const SourceRange& range) {
  const auto begin = vocabulary.index(begin_token), end = vocabulary.index(end_token);
  if (begin && end) return {*begin, *end};
  const auto line_end = vocabulary.index("\n");
  if (!line_end)
    throw_user_error("T0532",
                     fmt::format("the vocabulary has no {} and {}", begin_token, end_token),
                     "a sequence that is predicted begins and ends with them: add two lines to "
                     "the vocabulary file",
                     range);
  return {*line_end, *line_end};
}

}  // namespace treadle
