#include "frontend/format_items.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace treadle::formatting {

namespace {

struct Line {
  std::string text;  // without the first line's indentation
  bool single = false;
};

bool fits(const Item& item, std::size_t indent, std::size_t padding = 0) {
  return indent + flat_width(item.head) + padding + flat_width(item.tail) <= max_columns;
}

class Layout {
 public:
  Layout(const std::vector<Item>& items, std::size_t indent)
      : items_(items), indent_(indent), padding_(items.size(), 0), gap_(items.size(), 2) {}

  std::string run() {
    align_heads();
    for (std::size_t i = 0; i < items_.size(); ++i) render_item(i);
    align_trailing();
    std::string out;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].blank_before) out += '\n';
      out.append(indent_, ' ');
      out += lines_[i].text;
      if (!items_[i].trailing.empty()) {
        out.append(gap_[i], ' ');
        out += items_[i].trailing;
      }
      out += '\n';
    }
    return out;
  }

 private:
  void render_item(std::size_t i) {
    Doc doc = items_[i].head;
    doc += text(std::string(padding_[i], ' '));
    doc += items_[i].tail;
    Line line{render(doc, indent_), false};
    line.single = line.text.find('\n') == std::string::npos;
    lines_.push_back(std::move(line));
  }

  // A clause may be broken and still share the column of its block; the others
  // must be lines.
  bool is_alignable(const Item& item) const {
    if (item.alignment == Alignment::none) return false;
    return item.alignment == Alignment::clause || fits(item, indent_);
  }

  bool belongs_together(const Item& first, const Item& next) const {
    if (next.alignment != first.alignment || !is_alignable(next)) return false;
    return first.alignment != Alignment::assignment || next.source_column == first.source_column;
  }

  void align_heads() {
    for (std::size_t i = 0; i < items_.size();) {
      if (!is_alignable(items_[i])) {
        ++i;
        continue;
      }
      // Comments may stand between params and between clauses.
      const bool through_comments =
          items_[i].alignment == Alignment::param || items_[i].alignment == Alignment::clause;
      std::vector<std::size_t> members = {i};
      std::size_t next = i + 1;
      for (; next < items_.size() && !items_[next].blank_before; ++next) {
        if (through_comments && items_[next].is_comment) continue;
        if (!belongs_together(items_[i], items_[next])) break;
        members.push_back(next);
      }
      align(members);
      i = next;
    }
  }

  void align(const std::vector<std::size_t>& members) {
    const Item& first = items_[members[0]];
    // The author's choice: it is kept, not made.
    if (first.alignment == Alignment::assignment &&
        std::none_of(members.begin(), members.end(), [&](auto m) { return items_[m].padded; }))
      return;
    std::size_t column = 0;
    for (const std::size_t m : members)
      if (items_[m].has_column) column = std::max(column, flat_width(items_[m].head));
    std::vector<std::size_t> padding;
    for (const std::size_t m : members) {
      const Item& item = items_[m];
      padding.push_back(item.has_column ? column - flat_width(item.head) : 0);
      if (first.alignment != Alignment::clause && !fits(item, indent_, padding.back())) return;
    }
    for (std::size_t k = 0; k < members.size(); ++k) padding_[members[k]] = padding[k];
  }

  void align_trailing() {
    const auto has_comment = [&](std::size_t i) {
      return i < items_.size() && !items_[i].trailing.empty() && lines_[i].single;
    };
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (!has_comment(i)) continue;
      std::size_t end = i + 1;
      while (has_comment(end) && !items_[end].blank_before) ++end;
      std::size_t column = 0, comment = 0;
      for (std::size_t k = i; k < end; ++k) {
        column = std::max(column, columns(lines_[k].text));
        comment = std::max(comment, columns(items_[k].trailing));
      }
      if (indent_ + column + 2 + comment <= max_columns)
        for (std::size_t k = i; k < end; ++k) gap_[k] = column + 2 - columns(lines_[k].text);
      i = end - 1;
    }
  }

  const std::vector<Item>& items_;
  std::size_t indent_;
  std::vector<std::size_t> padding_, gap_;
  std::vector<Line> lines_;
};

}  // namespace

std::string layout(const std::vector<Item>& items, std::size_t indent) {
  return Layout(items, indent).run();
}

}  // namespace treadle::formatting
