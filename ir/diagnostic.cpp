#include "ir/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace treadle {

LineColumn line_column(const SourceFile& file, std::uint32_t offset) {
  const std::size_t end = std::min<std::size_t>(offset, file.text.size());
  LineColumn place{1, 1};
  for (std::size_t i = 0; i < end; ++i) {
    if (file.text[i] == '\n') {
      ++place.line;
      place.column = 1;
    } else {
      ++place.column;
    }
  }
  return place;
}

std::string to_string(const SourceRange& range) {
  if (!range) return {};
  const LineColumn place = line_column(*range.file, range.begin);
  return fmt::format("{}:{}:{}", range.file->path, place.line, place.column);
}

namespace {

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::error: return "error";
    case Severity::warning: return "warning";
    case Severity::note: return "note";
  }
  return "error";
}

std::string_view line_at(const SourceFile& file, std::uint32_t offset) {
  const std::string_view text = file.text;
  const std::size_t at = std::min<std::size_t>(offset, text.size());
  std::size_t begin = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  begin = begin == std::string_view::npos ? 0 : begin + 1;
  std::size_t end = text.find('\n', at);
  if (end == std::string_view::npos) end = text.size();
  return text.substr(begin, end - begin);
}

// The blank run under an excerpt up to `column`: tabs stay tabs, and the bytes
// that continue a UTF-8 character take no column.
std::string indent_to(std::string_view line, std::uint32_t column) {
  std::string out;
  for (std::size_t i = 0; i + 1 < column && i < line.size(); ++i) {
    if ((static_cast<unsigned char>(line[i]) & 0xC0) == 0x80) continue;
    out += line[i] == '\t' ? '\t' : ' ';
  }
  return out;
}

void append_excerpt(std::string& out, const SourceRange& range, std::string_view label) {
  const LineColumn place = line_column(*range.file, range.begin);
  const std::string_view line = line_at(*range.file, range.begin);
  const std::string number = std::to_string(place.line);
  const std::string gutter(number.size(), ' ');
  const std::size_t rest = line.size() >= place.column - 1 ? line.size() - (place.column - 1) : 0;
  const std::size_t width =
      std::max<std::size_t>(1, std::min<std::size_t>(range.end - range.begin, rest));
  out += fmt::format("  {} | {}\n", number, line);
  out += fmt::format("  {} | {}{}{}{}\n", gutter, indent_to(line, place.column),
                     std::string(width, '^'), label.empty() ? "" : " ", label);
}

}  // namespace

std::string render(const Diagnostic& diagnostic) {
  const std::string where = to_string(diagnostic.range);
  std::string out = fmt::format(
      "{}{}{}{}: {}\n", where, where.empty() ? "" : ": ", severity_name(diagnostic.severity),
      diagnostic.code.empty() ? "" : "[" + diagnostic.code + "]", diagnostic.message);
  std::string gutter = "  ";
  if (diagnostic.range) {
    append_excerpt(out, diagnostic.range, diagnostic.label);
    const auto line = line_column(*diagnostic.range.file, diagnostic.range.begin).line;
    gutter += std::string(std::to_string(line).size() + 1, ' ');
  }
  for (const std::string& hint : diagnostic.hints) out += fmt::format("{}= {}\n", gutter, hint);
  for (const RelatedPlace& place : diagnostic.related) {
    out += fmt::format("{}: note: {}\n", to_string(place.range), place.text);
    if (place.range) append_excerpt(out, place.range, {});
  }
  return out;
}

namespace {
std::string render_all(const std::vector<Diagnostic>& diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) out += render(diagnostic);
  return out;
}
}  // namespace

UserError::UserError(Diagnostic diagnostic)
    : UserError(std::vector<Diagnostic>{std::move(diagnostic)}) {}

UserError::UserError(std::vector<Diagnostic> diagnostics)
    : std::runtime_error(render_all(diagnostics)), diagnostics_(std::move(diagnostics)) {}

void throw_user_error(std::string code, std::string message, std::string hint, SourceRange range) {
  Diagnostic diagnostic;
  diagnostic.code = std::move(code);
  diagnostic.message = std::move(message);
  if (!hint.empty()) diagnostic.hints.push_back(std::move(hint));
  diagnostic.range = std::move(range);
  throw UserError(std::move(diagnostic));
}

void internal_error(std::string_view where, std::string_view what) {
  throw InternalError(fmt::format("[{}] {}", where, what));
}

}  // namespace treadle
