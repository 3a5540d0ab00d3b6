#include "frontend/format.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "frontend/format_expressions.h"
#include "frontend/format_items.h"
#include "frontend/parser.h"

namespace treadle {

namespace formatting {
namespace {

using namespace syntax;

class ModulePrinter {
 public:
  ModulePrinter(const Module& module, LexedFile file)
      : module_(module), text_(module.file->text), tokens_(std::move(file)), print_(tokens_) {}

  std::string run() {
    Items items;
    for (const Declaration& declaration : module_.declarations)
      add(items, [&] { return declaration_item(declaration); });
    add_comments(items);
    return layout(items.list, 0);
  }

 private:
  struct Items {
    std::vector<Item> list;
    std::string* header_comment = nullptr;  // takes what stands behind the `{`
    std::size_t end = 0;                    // in the source, of the last item or comment
    bool ends_in_doc = false;               // the last comment must not become a doc comment
  };

  // ---- items and comments ------------------------------------------------

  bool has_blank_line(std::size_t begin, std::size_t end) const {
    bool in_empty_line = false;
    for (std::size_t i = begin; i < end; ++i) {
      if (text_[i] == '\n' && std::exchange(in_empty_line, true)) return true;
      if (text_[i] != '\n' && text_[i] != ' ' && text_[i] != '\t' && text_[i] != '\r')
        in_empty_line = false;
    }
    return false;
  }

  void append(Items& items, Item item, std::size_t begin, std::size_t end) {
    item.blank_before = !items.list.empty() && (std::exchange(items.ends_in_doc, false) ||
                                                has_blank_line(items.end, begin));
    items.list.push_back(std::move(item));
    items.end = end;
  }

  // The comments before the next token.
  void add_comments(Items& items) {
    while (const Comment* comment = tokens_.comment_before_token()) {
      tokens_.skip_comment();
      std::string* place = items.list.empty() ? items.header_comment : &items.list.back().trailing;
      if (!items.list.empty() && items.list.back().is_comment) place = nullptr;
      if (!comment->own_line && place && place->empty()) {
        *place = comment->text;
        items.end = comment->range.end;
        continue;
      }
      Item item;
      item.is_comment = true;
      item.head = text(comment->text);
      append(items, std::move(item), comment->range.begin, comment->range.end);
      // With a lone `;` before or behind it, it is no doc comment, and so must
      // not stand right above a declaration.
      items.ends_in_doc = comment->doc && !(comment->own_line && tokens_.peek().first_on_line);
    }
  }

  void add(Items& items, const std::function<Item()>& make) {
    add_comments(items);
    const std::size_t begin = tokens_.peek().range.begin;
    Item item = make();
    append(items, std::move(item), begin, tokens_.previous().range.end);
  }

  // " { ... }" behind `header`: on one line when it is written so and fits.
  Item block(Doc header, std::size_t count, const std::function<Item(std::size_t)>& make) {
    const std::size_t open = tokens_.index();
    Item out;
    out.head = std::move(header);
    out.tail += space();
    out.tail += tokens_.take("{");
    const TokenCursor::Mark body = tokens_.mark();
    if (!tokens_.is_written_on_lines(open)) {
      Item on_one_line = out;
      if (count > 0) on_one_line.tail += space();
      for (std::size_t i = 0; i < count; ++i) {
        if (i > 0) on_one_line.tail += text("; ");
        Item item = make(i);
        on_one_line.tail += std::move(item.head);
        on_one_line.tail += std::move(item.tail);
      }
      if (count > 0) on_one_line.tail += space();
      on_one_line.tail += tokens_.take("}");
      if (fits_behind_header(on_one_line)) return on_one_line;
      tokens_.reset(body);
    }
    add_body(out, count, make);
    out.tail += tokens_.take("}");
    return out;
  }

  bool fits_behind_header(const Item& item) const {
    Doc opened = item.head;
    opened += text(" {");
    Doc whole = item.head;
    whole += item.tail;
    const std::string header = render(opened, 0), all = render(whole, 0);
    if (!all.starts_with(header) || all.find('\n', header.size()) != std::string::npos)
      return false;
    return columns(std::string_view(all).substr(all.rfind('\n') + 1)) <= max_columns;
  }

  void add_body(Item& out, std::size_t count, const std::function<Item(std::size_t)>& make) {
    Items items;
    std::string behind_brace;
    items.header_comment = &behind_brace;
    items.end = tokens_.previous().range.end;
    for (std::size_t i = 0; i < count; ++i) add(items, [&] { return make(i); });
    add_comments(items);
    if (!behind_brace.empty()) out.tail += comment(behind_brace, false);
    // The lines are laid out already: they go in as they are.
    const std::string lines = layout(items.list, indent_step);
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', at);
      out.tail += newline();
      out.tail += text(std::string_view(lines).substr(at, end - at));
      at = end + 1;
    }
    if (!lines.empty()) out.tail += newline();
  }

  // ---- declarations ------------------------------------------------------

  Item declaration_item(const Declaration& declaration) {
    return std::visit([&](const auto& node) { return visit(node); }, declaration.node);
  }

  static Item plain(Doc doc) {
    Item out;
    out.head = std::move(doc);
    return out;
  }

  Item visit(const DimDecl& dims) {
    Doc out = tokens_.take("dim");
    out += space();
    out += print_.filled(dims.entries.size(), [&](std::size_t i) {
      Doc entry = tokens_.take(dims.entries[i].name.text);
      if (!dims.entries[i].value) return entry;
      entry += space();
      entry += tokens_.take("=");
      entry += space();
      entry += print_.expr(dims.entries[i].value);
      return entry;
    });
    return plain(std::move(out));
  }

  Item visit(const Import&) {
    Doc out = tokens_.take("import");
    out += space();
    out += tokens_.take();
    return plain(std::move(out));
  }

