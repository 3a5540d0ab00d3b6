#include "runtime/readers/text.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/diagnostic.h"
#include "runtime/file.h"

namespace treadle {
namespace {

// Names the file in a mistake found in its content.
template <typename Function>
auto naming_file(const std::filesystem::path& path, const Function& function) {
  try {
    return function();
  } catch (const UserError& error) {
    std::vector<Diagnostic> diagnostics = error.diagnostics();
    for (Diagnostic& diagnostic : diagnostics)
      diagnostic.message = path.string() + ": " + diagnostic.message;
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

Tensor encode_text(std::string_view text, const Vocabulary& vocabulary) {
  return to_tensor(vocabulary.encode(text));
}

EncodedText read_text(const std::filesystem::path& path, TokenUnit unit) {
  const std::string text = read_file_or_gzip(path);
  return naming_file(path, [&] {
    EncodedText out;
    out.vocabulary = Vocabulary::from_text(text, unit);
    out.tokens = encode_text(text, out.vocabulary);
    if (out.tokens.size() == 0) throw_user_error("T0931", "holds no text");
    return out;
  });
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string text = read_file_or_gzip(path);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) out.emplace_back(line);
    at = end + 1;
  }
  if (out.empty()) nothing_in(path);
  return out;
}

EncodedLines encode_lines(const std::vector<std::string>& lines, const Vocabulary& vocabulary) {
  EncodedLines out;
  out.vocabulary = vocabulary;
  out.offsets.push_back(0);
  std::vector<std::int32_t> all;
  for (const std::string& line : lines) {
    const std::vector<std::int32_t> indices = vocabulary.encode(line);
    all.insert(all.end(), indices.begin(), indices.end());
    out.offsets.push_back(static_cast<std::int64_t>(all.size()));
  }
  out.tokens = to_tensor(all);
  return out;
}

EncodedLines read_line_sequences(const std::filesystem::path& path, TokenUnit unit) {
  const std::vector<std::string> lines = read_lines(path);
  return naming_file(path, [&] {
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
