#include "runtime/readers/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ir/diagnostic.h"
#include "runtime/file.h"

namespace treadle {
namespace {

// Names the place in a mistake found in its content.
template <typename Function>
auto naming(const std::string& place, const Function& function) {
  try {
    return function();
  } catch (const UserError& error) {
    std::vector<Diagnostic> diagnostics = error.diagnostics();
    for (Diagnostic& diagnostic : diagnostics)
      diagnostic.message = place + ": " + diagnostic.message;
    throw UserError(std::move(diagnostics));
  }
}

[[noreturn]] void nothing_in(const std::filesystem::path& path) {
  throw_user_error("T0931", fmt::format("{} holds no text", path.string()));
}

Tensor to_tensor(const std::vector<std::int32_t>& indices) {
  Tensor out(DType::i32, {static_cast<std::int64_t>(indices.size())});
  std::copy(indices.begin(), indices.end(), out.as<std::int32_t>().begin());
  return out;
}

}  // namespace

Tensor encode_text(std::string_view text, const Vocabulary& vocabulary, const std::string& name) {
  return naming(name, [&] { return to_tensor(vocabulary.encode(text)); });
}

EncodedText read_text(const std::filesystem::path& path, TokenUnit unit) {
  const std::string text = read_file_or_gzip(path);
  EncodedText out;
  out.vocabulary = naming(path.string(), [&] { return Vocabulary::from_text(text, unit); });
  out.tokens = encode_text(text, out.vocabulary, path.string());
  if (out.tokens.size() == 0) nothing_in(path);
  return out;
}

std::vector<std::string> read_lines(const std::filesystem::path& path, BlankLines blank) {
  const std::string text = read_file_or_gzip(path);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() || blank == BlankLines::keep) out.emplace_back(line);
    at = end + 1;
  }
  if (out.empty()) nothing_in(path);
  return out;
}

Vocabulary read_vocabulary(const std::filesystem::path& path, TokenUnit unit) {
  const std::vector<std::string> lines = read_lines(path, BlankLines::keep);
  std::map<std::string_view, std::size_t> seen;
  const auto bad = [&](std::size_t line, const std::string& why) {
    throw_user_error("T0530", fmt::format("{}:{}: {}", path.string(), line + 1, why),
                     "a vocabulary file has a token on each line");
  };
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) bad(i, "the line is blank");
    const auto [before, fresh] = seen.emplace(lines[i], i);
    if (!fresh) bad(i, fmt::format("'{}' is on line {} too", lines[i], before->second + 1));
    const auto tokens = naming(fmt::format("{}:{}", path.string(), i + 1),
                               [&] { return tokenise(lines[i], unit); });
    const bool mark = lines[i] == unknown_token || lines[i] == begin_token || lines[i] == end_token;
    if (!mark && (tokens.size() != 1 || tokens[0] != lines[i]))
      bad(i, fmt::format("'{}' is not one token", lines[i]));
  }
  return {unit, lines};
}

EncodedLines encode_lines(const std::vector<std::string>& lines, const Vocabulary& vocabulary,
                          const LineEnds& ends, const std::string& name) {
  EncodedLines out;
  out.vocabulary = vocabulary;
  out.offsets.push_back(0);
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::vector<std::int32_t> indices =
        naming(fmt::format("{} {}", name, i + 1), [&] { return vocabulary.encode(lines[i]); });
    if (ends.front) all.push_back(*ends.front);
    all.insert(all.end(), indices.begin(), indices.end());
    if (ends.back) all.push_back(*ends.back);
    out.offsets.push_back(static_cast<std::int64_t>(all.size()));
  }
  out.tokens = to_tensor(all);
  return out;
}

EncodedLines read_line_sequences(const std::filesystem::path& path, TokenUnit unit) {
  const std::vector<std::string> lines = read_lines(path);
  return naming(path.string(), [&] {
    const char* separator = unit == TokenUnit::word ? "\n" : "";
    return encode_lines(
        lines, Vocabulary::from_text(fmt::format("{}", fmt::join(lines, separator)), unit));
  });
}

void require_class_indices(const Tensor& labels, std::int64_t classes, std::string_view name) {
  for (std::int64_t i = 0; i < labels.size(); ++i) {
    const std::int64_t label = labels.get_integer(i);
    if (label >= 0 && label < classes) continue;
    throw_user_error(
        "T0927",
        fmt::format("{}: label {} at index {} is not in 0 .. {}", name, label, i, classes - 1),
        fmt::format("the model has {} classes, counted from 0", classes));
  }
}

}  // namespace treadle
