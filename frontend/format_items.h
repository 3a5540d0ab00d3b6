// The items of a file or a body - statements, clauses, declarations and the
// comments between them - and the columns that they share.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "frontend/format_doc.h"

namespace treadle::formatting {

// What an item is aligned with: its neighbours of the same kind.
enum class Alignment : std::uint8_t { none, param, assignment, clause, test };

struct Item {
  Doc head, tail;  // the alignment's blanks stand between them
  Alignment alignment = Alignment::none;
  bool has_column = true;           // neither a bare clause nor a bare param has one
  std::uint32_t source_column = 0;  // of an assignment's `=`
  bool padded = false;              // more than one blank before that `=`
  bool is_comment = false;
  bool blank_before = false;
  std::string trailing;  // a comment behind it; may be empty
};

// All lines, indented, each with its newline.
std::string layout(const std::vector<Item>& items, std::size_t indent);

}  // namespace treadle::formatting
