// Text with the places where its lines may break, and the choice among them
// [Wadler, A prettier printer; Prettier's way to measure a group].
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace treadle::formatting {

inline constexpr std::size_t max_columns = 100;
inline constexpr std::size_t indent_step = 2;

struct Doc {
  enum class Kind : std::uint8_t {
    concat,    // the children, one after the other
    text,      // no line break in it
    space,     // one blank; nothing at the start of a line
    line,      // one blank; a line break where the group is broken
    softline,  // nothing; a line break where the group is broken
    newline,   // what follows begins a line; breaks the groups around it
    trailing,  // a comment behind other text; a newline follows
    own_line,  // a comment that has its line to itself; a newline follows
    nest,      // the child, one step further to the right
    group,     // the child, flat when it fits in the line and else broken
  };
  Kind kind = Kind::concat;
  bool forced = false;  // holds a newline or a comment: cannot be flat
  std::string text;
  std::vector<Doc> children;

  // This, and `child` behind it.
  Doc& operator+=(Doc child);
};

Doc text(std::string_view text);
Doc space();
Doc line();
Doc softline();
Doc newline();
Doc comment(std::string_view text, bool own_line);
Doc nest(Doc inner);
Doc group(Doc inner);

inline constexpr std::size_t no_width = std::size_t{1} << 40;

// Columns of a UTF-8 text: its code points.
std::size_t columns(std::string_view text);
// Columns when all is on one line; no_width when it cannot be.
std::size_t flat_width(const Doc& doc);

// The lines, joined by '\n'. The first begins in column `indent` and is written
// without its indentation, the others with theirs.
std::string render(const Doc& doc, std::size_t indent);

}  // namespace treadle::formatting
