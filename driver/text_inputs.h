// Texts for the inputs of a model that are tokens.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/tensor.h"
#include "runtime/checkpoint.h"
#include "runtime/vocabulary.h"

namespace treadle {

// The data inputs of type token(V)[T], in the order of the graph.
std::vector<const Node*> token_inputs(const Graph& graph);

// The vocabulary of each token input, as the run saved it: one of its own, or the
// one of all texts.
std::map<std::string, Vocabulary> vocabularies_of(const Graph& graph, const Checkpoint& saved,
                                                  const std::string& run);

// Adds to `tensors` the tokens of each text, i32[T]: "NAME=some words" for the
// input NAME, "some words" for the only one. An input without vocabulary takes
// numbers of tokens, "3 1 4". T0886 when no input is meant, or one twice; T0887
// for what is no number; T0932 for a token outside the vocabulary.
void add_texts(const Graph& graph, const std::vector<std::string>& texts,
               const std::map<std::string, Vocabulary>& vocabularies,
               std::map<std::string, Tensor>& tensors);

// Each token as it is read, white space made visible; numbers without vocabulary.
std::vector<std::string> token_labels(const Tensor& tokens, const Vocabulary* vocabulary);

}  // namespace treadle
