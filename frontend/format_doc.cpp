#include "frontend/format_doc.h"

#include <algorithm>
#include <utility>

namespace treadle::formatting {

namespace {

Doc leaf(Doc::Kind kind, std::string_view text = {}) {
  Doc out;
  out.kind = kind;
  out.text = text;
  return out;
}

Doc around(Doc::Kind kind, Doc inner) {
  Doc out;
  out.kind = kind;
  out.forced = inner.forced;
  out.children.push_back(std::move(inner));
  return out;
}

struct Command {
  const Doc* doc;
  std::size_t indent;
  bool flat;
};

void push_children(std::vector<Command>& stack, const Doc& doc, std::size_t indent, bool flat) {
  for (auto child = doc.children.rbegin(); child != doc.children.rend(); ++child)
    stack.push_back({&*child, indent, flat});
}

class Renderer {
 public:
  explicit Renderer(std::size_t indent) : column_(indent) {}

  std::string run(const Doc& doc, std::size_t indent) {
    stack_.push_back({&doc, indent, false});
    while (!stack_.empty()) {
      const Command command = stack_.back();
      stack_.pop_back();
      step(command);
    }
    return std::move(out_);
  }

 private:
  void step(const Command& command) {
    const Doc& doc = *command.doc;
    switch (doc.kind) {
      case Doc::Kind::concat: return push_children(stack_, doc, command.indent, command.flat);
      case Doc::Kind::nest:
        return push_children(stack_, doc, command.indent + indent_step, command.flat);
      case Doc::Kind::group:
        return push_children(stack_, doc, command.indent, !doc.forced && fits(doc));
      case Doc::Kind::text: return write(doc.text, command.indent);
      case Doc::Kind::space: space_due_ = true; return;
      case Doc::Kind::newline: newline_due_ = true; return;
      case Doc::Kind::trailing:
      case Doc::Kind::own_line: return write_comment(doc, command.indent);
      case Doc::Kind::line:
        if (!command.flat) return break_line(command.indent);
        space_due_ = true;
        return;
      case Doc::Kind::softline:
        if (!command.flat) break_line(command.indent);
        return;
    }
  }

  void write(std::string_view text, std::size_t indent) {
    if (newline_due_) break_line(indent);
    if (at_line_start_) {
      out_.append(pending_indent_, ' ');
    } else if (space_due_) {
      out_ += ' ';
      ++column_;
    }
    out_ += text;
    column_ += columns(text);
    space_due_ = at_line_start_ = false;
  }

  void write_comment(const Doc& comment, std::size_t indent) {
    const bool own_line = comment.kind == Doc::Kind::own_line;
    if (own_line && !at_line_start_) newline_due_ = true;
    if (!own_line && !newline_due_ && !at_line_start_) {
      out_ += ' ';
      space_due_ = true;
    }
    write(comment.text, indent);
    newline_due_ = true;
  }

  // A line that is due and one that is asked for are the same line.
  void break_line(std::size_t indent) {
    if (!at_line_start_) out_ += '\n';
    newline_due_ = space_due_ = false;
    at_line_start_ = true;
    pending_indent_ = column_ = indent;
  }

  // Does the group fit, flat, with what follows it up to the next possible break?
  bool fits(const Doc& group) const {
    const std::size_t start = column_ + (space_due_ ? 1 : 0);
    if (start > max_columns) return false;
    std::size_t left = max_columns - start;
    std::vector<Command> pending;
    push_children(pending, group, 0, true);
    for (std::size_t rest = stack_.size();;) {
      if (pending.empty()) {
        if (rest == 0) return true;
        pending.push_back(stack_[--rest]);
      }
      const Command command = pending.back();
      pending.pop_back();
      const Doc& doc = *command.doc;
      std::size_t width = 0;
      switch (doc.kind) {
        case Doc::Kind::concat:
        case Doc::Kind::nest: push_children(pending, doc, 0, command.flat); break;
        case Doc::Kind::group: push_children(pending, doc, 0, command.flat && !doc.forced); break;
        case Doc::Kind::text: width = columns(doc.text); break;
        case Doc::Kind::space: width = 1; break;
        case Doc::Kind::line:
        case Doc::Kind::softline:
          if (!command.flat) return true;
          width = doc.kind == Doc::Kind::line ? 1 : 0;
          break;
        case Doc::Kind::newline:
        case Doc::Kind::trailing:
        case Doc::Kind::own_line: return true;
      }
      if (width > left) return false;
      left -= width;
    }
  }

  std::vector<Command> stack_;
  std::string out_;
  std::size_t column_;
  std::size_t pending_indent_ = 0;
  bool at_line_start_ = false;
  bool space_due_ = false;
  bool newline_due_ = false;
};

}  // namespace

Doc& Doc::operator+=(Doc child) {
  if (kind != Kind::concat) *this = around(Kind::concat, std::move(*this));
  forced = forced || child.forced;
  children.push_back(std::move(child));
  return *this;
}

Doc text(std::string_view text) { return leaf(Doc::Kind::text, text); }
Doc space() { return leaf(Doc::Kind::space); }
Doc line() { return leaf(Doc::Kind::line); }
Doc softline() { return leaf(Doc::Kind::softline); }
Doc newline() {
  Doc out = leaf(Doc::Kind::newline);
  out.forced = true;
  return out;
}
Doc comment(std::string_view text, bool own_line) {
  Doc out = leaf(own_line ? Doc::Kind::own_line : Doc::Kind::trailing, text);
  out.forced = true;
  return out;
}
Doc nest(Doc inner) { return around(Doc::Kind::nest, std::move(inner)); }
Doc group(Doc inner) { return around(Doc::Kind::group, std::move(inner)); }

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::size_t flat_width(const Doc& doc) {
  if (doc.forced) return no_width;
  std::size_t width = 0;
  switch (doc.kind) {
    case Doc::Kind::text: return columns(doc.text);
    case Doc::Kind::space:
    case Doc::Kind::line: return 1;
    default: break;
  }
  for (const Doc& child : doc.children) width += flat_width(child);
  return std::min(width, no_width);
}

std::string render(const Doc& doc, std::size_t indent) { return Renderer(indent).run(doc, indent); }

}  // namespace treadle::formatting
