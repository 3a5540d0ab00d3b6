// Expressions, types and patterns as documents. Each function prints the node
// whose first token is the cursor's next one, and leaves the cursor behind it.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "frontend/format_tokens.h"
#include "frontend/syntax.h"

namespace treadle::formatting {

class ExpressionPrinter {
 public:
  explicit ExpressionPrinter(TokenCursor& tokens) : tokens_(tokens) {}

  Doc expr(const syntax::Expr& expr);
  Doc expr(const syntax::ExprPtr& pointer) { return expr(*pointer); }
  Doc type(const syntax::TypeExpr& type);
  Doc pattern(const syntax::Pattern& pattern);
  Doc argument(const syntax::Argument& argument);
  Doc generic(const syntax::Generic& generic);
  Doc parameter(const syntax::Parameter& parameter);

  // An item of a list: prints item i.
  using Item = std::function<Doc(std::size_t)>;
  // "(a, b)": the items on one line, or each on its own. A comma behind a
  // single item stays where `keep_single_comma`, any other last comma goes.
  Doc bracketed(std::string_view open, std::string_view close, std::size_t count, const Item& item,
                bool keep_single_comma = false);
  // "a, b, c": broken behind commas where the line is full.
  Doc filled(std::size_t count, const Item& item);

 private:
  Doc unwrapped(const syntax::Expr& expr);
  Doc visit(const syntax::Number&) { return tokens_.take(); }
  Doc visit(const syntax::String&) { return tokens_.take(); }
  Doc visit(const syntax::Bool&) { return tokens_.take(); }
  Doc visit(const syntax::Name& name);
  Doc visit(const syntax::Call& call);
  Doc visit(const syntax::Index& index);
  Doc visit(const syntax::Member& member);
  Doc visit(const syntax::Unary& unary);
  Doc visit(const syntax::Binary& binary);
  Doc visit(const syntax::Conditional& conditional);
  Doc visit(const syntax::Tuple& tuple) { return tuple_of(tuple.elements); }
  Doc visit(const syntax::Scan& scan);
  Doc visit(const syntax::Stack& stack);
  Doc visit(const syntax::ElementType& element);
  Doc visit(const syntax::TupleType& tuple);
  Doc visit(const syntax::StateType& state);

  Doc tuple_of(const std::vector<syntax::ExprPtr>& elements);
  Doc call_arguments(const std::vector<syntax::Argument>& arguments);
  Doc subscript(const syntax::Subscript& subscript);
  Doc wrapped(std::size_t parentheses, const std::function<Doc()>& inner);
  std::size_t parentheses_around(const syntax::Expr& expr) const;
  bool is_tight(const syntax::Binary& chain,
                const std::vector<const syntax::Expr*>& operands) const;

  TokenCursor& tokens_;
  bool in_subscript_ = false;  // dims and subscripts: 4*H, T-1
};

}  // namespace treadle::formatting
