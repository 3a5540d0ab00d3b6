#include "driver/text_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "driver/data_fields.h"
#include "ir/diagnostic.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

std::string name_of(const Node* input) { return input->attributes.string("name"); }

std::string names_of(const std::vector<const Node*>& inputs) {
  std::string out;
  for (const Node* input : inputs) out += (out.empty() ? "" : ", ") + name_of(input);
  return out;
}

Tensor numbers(const std::string& text, const std::string& name) {
  const std::vector<std::string_view> words = tokenise(text, TokenUnit::word);
  Tensor out(DType::i32, {static_cast<std::int64_t>(words.size())});
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::int32_t value = 0;
    const auto [end, error] =
        std::from_chars(words[i].data(), words[i].data() + words[i].size(), value);
    if (error != std::errc() || end != words[i].data() + words[i].size())
      throw_user_error(
          "T0887",
          fmt::format("'{}' is no number of a token, and '{}' has no vocabulary", words[i], name),
          "give a run on a text, --run RUN, or numbers: --text \"3 1 4\"");
    out.set_integer(static_cast<std::int64_t>(i), value);
  }
  return out;
}

struct Named {
  std::string name, text;
};

Named named(const std::string& word, const std::vector<const Node*>& inputs) {
  const std::size_t equals = word.find('=');
  const std::string before = word.substr(0, equals);
  const bool names_one = equals != std::string::npos &&
                         std::any_of(inputs.begin(), inputs.end(),
                                     [&](const Node* i) { return name_of(i) == before; });
  if (names_one) return {before, word.substr(equals + 1)};
  if (inputs.size() == 1) return {name_of(inputs[0]), word};
  if (inputs.empty())
    throw_user_error("T0886", "the model reads no text: none of its inputs is token(V)[T]",
                     "arrays are given with --input NAME=FILE.npy");
  throw_user_error("T0886",
                   fmt::format("'{}' does not say which of {} it is", word, names_of(inputs)),
                   fmt::format("write --text {}=\"{}\"", name_of(inputs[0]), word));
}

std::string visible(const std::string& token) {
  std::string out;
  for (const char c : token) {
    if (c == ' ')
      out += "␣";
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7F)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out;
}

}  // namespace

std::vector<const Node*> token_inputs(const Graph& graph) {
  std::vector<const Node*> out;
  for (const NodeId id : graph.inputs()) {
    const Node& node = graph.node(id);
    if (is_data_input(node) && node.types[0].rank() == 1 &&
        classes_of(graph, node.attributes.string("name")) > 0)
      out.push_back(&node);
  }
  return out;
}

std::map<std::string, Vocabulary> vocabularies_of(const Graph& graph, const Checkpoint& saved,
                                                  const std::string& run) {
  std::map<std::string, Vocabulary> out;
  for (const Node* input : token_inputs(graph)) {
    auto text = saved.texts.find("vocabulary." + name_of(input));
    if (text == saved.texts.end()) text = saved.texts.find("vocabulary");
    if (text != saved.texts.end())
      out.emplace(name_of(input), Vocabulary::from_json(text->second, run));
  }
  return out;
}

void add_texts(const Graph& graph, const std::vector<std::string>& texts,
               const std::map<std::string, Vocabulary>& vocabularies,
               std::map<std::string, Tensor>& tensors) {
  const std::vector<const Node*> inputs = token_inputs(graph);
  for (const std::string& word : texts) {
    const auto [name, text] = named(word, inputs);
    if (tensors.contains(name))
      throw_user_error("T0886", fmt::format("the input '{}' is given twice", name));
    const auto vocabulary = vocabularies.find(name);
    tensors.emplace(name, vocabulary == vocabularies.end() ? numbers(text, name)
                                                           : encode_text(text, vocabulary->second));
  }
}

std::vector<std::string> token_labels(const Tensor& tokens, const Vocabulary* vocabulary) {
  std::vector<std::string> out;
  for (std::int64_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t token = tokens.get_integer(i);
    const bool known = vocabulary != nullptr && token >= 0 && token < vocabulary->size();
    out.push_back(known ? visible(vocabulary->tokens()[static_cast<std::size_t>(token)])
                        : fmt::format("{}", token));
  }
  return out;
}

}  // namespace treadle
