// The formatter of the language: one layout for every program.
#pragma once
#include <string>

namespace treadle {

// `text` laid out anew: 2 spaces, at most 100 columns where the language lets a
// line break, at most one blank line in a row. The result is the same program
// (equal syntax::dump) with the same comments in the same order, and formatting
// it again changes nothing.
//
// Consecutive `param` lines have one column for `~`, the clauses of a block one
// for their first item, one-line tests one for `{`, and trailing comments one
// for `#`. The `=` of assignments that stand aligned stay aligned. A body that
// is written on one line stays there when it fits.
//
// Throws UserError with the parser's diagnostics when `text` is not a program;
// `path` is what they print.
std::string format_program(std::string text, std::string path);

}  // namespace treadle
