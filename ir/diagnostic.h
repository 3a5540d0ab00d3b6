// What went wrong. A user's mistake is a Diagnostic, thrown as UserError; a
// bug of the compiler is an InternalError. The two are different types so
// that no test for the first can pass on the second.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ir/source.h"

namespace treadle {

enum class Severity { error, warning, note };

// A second place that matters to the message ("U is declared here").
struct RelatedPlace {
  SourceRange range;
  std::string text;
};

struct Diagnostic {
  Severity severity = Severity::error;
  std::string code;     // "T0312"; every code has a page in `treadle explain`
  SourceRange range;    // may be nowhere (data files, command line)
  std::string message;  // one line: what was found and what was expected
  std::string label;    // printed behind the carets: "h: real[H]   U: real[I, 4*H]"
  std::vector<std::string> hints;
  std::vector<RelatedPlace> related;
};

// Excerpt, carets, label, hints, as plain text that ends in a newline:
//   lm.tdl:7:31: error[T0312]: inner dimensions differ in '@'
//     7 |   i, f, g, o = split(x @ W + h @ U + b, 4)
//       |                              ^^^^^ h: real[H]   U: real[I, 4*H]
//       = hint
std::string render(const Diagnostic& diagnostic);

// One or more mistakes of the user. `what()` is the rendered text of all.
class UserError : public std::runtime_error {
 public:
  explicit UserError(Diagnostic diagnostic);
  explicit UserError(std::vector<Diagnostic> diagnostics);
  const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

 private:
  std::vector<Diagnostic> diagnostics_;
};

// Short form for mistakes that have no source range (files, options).
[[noreturn]] void throw_user_error(std::string code, std::string message, std::string hint = {},
                                   SourceRange range = {});

// A bug of the compiler. The driver writes a reproducer and exits 70.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};
[[noreturn]] void internal_error(std::string_view where, std::string_view what);
inline void ensure(bool condition, std::string_view where, std::string_view what) {
  if (!condition) internal_error(where, what);
}

}  // namespace treadle
