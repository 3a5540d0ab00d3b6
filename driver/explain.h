// The pages of docs/errors: what each diagnostic code means. They are carried in
// the binary.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/embedded_file.h"

namespace treadle {

// "T0312.md" and so on, sorted by name.
std::span<const EmbeddedFile> error_page_files();

struct ErrorPage {
  std::string_view code;   // "T0312"
  std::string_view title;  // "inner dimensions differ in '@'"
  std::string_view text;   // the whole page; its first line is "# T0312: TITLE"
};

// All pages, sorted by code.
std::vector<ErrorPage> error_pages();

// The page of a code, which may be written T0312, t0312, 0312 or 312. Throws
// UserError T0849, whose hint names the nearest codes.
ErrorPage explain(std::string_view code);

}  // namespace treadle
