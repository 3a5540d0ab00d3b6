// The vocabularies of a run: made or read with the data, kept in the checkpoint.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "frontend/elaborate.h"
#include "ir/graph.h"
#include "runtime/vocabulary.h"

namespace treadle {

// By the field of the data that a vocabulary belongs to: "text"; "source" and
// "target".
using Vocabularies = std::map<std::string, Vocabulary>;

// As texts of a checkpoint, "vocabulary" for "text", "vocabulary.source" for
// "source", and back. T0933; `run` is what messages call the checkpoint.
void add_vocabularies(const Vocabularies& vocabularies, std::map<std::string, std::string>& texts);
Vocabularies vocabularies_of(const std::map<std::string, std::string>& texts,
                             const std::string& run);

struct VocabularyRequest {
  std::string field;
  std::string setting = "vocabulary";     // of the data clause: names the file
  TokenUnit unit = TokenUnit::character;  // where the clause does not say `tokens`
  bool ends = false;                      // one that is made has <s> and </s>
};

// The field's vocabulary: the one that is known already, else the file that the
// clause names (in `folder`), else one that is made of the text `all()`; then it
// is known. T0839 when it is larger than the model reads, T0531 when a file is
// smaller; errors of read_vocabulary.
const Vocabulary& vocabulary_of(const VocabularyRequest& request, const DataSpec& spec,
                                const Graph& loss, const std::filesystem::path& folder,
                                Vocabularies& known, const std::function<std::string()>& all);

// The setting `tokens` of the clause.
TokenUnit token_unit(const DataSpec& spec, TokenUnit otherwise);

// The classes in front of a sequence and behind it: <s> and </s> where the
// vocabulary has them, else the line end for both. T0532 when it has neither.
struct SequenceEnds {
  std::int32_t begin, end;
};
SequenceEnds sequence_ends(const Vocabulary& vocabulary, const SourceRange& range);

}  // namespace treadle
