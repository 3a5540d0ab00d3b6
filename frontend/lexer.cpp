#include "frontend/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "frontend/utf8.h"

namespace treadle {

namespace {

constexpr std::array<std::string_view, 17> reserved_words = {
    "dim",   "cell", "block", "model", "param", "let", "return", "yield", "scan",
    "stack", "if",   "else",  "and",   "or",    "not", "true",   "false"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word_byte(char c) { return is_letter(c) || is_digit(c); }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool contains(std::initializer_list<std::string_view> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Operators of other languages, what they become here, and what to say.
struct ForeignOperator {
  std::string_view spelling, meant, hint;
};
constexpr ForeignOperator foreign_operators[] = {
    {"&&", "and", "Treadle writes it 'and'"},
    {"||", "or", "Treadle writes it 'or'"},
    {"+=", "=", "values are not changed in place: write x = x + ..."},
    {"-=", "=", "values are not changed in place: write x = x - ..."},
    {"*=", "=", "values are not changed in place: write x = x * ..."},
    {"/=", "=", "values are not changed in place: write x = x / ..."},
    {":=", "=", "an assignment is written x = value"},
    {"//", "/", "a comment begins with '#'; between dims '/' rounds down"},
    {"/*", "", "a comment begins with '#' and ends with the line"},
    {"->", "", "types of results are inferred: leave '->' out"},
    {"=>", "", "Treadle has no '=>'"},
    {"^", "**", "power is written '**'"},
    {"!", "not", "Treadle writes it 'not'"},
    {"&", "and", "Treadle writes it 'and'"},
    {"|", "or", "Treadle writes it 'or'"},
};

constexpr std::string_view two_byte_symbols[] = {"**", "==", "!=", "<=", ">="};

class Lexer {
 public:
  Lexer(const SourceFilePtr& file, std::vector<Diagnostic>& diagnostics)
      : file_(file), text_(file->text), diagnostics_(diagnostics) {}

  LexedFile run() {
    if (text_.size() > max_source_bytes) {
      report("T0007", 0, 0,
             fmt::format("the file has {} bytes; a program may have at most {}", text_.size(),
                         max_source_bytes),
             "is this a data file? data is named in a 'data' clause");
      push(TokenKind::end, 0, 0);
      return std::move(out_);
    }
    check_utf8();
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;
    while (at_ < text_.size()) step();
    if (!out_.tokens.empty()) push_newline(text_.size());
    push(TokenKind::end, text_.size(), text_.size());
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  SourceRange range(std::size_t begin, std::size_t end) const {
    return {file_, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  }
  void report(std::string code, std::size_t begin, std::size_t end, std::string message,
              std::string hint = {}) {
    Diagnostic diagnostic;
    diagnostic.code = std::move(code);
    diagnostic.range = range(begin, end);
    diagnostic.message = std::move(message);
    if (!hint.empty()) diagnostic.hints.push_back(std::move(hint));
    diagnostics_.push_back(std::move(diagnostic));
  }
  Token& push(TokenKind kind, std::size_t begin, std::size_t end) {
    Token token;
    token.kind = kind;
    token.range = range(begin, end);
    token.text = text_.substr(begin, end - begin);
    token.line = line_;
    token.first_on_line = std::exchange(line_is_empty_, false);
    out_.tokens.push_back(std::move(token));
    return out_.tokens.back();
  }
  void push_newline(std::size_t at) {
    if (out_.tokens.empty() || out_.tokens.back().kind == TokenKind::newline) return;
    push(TokenKind::newline, at, at);
  }

  void check_utf8() {
    const std::size_t bad = first_invalid_utf8(text_);
    if (bad == text_.size()) return;
    const auto byte = static_cast<unsigned char>(text_[bad]);
    report("T0006", bad, bad + 1, fmt::format("the file is not UTF-8: byte {:#04x}", byte),
           bad == 0 && byte >= 0xFE ? "it looks like UTF-16: save it as UTF-8"
                                    : "save the file as UTF-8");
  }

  void step() {
    const char c = peek();
    if (c == '\n') return newline();
    if (is_blank(c)) {
      ++at_;
      return;
    }
    if (c == '#') return comment();
    if (is_letter(c)) return word();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
    if (c == '"' || c == '\'') return string(c);
    if (static_cast<unsigned char>(c) >= 0x80) return foreign_characters();
    symbol();
  }

  void newline() {
    const std::size_t end = at_++;
    if (!goes_on()) push_newline(end);
    ++line_;
    line_is_empty_ = true;
  }

  bool in_bracket() const { return !open_.empty() && open_.back() != '{'; }

  // Does the statement go on in the next line?
  bool goes_on() {
    if (!in_bracket() && !ends_in_operator()) return false;
    if (!next_line_begins_statement()) return true;
    while (in_bracket()) open_.pop_back();
    return false;
  }

  bool ends_in_operator() const {
    if (out_.tokens.empty()) return false;
    const Token& last = out_.tokens.back();
    if (last.kind == TokenKind::keyword)
      return contains({"and", "or", "not", "if", "else"}, last.text);
    if (last.kind != TokenKind::symbol) return false;
    return contains({",", "+", "-", "*", "/", "%", "@", "**", "==", "!=", "<", "<=", ">", ">="},
                    last.text);
  }

  std::string_view word_at(std::size_t& at) const {
    const std::size_t begin = at;
    while (at < text_.size() && is_word_byte(text_[at])) ++at;
    return text_.substr(begin, at - begin);
  }
  void skip_blanks(std::size_t& at) const {
    while (at < text_.size() && is_blank(text_[at])) ++at;
  }

  // True when the line at at_ cannot be the inside of a bracket or an operand:
  // it begins with a statement's or declaration's keyword, or assigns.
  bool next_line_begins_statement() const {
    std::size_t at = at_;
    skip_blanks(at);
    if (at >= text_.size() || !is_letter(text_[at])) return false;
    const std::string_view first = word_at(at);
    if (contains({"param", "let", "return", "yield", "dim"}, first)) return true;
    skip_blanks(at);
    const char next = at < text_.size() ? text_[at] : '\0';
    if (contains({"cell", "block", "model"}, first)) {
      word_at(at);
      skip_blanks(at);
      return at < text_.size() && (text_[at] == '(' || text_[at] == '[');
    }
    if (contains({"train", "eval", "generate", "test", "import"}, first)) {
      return is_letter(next) || next == '"';
    }
    const bool in_body = std::find(open_.begin(), open_.end(), '{') != open_.end();
    return in_body && !is_reserved_word(first) && assigns(at);
  }

  // `, b, c =` from `at` on?
  bool assigns(std::size_t at) const {
    while (at < text_.size() && text_[at] == ',') {
      ++at;
      skip_blanks(at);
      if (word_at(at).empty()) return false;
      skip_blanks(at);
    }
    return at < text_.size() && text_[at] == '=' &&
           (at + 1 >= text_.size() || text_[at + 1] != '=');
  }

  void comment() {
    const std::size_t begin = at_;
    at_ = std::min(text_.find('\n', at_), text_.size());
    std::size_t end = at_;
    while (end > begin && is_blank(text_[end - 1])) --end;
    syntax::Comment comment;
    comment.text = text_.substr(begin, end - begin);
    comment.range = range(begin, end);
    comment.own_line = line_is_empty_;
    comment.doc = comment.text.starts_with("##") && !comment.text.starts_with("###");
    out_.comments.push_back(std::move(comment));
  }

  void word() {
    const std::size_t begin = at_;
    const std::string_view text = word_at(at_);
    push(is_reserved_word(text) ? TokenKind::keyword : TokenKind::identifier, begin, at_);
  }

  std::size_t digits() {
    const std::size_t begin = at_;
    while (is_digit(peek()) || peek() == '_') ++at_;
    return at_ - begin;
  }

  void number() {
    const std::size_t begin = at_;
    bool integer = true;
    std::string problem;
    digits();
    if (begin == at_) problem = "a digit must stand before the point";
    if (peek() == '.' && !is_letter(peek(1))) {
      integer = false;
      ++at_;
      if (digits() == 0) problem = "a digit must follow the point";
    }
    if ((peek() == 'e' || peek() == 'E') &&
        (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
      integer = false;
      at_ += 2;
      digits();
    }
    const std::string_view literal = text_.substr(begin, at_ - begin);
    if (is_letter(peek())) {
      const std::size_t suffix = at_;
      const std::string_view letters = word_at(at_);
      problem = fmt::format("'{}' cannot follow the digits", letters);
      if (byte_unit(letters)) problem = fmt::format("write '{} {}'", literal, letters);
      at_ = std::max(at_, suffix);
    }
    Token& token = push(TokenKind::number, begin, at_);
    if (!problem.empty()) {
      report("T0003", begin, at_, fmt::format("malformed number '{}'", token.text), problem);
      token.number.spelling = "0";
      token.number.is_integer = true;
      return;
    }
    set_value(token, literal, integer);
  }

  static std::optional<std::int64_t> byte_unit(std::string_view word) {
    constexpr std::pair<std::string_view, std::int64_t> units[] = {
        {"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}, {"TiB", 1LL << 40},
        {"kB", 1000},       {"MB", 1000000},    {"GB", 1000000000}, {"TB", 1000000000000}};
    for (const auto& [name, bytes] : units) {
      if (word == name) return bytes;
    }
    return std::nullopt;
  }

  // Takes a unit that follows on the same line; 1 when there is none.
  std::int64_t unit_after_number() {
    std::size_t at = at_;
    while (at < text_.size() && text_[at] == ' ') ++at;
    if (at == at_) return 1;
    const std::string_view word = word_at(at);
    const auto bytes = byte_unit(word);
    if (!bytes) return 1;
    at_ = at;
    return *bytes;
  }

  void set_value(Token& token, std::string_view literal, bool integer) {
    std::string plain;
    for (const char c : literal) {
      if (c != '_') plain += c;
    }
    const std::int64_t unit = unit_after_number();
    token.range = range(token.range.begin, at_);
    token.text = text_.substr(token.range.begin, at_ - token.range.begin);
    syntax::Number& number = token.number;
    number.spelling = literal;
    number.is_byte_size = unit != 1;
    number.is_integer = integer || number.is_byte_size;
    if (number.is_byte_size) {
      number.spelling += fmt::format(" {}", token.text.substr(token.text.find_last_of(' ') + 1));
    }
    const bool fits = integer ? read_integer(plain, unit, number) : read_real(plain, unit, number);
    if (fits) return;
    report("T0004", token.range.begin, at_, fmt::format("number {} is too large", token.text),
           number.is_integer ? "an integer is at most 9223372036854775807"
                             : "a real is at most 1.8e308");
    number = {};
    number.spelling = "0";
    number.is_integer = true;
  }

  static bool read_integer(const std::string& digits, std::int64_t unit, syntax::Number& number) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number.integer);
    if (error != std::errc{}) return false;
    if (number.integer > std::numeric_limits<std::int64_t>::max() / unit) return false;
    number.integer *= unit;
    number.value = static_cast<double>(number.integer);
    return true;
  }

  static bool read_real(const std::string& digits, std::int64_t unit, syntax::Number& number) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number.value);
    if (error == std::errc::result_out_of_range) {
      // Too small is zero; only too large is a mistake.
      number.value = 0;
      return digits.starts_with("0.") || digits.find("e-") != std::string::npos ||
             digits.find("E-") != std::string::npos;
    }
    number.value *= static_cast<double>(unit);
    if (!number.is_byte_size) return true;
    if (!(number.value < 0x1p63)) return false;
    number.integer = static_cast<std::int64_t>(number.value);
    return true;
  }

  void string(char quote) {
    const std::size_t begin = at_++;
    std::string value;
    while (at_ < text_.size() && peek() != quote && peek() != '\n') {
      if (peek() == '\\') {
        escape(value);
      } else {
        value += text_[at_++];
      }
    }
    const bool closed = at_ < text_.size() && peek() == quote;
    if (closed) ++at_;
    if (quote == '\'') {
      report("T0001", begin, at_, "strings are written with double quotes",
             "write \"...\" instead of '...'");
    } else if (!closed) {
      report("T0002", begin, at_, "the string has no closing quote on its line",
             "a line break inside a string is written \\n");
    }
    push(TokenKind::string, begin, at_).value = std::move(value);
  }

  void escape(std::string& value) {
    const std::size_t begin = at_++;
    const char c = peek();
    if (c == '\n' || at_ >= text_.size()) return;
    ++at_;
    switch (c) {
      case 'n': value += '\n'; return;
      case 't': value += '\t'; return;
      case 'r': value += '\r'; return;
      case '0': value += '\0'; return;
      case '\\':
      case '"': value += c; return;
      case 'x':
        if (hex_value(peek()) >= 0 && hex_value(peek(1)) >= 0) {
          value += static_cast<char>(hex_value(peek()) * 16 + hex_value(peek(1)));
          at_ += 2;
          return;
        }
        break;
      default: break;
    }
    if (c == '\'') {
      value += c;
      return;
    }
    while (at_ < text_.size() && (static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;
    report("T0005", begin, at_,
           fmt::format("unknown escape '{}' in a string", text_.substr(begin, at_ - begin)),
           "known are \\n \\t \\r \\0 \\\\ \\\" and \\xHH; a backslash itself is \\\\");
  }

  void foreign_characters() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x80) {
      at_ += std::max<std::size_t>(1, utf8_length(text_, at_));
    }
    const std::string_view run = text_.substr(begin, at_ - begin);
    if (first_invalid_utf8(run) != run.size()) return;  // reported for the file
    std::string hint = "names are made of the letters a-z, A-Z, digits and '_'";
    if (run.starts_with("\u201C") || run.starts_with("\u201D")) hint = "use the plain quote \"";
    if (run.starts_with("\u00A0")) hint = "this is a no-break space: use a plain one";
    report("T0001", begin, at_, fmt::format("unexpected character '{}'", run), hint);
  }

  void symbol() {
    const std::size_t begin = at_;
    const std::string_view rest = text_.substr(at_);
    for (const std::string_view two : two_byte_symbols) {
      if (!rest.starts_with(two)) continue;
      at_ += 2;
      push(TokenKind::symbol, begin, at_);
      return;
    }
    for (const ForeignOperator& op : foreign_operators) {
      if (rest.starts_with(op.spelling)) return foreign_operator(op);
    }
    ++at_;
    const char c = text_[begin];
    if (std::string_view("+-*/%@<>=~,;:.()[]{}").find(c) == std::string_view::npos) {
      const bool visible = c > ' ' && c < 0x7F;
      report("T0001", begin, at_,
             visible ? fmt::format("unexpected character '{}'", c)
                     : fmt::format("unexpected byte {:#04x}", static_cast<unsigned char>(c)));
      return;
    }
    push(TokenKind::symbol, begin, at_);
    track_bracket(c);
  }

  void foreign_operator(const ForeignOperator& op) {
    const std::size_t begin = at_;
    const bool comment_line = line_is_empty_ && op.spelling.front() == '/';
    at_ += op.spelling.size();
    report("T0008", begin, at_, fmt::format("'{}' is not an operator", op.spelling),
           std::string(op.hint));
    if (comment_line || op.spelling == "/*") {
      at_ = std::min(text_.find('\n', at_), text_.size());
      return;
    }
    if (op.meant.empty()) return;
    Token& token =
        push(is_reserved_word(op.meant) ? TokenKind::keyword : TokenKind::symbol, begin, at_);
    token.text = op.meant;
  }

  void track_bracket(char c) {
    if (c == '(' || c == '[' || c == '{') open_.push_back(c);
    if (c == '}') {
      while (in_bracket()) open_.pop_back();
      if (!open_.empty()) open_.pop_back();
    }
    if ((c == ')' || c == ']') && in_bracket()) open_.pop_back();
  }

  const SourceFilePtr& file_;
  std::string_view text_;
  std::vector<Diagnostic>& diagnostics_;
  LexedFile out_;
  std::vector<char> open_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_is_empty_ = true;
};

}  // namespace

LexedFile lex(const SourceFilePtr& file, std::vector<Diagnostic>& diagnostics) {
  return Lexer(file, diagnostics).run();
}

bool is_reserved_word(std::string_view word) {
  return std::find(reserved_words.begin(), reserved_words.end(), word) != reserved_words.end();
}

std::string quoted(std::string_view bytes) {
  const bool utf8 = first_invalid_utf8(bytes) == bytes.size();
  std::string out = "\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '\n': out += "\\n"; continue;
      case '\t': out += "\\t"; continue;
      case '\r': out += "\\r"; continue;
      case '\0': out += "\\0"; continue;
      case '\\': out += "\\\\"; continue;
      case '"': out += "\\\""; continue;
      default: break;
    }
    if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8)) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace treadle