  Item visit(const Definition& definition) {
    Doc header = tokens_.take();
    header += space();
    header += tokens_.take(definition.name.text);
    if (tokens_.at("["))
      header += print_.bracketed("[", "]", definition.generics.size(), [&](std::size_t i) {
        return print_.generic(definition.generics[i]);
      });
    header += print_.bracketed("(", ")", definition.parameters.size(), [&](std::size_t i) {
      return print_.parameter(definition.parameters[i]);
    });
    if (definition.where) {
      header += space();
      header += tokens_.take("where");
      header += space();
      header += print_.expr(definition.where);
    }
    return block(std::move(header), definition.body.size(),
                 [&](std::size_t i) { return statement(definition.body[i]); });
  }

  Item visit(const ClauseBlock& clauses) {
    Doc header = tokens_.take();
    if (!clauses.subjects.empty()) {
      header += space();
      header += print_.filled(clauses.subjects.size(),
                              [&](std::size_t i) { return print_.expr(clauses.subjects[i]); });
    }
    if (clauses.title) {
      header += space();
      header += tokens_.take();
    }
    Item out = block(std::move(header), clauses.clauses.size(),
                     [&](std::size_t i) { return clause(clauses.clauses[i]); });
    if (clauses.kind == ClauseBlock::Kind::test) out.alignment = Alignment::test;
    return out;
  }

  // ---- statements --------------------------------------------------------

  Item statement(const Statement& statement) {
    return std::visit([&](const auto& node) { return visit(node); }, statement.node);
  }

  Item visit(const Param& param) {
    Item out;
    out.head += tokens_.take("param");
    out.head += space();
    out.head += print_.filled(param.names.size(),
                              [&](std::size_t i) { return tokens_.take(param.names[i].text); });
    out.head += tokens_.take(":");
    out.head += space();
    out.head += print_.type(*param.type);
    out.alignment = Alignment::param;
    out.has_column = param.initialiser != nullptr;
    if (!out.has_column) return out;
    out.tail += space();
    out.tail += tokens_.take("~");
    out.tail += space();
    out.tail += print_.expr(param.initialiser);
    return out;
  }

  // `= value` behind the targets that stand in `head`.
  void assigned(Item& out, const Expr& value) {
    const std::size_t at = tokens_.peek().range.begin;
    const std::size_t line_end = text_.rfind('\n', at);
    out.source_column =
        static_cast<std::uint32_t>(line_end == std::string::npos ? at : at - line_end - 1);
    out.padded = at >= 2 && text_[at - 1] == ' ' && text_[at - 2] == ' ';
    out.alignment = Alignment::assignment;
    out.tail += space();
    out.tail += tokens_.take("=");
    out.tail += space();
    out.tail += print_.expr(value);
  }

  Item visit(const Let& let) {
    Item out;
    out.head += tokens_.take("let");
    out.head += space();
    out.head += tokens_.take(let.name.text);
    assigned(out, *let.value);
    return out;
  }

  Item visit(const Assign& assign) {
    Item out;
    for (std::size_t i = 0; i < assign.targets.size(); ++i) {
      if (i > 0) {
        out.head += tokens_.take_first(",");
        out.head += space();
      }
      out.head += print_.pattern(assign.targets[i]);
    }
    assigned(out, *assign.value);
    return out;
  }

  Item results(std::string_view keyword, const std::vector<Argument>& values) {
    Doc out = tokens_.take(keyword);
    if (!values.empty()) out += space();
    out += print_.filled(values.size(), [&](std::size_t i) { return print_.argument(values[i]); });
    return plain(std::move(out));
  }
  Item visit(const Yield& yield) { return results("yield", yield.values); }
  Item visit(const Return& result) { return results("return", result.values); }
  Item visit(const ExprStatement& statement) { return plain(print_.expr(statement.value)); }

  // ---- clauses -----------------------------------------------------------

  Doc clause_item(const ClauseItem& item) {
    Doc out;
    for (const Identifier& word : item.words) {
      out += tokens_.take(word.text);
      out += space();
    }
    out += print_.argument(item.argument);
    return out;
  }

  Item clause(const Clause& clause) {
    Item out;
    out.alignment = Alignment::clause;
    out.head += tokens_.take(clause.keyword.text);
    out.has_column = !clause.items.empty();
    if (!out.has_column) return out;
    out.tail += space();
    out.tail += print_.filled(clause.items.size(),
                              [&](std::size_t i) { return clause_item(clause.items[i]); });
    // With the comma the next clause would be read as an item.
    if (tokens_.at(",")) tokens_.skip();
    return out;
  }

  const Module& module_;
  const std::string& text_;
  TokenCursor tokens_;
  ExpressionPrinter print_;
};

bool same_comments(const Module& a, const Module& b) {
  return std::equal(a.comments.begin(), a.comments.end(), b.comments.begin(), b.comments.end(),
                    [](const Comment& x, const Comment& y) { return x.text == y.text; });
}

}  // namespace
}  // namespace formatting

std::string format_program(std::string text, std::string path) {
  const auto file =
      std::make_shared<const SourceFile>(SourceFile{std::move(path), std::move(text)});
  const syntax::Module module = parse_or_throw(file);
  std::vector<Diagnostic> none;
  std::string out = formatting::ModulePrinter(module, lex(file, none)).run();

  // Never hand out another program than the one that came in.
  std::vector<Diagnostic> mistakes;
  const auto printed = std::make_shared<const SourceFile>(SourceFile{file->path, out});
  const syntax::Module again = parse(printed, mistakes);
  ensure(
      mistakes.empty() && dump(again) == dump(module) && formatting::same_comments(again, module),
      "format", "the formatted text is not the same program");
  return out;
}

}  // namespace treadle
