// Source text to syntax tree.
#pragma once
#include <vector>

#include "frontend/syntax.h"
#include "ir/diagnostic.h"

namespace treadle {

// Parses a whole file. Never throws for what the text holds and never runs out
// of stack: every mistake becomes a Diagnostic (T00xx lexical, T01xx syntax)
// appended to `diagnostics`, and parsing goes on at the next line or brace, so
// that one run reports several. At most `max_reported_errors` are reported.
// What could be parsed is returned; with errors it is incomplete, and only good
// for tools that look at a file while it is being written.
syntax::Module parse(SourceFilePtr file, std::vector<Diagnostic>& diagnostics);

// The same; throws UserError with all diagnostics when there is any.
syntax::Module parse_or_throw(SourceFilePtr file);

// One expression that fills the whole text, as given by `-D H=4*16`. Null when
// there is a mistake.
syntax::ExprPtr parse_expression(SourceFilePtr file, std::vector<Diagnostic>& diagnostics);

inline constexpr std::size_t max_reported_errors = 20;

}  // namespace treadle
